"""Kafka keeps the stream contract on a real broker, with its logins, transactions and new partitions."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asof.backends.kafka import open_stream
from asof.errors import ConfigError, StreamError, StreamRefusedError
from asof.testing.conformance.stream import PARTITIONS, Group, StreamConformance, StreamUnderTest, numbered
from tests.servers.kafka import PASSWORD, USER, kafka_broker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.interfaces import StreamConsumer
    from tests.servers.kafka import KafkaServer

ROOT = Path("/")
pytestmark = pytest.mark.slow
QUICK = "topic.metadata.refresh.interval.ms=200&heartbeat.interval.ms=300"


@pytest.fixture
def topic(kafka_server: KafkaServer, request: pytest.FixtureRequest) -> str:
    """Create a topic for one test."""
    name = f"{request.node.name[:100]}-{uuid.uuid4().hex[:8]}"
    kafka_server.create(name, PARTITIONS)
    return name


@pytest.fixture
def stream(kafka_server: KafkaServer, topic: str) -> StreamUnderTest:
    def produce(partition: str, values: Sequence[bytes | None]) -> None:
        kafka_server.produce(topic, int(partition), values)

    def truncate(partition: str, keep: int) -> None:
        kafka_server.truncate(topic, int(partition), kafka_server.end(topic, int(partition)) - keep)

    return StreamUnderTest(
        backend=open_stream(f"kafka://{kafka_server.servers}?{QUICK}", ROOT),
        unreachable=open_stream("kafka://127.0.0.1:1", ROOT),
        topic=topic,
        produce=produce,
        truncate=truncate,
    )


class TestKafka(StreamConformance):
    @pytest.fixture
    def stream(self, stream: StreamUnderTest) -> StreamUnderTest:
        return stream


def test_only_committed_messages_come_and_a_marker_at_the_end_is_no_lag(
    kafka_server: KafkaServer, stream: StreamUnderTest
) -> None:
    """An aborted transaction leaves nothing; a reader of everything has caught up."""
    stream.produce("0", [b"plain"])
    kafka_server.transact(stream.topic, 0, [b"kept"], commit=True)
    kafka_server.transact(stream.topic, 0, [b"dropped"], commit=False)
    kafka_server.transact(stream.topic, 1, [b"dropped"], commit=False)
    group = Group(stream)
    with group.member() as member:
        group.until(lambda: group.count() == 2, member)
        group.until(
            lambda: all(group.positions.get(name, 0) >= end for name, end in member.end_positions().items()), member
        )
        assert member.end_positions() == {"0": group.positions["0"], "1": 0, "2": 0}
    assert group.seen == {"0": [b"plain", b"kept"]}
    with group.member() as member:
        group.until(lambda: member.end_positions().get("0") == group.positions["0"], member)


def test_partitions_that_are_added_are_read_from_their_first_message(
    kafka_server: KafkaServer, stream: StreamUnderTest
) -> None:
    """Without a restart."""
    stream.produce("0", numbered(0, 5))
    group = Group(stream)
    with group.member() as member:
        group.until(lambda: group.count() == 5, member)
        kafka_server.grow(stream.topic, PARTITIONS + 2)
        stream.produce(str(PARTITIONS + 1), numbered(5, 8))
        group.until(lambda: group.count() == 8, member)
        assert len(member.assigned()) == PARTITIONS + 2
    assert group.seen == {"0": numbered(0, 5), str(PARTITIONS + 1): numbered(5, 8)}


def test_a_member_that_is_silent_for_too_long_asks_for_its_positions_again(
    kafka_server: KafkaServer, stream: StreamUnderTest
) -> None:
    """Another one has read on in between; what the silent one had fetched is forgotten."""
    hasty = "session.timeout.ms=1500&max.poll.interval.ms=1500"
    backend = open_stream(f"kafka://{kafka_server.servers}?{QUICK}&{hasty}", ROOT)
    everything = {str(number) for number in range(PARTITIONS)}
    group = Group(replace(stream, backend=backend))
    for name in everything:
        stream.produce(name, numbered(0, 20))
    with group.member() as silent:
        group.until(lambda: silent.assigned() == everything, silent)
        group.until(lambda: group.count() == 20 * PARTITIONS, silent)
        for name in everything:
            stream.produce(name, numbered(20, 40))
        group.poll(silent, max_messages=5)
        with group.member() as other:

            def polled(*members: StreamConsumer) -> bool:
                for member in members:
                    with suppress(StreamError):  # whoever was silent is told for how long
                        group.poll(member)
                return True

            group.until(lambda: polled(other) and other.assigned() == everything and group.count() == 40 * PARTITIONS)
            for name in everything:
                stream.produce(name, numbered(40, 60))
            group.until(lambda: polled(silent, other) and group.count() == 60 * PARTITIONS and bool(silent.assigned()))
    assert group.seen == dict.fromkeys(everything, numbered(0, 60))


def test_a_login_over_tls_takes_its_secrets_from_the_environment(
    kafka_server: KafkaServer, stream: StreamUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And certificates from below the project's root."""
    monkeypatch.setenv("ASOF_KAFKA_SASL_USERNAME", USER)
    monkeypatch.setenv("ASOF_KAFKA_SASL_PASSWORD", PASSWORD)
    stream.produce("0", [b"x"])
    certificate = kafka_server.certificate
    url = f"kafka://{kafka_server.secure}?security.protocol=sasl_ssl&sasl.mechanism=PLAIN"
    group = Group(stream)
    backend = open_stream(f"{url}&ssl.ca.location={certificate.name}", certificate.parent)
    with backend.consume(stream.topic, "secure", group.known) as member:
        group.until(lambda: group.count() == 1, member)
        assert member.end_positions()["0"] == 1
    monkeypatch.setenv("ASOF_KAFKA_SASL_PASSWORD", "guess-who")
    backend = open_stream(f"{url}&ssl.ca.location={certificate.name}", certificate.parent)
    with pytest.raises(StreamRefusedError, match="ASOF_KAFKA_SASL_PASSWORD") as caught:
        backend.consume(stream.topic, "secure", group.known)
    assert "guess-who" not in str(caught.value)


