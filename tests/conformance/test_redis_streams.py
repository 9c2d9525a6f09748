"""Redis Streams keep the stream contract on a real server, with trimmed streams and leases."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from asof.backends.redis import open_stream
from asof.errors import ConfigError, StreamDataLossError, StreamError, StreamRefusedError
from asof.testing.conformance.stream import PARTITIONS, Group, StreamConformance, StreamUnderTest, numbered
from tests.servers.redis import redis_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.servers.redis import RedisServer

ROOT = Path("/")
NOWHERE = open_stream("redis://127.0.0.1:1", ROOT)


def nothing(*_: object) -> None:
    """Produce and truncate nothing."""


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis(redis_server.host, redis_server.port) as client:
        yield client


@pytest.fixture
def stream(redis_server: RedisServer, client: redis.Redis, request: pytest.FixtureRequest) -> StreamUnderTest:
    topic = f"{request.node.name[:100]}-{uuid.uuid4().hex[:8]}"
    for number in range(PARTITIONS):
        client.xgroup_create(f"{topic}.{number}", "asof", "$", mkstream=True)

    def produce(partition: str, values: Sequence[bytes | None]) -> None:
        pipeline = client.pipeline(transaction=False)
        for value in values:
            pipeline.xadd(f"{topic}.{partition}", {"other": b"x"} if value is None else {"value": value})
        pipeline.execute()

    def truncate(partition: str, keep: int) -> None:
        client.xtrim(f"{topic}.{partition}", maxlen=keep, approximate=False)

    return StreamUnderTest(
        backend=open_stream(f"{redis_server.url}/0?partitions={PARTITIONS}", ROOT),
        unreachable=NOWHERE,
        topic=topic,
        produce=produce,
        truncate=truncate,
    )


class TestRedisStreams(StreamConformance):
    @pytest.fixture
    def stream(self, stream: StreamUnderTest) -> StreamUnderTest:
        return stream


def test_a_topic_without_partitions_is_its_own_key(redis_server: RedisServer, client: redis.Redis) -> None:
    """Positions are the ids: milliseconds and a sequence number."""
    client.xadd("alone", {"value": b"a"}, id="5-0")
    client.xadd("alone", {"value": b"b", "more": b"x"}, id="5-1")
    group = Group(StreamUnderTest(open_stream(redis_server.url, ROOT), NOWHERE, "alone", nothing, nothing))
    with group.member() as member:
        group.until(lambda: group.count() == 2, member)
        assert member.end_positions() == group.positions == {"0": (5 << 20) + 2}
    assert group.seen_at == {"0": [5 << 20, (5 << 20) + 1]}
    assert [batch.sent_at_us.to_pylist() for batch in group.polled if len(batch)] == [[5000, 5000]]


@pytest.mark.parametrize("entry", [f"5-{1 << 20}", f"{1 << 43}-0"])
def test_an_id_that_has_no_position_is_refused(redis_server: RedisServer, client: redis.Redis, entry: str) -> None:
    """Rather than read under the position of another one."""
    topic = f"ids-{entry}"
    client.xadd(topic, {"value": b"a"}, id=entry)
    with (
        open_stream(redis_server.url, ROOT).consume(topic, "g", lambda _: {}) as member,
        pytest.raises(StreamRefusedError, match=entry),
    ):
        member.poll(max_messages=1, max_bytes=1, timeout_s=0)


def test_a_quiet_stream_that_is_trimmed_with_every_entry_loses_nothing(
    stream: StreamUnderTest, client: redis.Redis
) -> None:
    """The entry before is gone, but the counters of Redis say that it was the last one."""
    group = Group(stream)
    with group.member() as member:
        group.until(lambda: len(member.assigned()) == PARTITIONS, member)
        for number in range(1, 6):
            client.xadd(f"{stream.topic}.0", {"value": b"%d" % number}, maxlen=1, approximate=False)
            group.until(lambda number=number: group.count() == number, member)  # type: ignore[misc]
            group.poll(member)
        client.xadd(f"{stream.topic}.0", {"value": b"never read"}, maxlen=1, approximate=False)
        client.xadd(f"{stream.topic}.0", {"value": b"newest"}, maxlen=1, approximate=False)
        with pytest.raises(StreamDataLossError, match="trimmed"):
            group.poll(member)
    assert group.seen == {"0": numbered(1, 6)}


def test_entries_that_were_read_may_be_deleted_or_trimmed_away_altogether(
    stream: StreamUnderTest, client: redis.Redis
) -> None:
    """An empty stream still knows its last id."""
    stream.produce("0", numbered(0, 3))
    group = Group(stream)
    with group.member() as member:
        group.until(lambda: group.count() == 3, member)
    client.xtrim(f"{stream.topic}.0", maxlen=0, approximate=False)
    with group.member() as member:
        group.until(lambda: bool(member.assigned()), member)
        assert member.end_positions()["0"] == group.positions["0"]
        stream.produce("0", numbered(3, 5))
        group.until(lambda: group.count() == 5, member)
    assert group.seen == {"0": numbered(0, 5)}


def test_a_stream_that_was_deleted_or_made_anew_is_an_error(stream: StreamUnderTest, client: redis.Redis) -> None:
    """As after a restart of a server that keeps nothing."""
    stream.produce("0", numbered(0, 3))
    group = Group(stream)
    with group.member() as member:
        group.until(lambda: group.count() == 3, member)
        client.delete(f"{stream.topic}.0")
        with pytest.raises(StreamDataLossError, match="deleted"):
            group.poll(member)
        client.xadd(f"{stream.topic}.0", {"value": b"x"}, id="1-1")
        with pytest.raises(StreamDataLossError, match="made anew"):
            group.poll(member)


def test_a_member_whose_lease_has_ended_asks_for_its_positions_again(
    stream: StreamUnderTest, client: redis.Redis
) -> None:
    """Another one may have read on in between."""
    everything = {str(number) for number in range(PARTITIONS)}
    for name in everything:
        stream.produce(name, numbered(0, 5))
    group = Group(stream)
    members = f"asof:{{{stream.topic}:group of {stream.topic}}}:members"
    with group.member() as silent, group.member() as other:
        group.until(lambda: group.count() == 5 * PARTITIONS, silent)
        for name, _ in client.zscan_iter(members):
            client.zadd(members, {name: 0})
        for name in everything:
            stream.produce(name, numbered(5, 10))
        group.until(lambda: group.count() == 10 * PARTITIONS, other)
        assert other.assigned() == everything
        group.until(
            lambda: bool(silent.assigned()) and silent.assigned() | other.assigned() == everything, silent, other
        )
        for name in everything:
            stream.produce(name, numbered(10, 15))
        group.until(lambda: group.count() == 15 * PARTITIONS, silent, other)
        assert not silent.assigned() & other.assigned()
    assert group.seen == dict.fromkeys(everything, numbered(0, 15))


def test_a_key_that_is_no_stream_is_refused(redis_server: RedisServer, client: redis.Redis) -> None:
    """With the remedy."""
    client.set("text", "x")
    with (
        open_stream(redis_server.url, ROOT).consume("text", "g", lambda _: {}) as member,
        pytest.raises(StreamRefusedError, match="key of a stream"),
    ):
        member.poll(max_messages=1, max_bytes=1, timeout_s=0)


def test_a_login_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a server that is gone is an error that a retry may help with."""
    with redis_process(tmp_path, "--requirepass", "open sesame") as server:
        with redis.Redis(server.host, server.port, password="open sesame") as client:
            client.xadd("t", {"value": b"x"})
        with pytest.raises(StreamRefusedError, match="ASOF_REDIS_PASSWORD"):
            open_stream(server.url, ROOT).consume("t", "g", lambda _: {})
        monkeypatch.setenv("ASOF_REDIS_PASSWORD", "wrong")
        with pytest.raises(StreamRefusedError, match="ASOF_REDIS_PASSWORD") as caught:
            open_stream(server.url, ROOT).consume("t", "g", lambda _: {})
        assert "sesame" not in str(caught.value)
        monkeypatch.setenv("ASOF_REDIS_PASSWORD", "open sesame")
        member = open_stream(server.url, ROOT).consume("t", "g", lambda _: {})
        assert member.poll(max_messages=1, max_bytes=9, timeout_s=0).value.to_pylist() == [b"x"]
    with pytest.raises(StreamError, match="'t' cannot be read") as lost:
        member.poll(max_messages=1, max_bytes=9, timeout_s=0)
    assert lost.value.retryable
    member.close()


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("redis://", "redis://host:6379/0"),
        ("redis://ada:secret@host", "ASOF_REDIS_PASSWORD"),
        ("redis://host?password=secret", "ASOF_REDIS_PASSWORD"),
        ("redis://host?partitions=0", "1 to 1024"),
        ("redis://host?partitions=many", "1 to 1024"),
        ("redis://host?lease=1ms", "at least one second"),
        ("redis://host?lease=soon", "30s"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_config_error_without_its_secret(url: str, word: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ConfigError, match=word) as caught:
        open_stream(url, ROOT)
    assert "secret" not in str(caught.value)


def test_an_option_that_the_client_does_not_know_is_a_config_error() -> None:
    """With what it says."""
    with pytest.raises(ConfigError, match="no_such"):
        open_stream("redis://127.0.0.1:1?no_such=1", ROOT).consume("t", "g", lambda _: {})
