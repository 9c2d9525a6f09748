"""What every stream backend must do; subclass `StreamConformance` and give it a `stream` fixture."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from asof.errors import InputError, StreamDataLossError, StreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asof.interfaces import Messages, StreamBackend, StreamConsumer

PARTITIONS = 3
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class StreamUnderTest:
    """A backend, and the other side of it.

    Attributes:
        backend: What is tested.
        unreachable: The same product at an address where nothing listens.
        topic: Names a topic of this test alone, with `PARTITIONS` partitions named "0", "1" and so on.
        produce: Appends messages to a partition and returns when the broker has them.
        truncate: Drops all but the newest so many messages of a partition.
    """

    backend: StreamBackend
    unreachable: StreamBackend
    topic: str
    produce: Callable[[str, Sequence[bytes | None]], None]
    truncate: Callable[[str, int], None]


class Group:
    """Members of one group that keep their positions together, as the state behind them does."""

    def __init__(self, stream: StreamUnderTest, positions: Mapping[str, int] | None = None) -> None:
        """Start with these positions."""
        self.stream = stream
        self.positions = dict(positions or {})
        self.asked: list[frozenset[str]] = []
        self.seen: dict[str, list[bytes | None]] = {}
        self.seen_at: dict[str, list[int]] = {}
        self.polled: list[Messages] = []

    def known(self, partitions: frozenset[str]) -> Mapping[str, int]:
        """Answer a consumer."""
        self.asked.append(partitions)
        return {name: self.positions[name] for name in partitions & self.positions.keys()}

    def member(self) -> StreamConsumer:
        """Join."""
        return self.stream.backend.consume(self.stream.topic, f"group of {self.stream.topic}", self.known)

    def poll(self, member: StreamConsumer, max_messages: int = 1000, max_bytes: int = 2**20) -> Messages:
        """Poll once, and commit what came."""
        messages = member.poll(max_messages=max_messages, max_bytes=max_bytes, timeout_s=0.2)
        assert len(messages) <= max_messages
        self.polled.append(messages)
        for partition, position, value in zip(
            messages.partition.to_pylist(), messages.position.to_pylist(), messages.value.to_pylist(), strict=True
        ):
            assert partition in member.assigned()
            self.seen.setdefault(partition, []).append(value)
            self.seen_at.setdefault(partition, []).append(position)
            self.positions[partition] = position + 1
        return messages

    def until(self, done: Callable[[], bool], *members: StreamConsumer) -> None:
        """Poll the members in turn until it is so."""
        deadline = time.monotonic() + _PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, f"not in {_PATIENCE_S} s; seen {self.seen}"
            for member in members:
                self.poll(member)

    def count(self) -> int:
        """Return how many messages came."""
        return sum(map(len, self.seen.values()))


def numbered(start: int, stop: int) -> list[bytes | None]:
    """Return distinct values."""
    return [b"%d" % number for number in range(start, stop)]


class StreamConformance:
    """Behaviour that ingestion relies on."""

    @pytest.fixture
    def stream(self) -> StreamUnderTest:
        """Return a backend and a new topic without messages."""
        raise NotImplementedError("give a `stream` fixture")

    def test_messages_come_in_the_order_of_each_partition(self, stream: StreamUnderTest) -> None:
        """Values as they were sent, by rising positions, with the time they were sent."""
        stream.produce("0", numbered(0, 50))
        stream.produce("1", numbered(100, 130))
        stream.produce("0", numbered(50, 60))
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: group.count() == 90, member)
        assert group.seen == {"0": numbered(0, 60), "1": numbered(100, 130)}
        assert all(at == sorted(set(at)) for at in group.seen_at.values())

    def test_columns_have_the_types_of_the_contract(self, stream: StreamUnderTest) -> None:
        """Empty or not; times are microseconds since the epoch."""
        types = (pa.string(), pa.int64(), pa.int64(), pa.binary())
        group = Group(stream)
        with group.member() as member:
            empty = member.poll(max_messages=10, max_bytes=100, timeout_s=0)
            assert len(empty) == 0
            before_us = time.time_ns() // 1000
            stream.produce("2", [b"\x00\xff", None, b""])
            group.until(lambda: group.count() == 3, member)
            columns = [empty, *group.polled]
        assert group.seen == {"2": [b"\x00\xff", None, b""]}
        sent = [at for batch in columns for at in batch.sent_at_us.to_pylist()]
        assert all(abs(at - before_us) < 60_000_000 for at in sent)
        for batch in columns:
            found = (batch.partition, batch.position, batch.sent_at_us, batch.value)
            assert tuple(column.type for column in found) == types

    def test_an_empty_topic_is_read_without_an_error(self, stream: StreamUnderTest) -> None:
        """Nothing comes, and what comes later is seen."""
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: len(member.assigned()) == PARTITIONS, member)
            assert group.count() == 0
            assert member.end_positions() == dict.fromkeys(map(str, range(PARTITIONS)), 0)
            stream.produce("1", [b"late"])
            group.until(lambda: group.count() == 1, member)

    def test_a_later_member_goes_on_where_the_positions_say(self, stream: StreamUnderTest) -> None:
        """Partitions without a position begin at their oldest message; nothing is committed to the broker."""
        stream.produce("0", numbered(0, 10))
        stream.produce("1", numbered(10, 20))
        first = Group(stream)
        with first.member() as member:
            first.until(lambda: first.count() == 20, member)
        later = Group(stream, {"0": first.seen_at["0"][4]})
        with later.member() as member:
            later.until(lambda: later.count() == 16, member)
        assert later.seen == {"0": numbered(4, 10), "1": numbered(10, 20)}
        assert frozenset().union(*later.asked) == {"0", "1", "2"}

    def test_a_member_that_is_at_the_end_gets_what_comes_next(self, stream: StreamUnderTest) -> None:
        """The position after the newest message is a place to go on from."""
        stream.produce("0", numbered(0, 3))
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: group.count() == 3, member)
        with group.member() as member:
            group.until(lambda: len(member.assigned()) == PARTITIONS, member)
            assert member.end_positions()["0"] == group.positions["0"]
            stream.produce("0", numbered(3, 5))
            group.until(lambda: group.count() == 5, member)
        assert group.seen == {"0": numbered(0, 5)}

    def test_a_poll_is_bounded_in_messages(self, stream: StreamUnderTest) -> None:
        """What does not fit comes with the next poll."""
        stream.produce("0", numbered(0, 25))
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: len(group.poll(member, max_messages=4)) <= 4 and group.count() == 25)
        assert max(map(len, group.polled)) <= 4
        assert group.seen == {"0": numbered(0, 25)}

    def test_a_poll_is_bounded_in_bytes_but_brings_at_least_one_message(self, stream: StreamUnderTest) -> None:
        """A message beyond the bound comes alone."""
        sent: list[bytes | None] = [b"x" * 300, b"y" * 300, b"z" * 2000, b"w" * 300]
        stream.produce("0", sent)
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: len(group.poll(member, max_bytes=700)) <= 2 and group.count() == 4)
        assert group.seen == {"0": sent}
        polled = [batch.value.to_pylist() for batch in group.polled]
        assert all(len(values) <= 1 or sum(map(len, values)) <= 700 for values in polled)

    def test_seek_goes_back_and_forth(self, stream: StreamUnderTest) -> None:
        """What was fetched beyond is forgotten, and what is read again is the same."""
        stream.produce("0", numbered(0, 30))
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: bool(len(group.poll(member, max_messages=5))))
            group.until(lambda: group.count() == 30, member)
            at = dict(zip(group.seen["0"], group.seen_at["0"], strict=True))
            group.seen.clear()
            member.seek("0", at[b"10"])
            group.until(lambda: group.count() == 20, member)
            assert group.seen == {"0": numbered(10, 30)}
            group.seen.clear()
            member.seek("0", at[b"5"])
            member.seek("0", at[b"28"])
            group.until(lambda: group.count() == 2, member)
        assert group.seen == {"0": numbered(28, 30)}

    def test_seek_forgets_what_no_poll_has_brought_yet(self, stream: StreamUnderTest) -> None:
        """In the middle of a backlog, too."""
        stream.produce("0", numbered(0, 3000))
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: len(group.poll(member, max_messages=5)) > 0)
            start = group.seen_at["0"][0]
            group.seen.clear()
            member.seek("0", start)
            group.until(lambda: group.count() == 3000, member)
        assert group.seen == {"0": numbered(0, 3000)}

    def test_seek_in_a_partition_of_somebody_else_is_refused(self, stream: StreamUnderTest) -> None:
        """Only what is read can be read from elsewhere."""
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: len(member.assigned()) == PARTITIONS, member)
            with pytest.raises(InputError, match="assigned"):
                member.seek("99", 0)

    def test_end_positions_are_after_the_newest_messages(self, stream: StreamUnderTest) -> None:
        """A member is caught up once its positions are those."""
        stream.produce("0", numbered(0, 7))
        stream.produce("1", numbered(7, 9))
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: group.count() == 9, member)
            assert member.end_positions() == {**group.positions, "2": 0}
            stream.produce("1", [b"more"])
            assert member.end_positions()["1"] > group.positions["1"]
            assert member.end_positions()["0"] == group.positions["0"]

    def test_the_ends_of_a_topic_are_those_of_all_partitions_whoever_reads_them(self, stream: StreamUnderTest) -> None:
        """A member that reads none of them yet sees them, too."""
        stream.produce("0", numbered(0, 7))
        stream.produce("1", numbered(7, 9))
        group = Group(stream)
        with group.member() as member:
            assert member.topic_ends().keys() == set(map(str, range(PARTITIONS)))
            group.until(lambda: group.count() == 9, member)
            ends = member.topic_ends()
            assert {name: ends[name] for name in ("0", "1")} == {name: group.positions[name] for name in ("0", "1")}
            assert ends["2"] == 0
            with group.member() as other:
                assert other.topic_ends() == ends

    def test_partitions_are_shared_out_and_nothing_is_lost_or_doubled(self, stream: StreamUnderTest) -> None:
        """A second member takes some partitions over at their positions, and gives them back when it leaves."""
        everything = {str(number) for number in range(PARTITIONS)}
        for name in everything:
            stream.produce(name, numbered(0, 20))
        group = Group(stream)
        with group.member() as first:
            group.until(lambda: group.count() == 20 * PARTITIONS, first)
            with group.member() as second:
                group.until(
                    lambda: bool(second.assigned()) and first.assigned() | second.assigned() == everything,
                    first,
                    second,
                )
                assert not first.assigned() & second.assigned()
                for name in everything:
                    stream.produce(name, numbered(20, 40))
                group.until(lambda: group.count() == 40 * PARTITIONS, first, second)
                for name in everything:
                    stream.produce(name, numbered(40, 50))
            group.until(lambda: group.count() == 50 * PARTITIONS, first)
            assert first.assigned() == everything
        assert group.seen == dict.fromkeys(everything, numbered(0, 50))

    def test_a_member_that_joins_in_the_middle_of_a_backlog_goes_on_there(self, stream: StreamUnderTest) -> None:
        """What the first has fetched and not returned comes from the second."""
        everything = {str(number) for number in range(PARTITIONS)}
        for name in everything:
            stream.produce(name, numbered(0, 3000))
        group = Group(stream)
        with group.member() as first:
            group.until(lambda: len(group.poll(first, max_messages=50)) > 0)
            with group.member() as second:
                group.until(
                    lambda: (
                        len(group.poll(first, max_messages=7)) + len(group.poll(second, max_messages=5)) > 0
                        and bool(second.assigned())
                    )
                )
                group.until(lambda: group.count() == 3000 * PARTITIONS, first, second)
        assert group.seen == dict.fromkeys(everything, numbered(0, 3000))

    def test_messages_that_are_gone_are_an_error_and_nothing_is_skipped(self, stream: StreamUnderTest) -> None:
        """A retry does not help; the other partitions are not read over it in silence."""
        stream.produce("0", numbered(0, 10))
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: group.count() == 10, member)
        stream.truncate("0", 2)
        lost = Group(stream, {"0": group.seen_at["0"][3]})
        with lost.member() as member:
            for _ in range(2):
                with pytest.raises(StreamDataLossError) as caught:
                    lost.until(lambda: False, member)
                assert not caught.value.retryable
                assert "Rebuild" in caught.value.fix
                stream.produce("1", [b"elsewhere"])
            assert lost.seen == {}
            member.seek("0", group.seen_at["0"][8])
            lost.until(lambda: lost.count() == 4, member)
        assert lost.seen == {"0": numbered(8, 10), "1": [b"elsewhere"] * 2}

    def test_messages_that_go_while_a_member_reads_are_an_error(self, stream: StreamUnderTest) -> None:
        """As they would be after a restart."""
        stream.produce("0", numbered(0, 10))
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: group.count() == 10, member)
            member.seek("0", group.seen_at["0"][1])
            stream.truncate("0", 2)
            group.seen.clear()
            with pytest.raises(StreamDataLossError):
                group.until(lambda: group.count() < 0, member)

    def test_messages_that_were_read_may_go(self, stream: StreamUnderTest) -> None:
        """What is left from the position on is read as ever, by whoever has a position and whoever has none."""
        stream.produce("0", numbered(0, 10))
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: group.count() == 10, member)
        stream.truncate("0", 2)
        later = Group(stream, {"0": group.seen_at["0"][8]})
        with later.member() as member:
            later.until(lambda: later.count() == 2, member)
        fresh = Group(stream)
        with fresh.member() as member:
            fresh.until(lambda: fresh.count() == 2, member)
        assert later.seen == fresh.seen == {"0": numbered(8, 10)}

    def test_a_position_beyond_the_end_is_an_error(self, stream: StreamUnderTest) -> None:
        """The topic was emptied or made anew: what stands there next is something else."""
        stream.produce("0", numbered(0, 3))
        group = Group(stream)
        with group.member() as member:
            group.until(lambda: group.count() == 3, member)
        beyond = Group(stream, {"0": group.positions["0"] + (1 << 40)})
        with beyond.member() as member, pytest.raises(StreamDataLossError):
            beyond.until(lambda: False, member)

    def test_a_broker_that_cannot_be_reached_is_named_and_a_retry_may_help(self, stream: StreamUnderTest) -> None:
        """The remedy is in the message."""
        with pytest.raises(StreamError, match=stream.topic) as caught:
            stream.unreachable.consume(stream.topic, "group", lambda _: {})
        assert caught.value.retryable
        assert caught.value.fix

    def test_a_topic_that_is_not_there_is_named(self, stream: StreamUnderTest) -> None:
        """At once, not after the first poll."""
        with pytest.raises(StreamError, match="no-such-topic") as caught:
            stream.backend.consume("no-such-topic", "group", lambda _: {})
        assert not caught.value.retryable

    def test_what_the_positions_raise_comes_out_of_the_poll(self, stream: StreamUnderTest) -> None:
        """Nothing is read without knowing where to go on; the next poll asks again."""
        stream.produce("0", [b"x"])
        away = [True]

        def positions(_: frozenset[str]) -> Mapping[str, int]:
            if away:
                raise KeyError("the store is away")
            return {}

        group = Group(stream)
        with stream.backend.consume(stream.topic, "group of nobody", positions) as member:
            for _ in range(2):
                with pytest.raises(KeyError, match="the store is away"):
                    group.until(lambda: group.count() > 0, member)
            assert group.seen == {}
            away.clear()
            group.until(lambda: group.count() == 1, member)

    def test_closing_twice_is_fine_and_reading_afterwards_is_an_error(self, stream: StreamUnderTest) -> None:
        """And nothing is assigned any more."""
        group = Group(stream)
        member = group.member()
        group.until(lambda: bool(member.assigned()), member)
        member.close()
        member.close()
        assert member.assigned() == frozenset()
        with pytest.raises(StreamError):
            member.poll(max_messages=1, max_bytes=1, timeout_s=0)