def test_a_broker_that_is_killed_is_an_error_and_its_return_is_no_new_beginning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A poll says so and may be repeated: it goes on where it was."""
    with caplog.at_level("CRITICAL", "asof.kafka"), kafka_broker(tmp_path) as server:
        server.create("orders", PARTITIONS)
        server.produce("orders", 0, numbered(0, 5))
        backend = open_stream(f"kafka://{server.servers}?{QUICK}&reconnect.backoff.max.ms=200", ROOT)
        stream = StreamUnderTest(backend, backend, "orders", lambda *_: None, lambda *_: None)
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: group.count() == 5, member)
            server.kill()
            with pytest.raises(StreamError, match="orders") as caught:
                group.until(lambda: group.count() > 5, member)
            assert caught.value.retryable
            with server.again(tmp_path):
                server.produce("orders", 0, numbered(5, 9))

                def nine() -> bool:
                    with suppress(StreamError):
                        group.poll(member)
                    return group.count() == 9

                group.until(nine)
    assert group.seen == {"0": numbered(0, 9)}


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("kafka://", "kafka://host:9092"),
        ("kafka://host:9092/topic", "kafka://host:9092"),
        ("kafka://ho st", "no Kafka server"),
        ("kafka://ada:secret@host:9092", "ASOF_KAFKA_SASL_PASSWORD"),
        ("kafka://host?sasl.password=secret", "ASOF_KAFKA_SASL_PASSWORD"),
        ("kafka://host?ssl.key.password=secret", "ASOF_KAFKA_SSL_KEY_PASSWORD"),
        ("kafka://host?enable.auto.commit=true", "not yours to set"),
        ("kafka://host?group.id=g", "not yours to set"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_config_error_without_its_secret(url: str, word: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ConfigError, match=word) as caught:
        open_stream(url, ROOT)
    assert "secret" not in str(caught.value)


def test_an_option_that_the_client_does_not_know_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the URL and from the environment alike."""
    with pytest.raises(ConfigError, match=r"no\.such"):
        open_stream("kafka://127.0.0.1:1?no.such=1", ROOT).consume("t", "g", lambda _: {})
    monkeypatch.setenv("ASOF_KAFKA_NO_SUCH_THING", "1")
    with pytest.raises(ConfigError, match=r"no\.such\.thing"):
        open_stream("kafka://127.0.0.1:1", ROOT).consume("t", "g", lambda _: {})
