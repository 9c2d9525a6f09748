"""Reads one Kafka topic as a member of a group, from positions that are kept elsewhere."""

from __future__ import annotations

import time
from itertools import accumulate
from typing import TYPE_CHECKING

import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_NOT_AVAILABLE, KafkaError, KafkaException, TopicPartition

from asof.backends.kafka.failures import LOST, SERIOUS, from_exception, translate
from asof.errors import InputError, StreamError
from asof.interfaces import Messages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from confluent_kafka import Consumer, Message

    from asof.backends.kafka.ends import Ends
    from asof.interfaces import Positions

_CHUNK = 1000
_MAX_BYTES = 2**30
_GRACE_S = 1.0
_METADATA_S = 10.0


class Reports:
    """Keeps what the client reports beside the messages until somebody may raise it."""

    def __init__(self) -> None:
        """Start with none."""
        self._first: KafkaError | None = None

    def add(self, error: KafkaError) -> None:
        """Keep the most telling one; the client recovers from others by itself."""
        serious = error.code() in SERIOUS or error.fatal()
        if serious and (self._first is None or self._first.code() == KafkaError._ALL_BROKERS_DOWN):
            self._first = error

    def take(self) -> KafkaError | None:
        """Return and forget it."""
        first, self._first = self._first, None
        return first


class KafkaConsumer:
    """One member of a group.

    Partitions come and go by the cooperative protocol: those that stay are read on while others move. The broker holds
    no positions, so each partition that comes is asked for with `positions`.
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        positions: Positions,
        reports: Reports,
        ends: Ends,
        *,
        silence_s: float,
    ) -> None:
        """Subscribe; partitions are assigned within `poll`.

        Args:
            consumer: The client.
            topic: What to read.
            positions: Where to go on.
            reports: What the client reports beside the messages.
            ends: Answers where partitions end.
            silence_s: How long after a poll the group may have given this member's partitions to others.
        """
        self._consumer = consumer
        self._topic = topic
        self._positions = positions
        self._reports = reports
        self._end_of = ends
        self._silence_s = silence_s
        self._polled_s = time.monotonic()
        self._grace_s = self._polled_s  # nothing is read until then
        self._what = f"Kafka's topic {topic!r} cannot be read"
        self._fetched: dict[int, int] = {}  # by assigned partition: the position after what was fetched, 0 if unknown
        self._ends: dict[int, int] = {}  # where the broker said that nothing follows
        self._held: list[Message] = []
        self._failure: StreamError | None = None
        self._lost: dict[int, KafkaError] = {}  # by partition: it does not go on, until it is read from elsewhere
        self._broken: BaseException | None = None
        self._unplaced: set[int] = set()  # assigned, but not read yet
        self._closed = False
        consumer.subscribe([topic], on_assign=self._take, on_revoke=self._give_up, on_lost=self._give_up)

    def poll(self, *, max_messages: int, max_bytes: int, timeout_s: float) -> Messages:
        """Return what has come: at most `max_messages`, and at most `max_bytes` of values or one message.

        Raises:
            StreamError: no broker can be reached; a retry may help.
            StreamDataLossError: the messages at a partition's position are gone.
            StreamRefusedError: the broker refuses this user, or the topic is gone.
        """
        self._check_open()
        if time.monotonic() - self._polled_s > self._silence_s:
            self._start_over()
        self._place()
        room = min(max_bytes, _MAX_BYTES)
        if self._lost:
            if not self._held:
                self._raise_failure()
            return _columns(self._cut(max_messages, room))
        self._fetch(max(1, min(_CHUNK, max_messages - len(self._held))), 0)
        if not self._held and self._failure is None and not self._lost and timeout_s > 0:
            grace_s = self._grace_s - time.monotonic()
            self._fetch(1, min(timeout_s, grace_s) if grace_s > 0 else timeout_s)
        size = sum(map(len, self._held))
        while self._held and len(self._held) < max_messages and size < room:
            before = len(self._held)
            self._fetch(min(_CHUNK, max_messages - before), 0)
            if len(self._held) <= before:
                break
            size += sum(map(len, self._held[before:]))
        if not self._held:
            self._raise_failure()
        return _columns(self._cut(max_messages, room))

    def assigned(self) -> frozenset[str]:
        """Return the partitions that this member reads now."""
        return frozenset(map(str, self._fetched))

    def seek(self, partition: str, position: int) -> None:
        """Go on at this position; what was fetched beyond it is forgotten.

        Raises:
            InputError: this member does not read that partition.
        """
        self._check_open()
        if partition not in self.assigned():
            raise InputError(
                f"Partition {partition!r} of {self._topic!r} is not read by this member",
                fix="Seek in a partition that assigned() names.",
            )
        number = int(partition)
        self._forget({number})
        try:
            self._consumer.incremental_unassign([TopicPartition(self._topic, number)])
            self._consumer.incremental_assign([TopicPartition(self._topic, number, position)])
        except KafkaException as error:
            raise from_exception(error, self._what) from error
        self._fetched[number] = position

    def end_positions(self) -> Mapping[str, int]:
        """Return the end of each assigned partition, in one round trip.

        That is the position after the newest committed message. Where nothing but markers of transactions follows
        what was read, it is this member's own position, or 0 before its first message.
        """
        self._check_open()
        ends = self._end_of.ask(sorted(self._fetched))
        return {str(number): self._end(number, end) for number, end in ends.items()}

    def topic_ends(self) -> Mapping[str, int]:
        """Return the end of each partition of the topic, markers of transactions included."""
        self._check_open()
        try:
            known = self._consumer.list_topics(self._topic, timeout=_METADATA_S).topics[self._topic].partitions
        except KafkaException as error:
            raise from_exception(error, f"The partitions of Kafka's topic {self._topic!r} cannot be read") from error
        return {str(number): end for number, end in self._end_of.ask(sorted(known)).items()}

    def close(self) -> None:
        """Leave the group, so that others take over at once; more than once is fine."""
        if not self._closed:
            self._closed = True
            self._consumer.close()
            self._fetched.clear()
            self._unplaced.clear()
            self._held.clear()

    def __enter__(self) -> KafkaConsumer:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _fetch(self, count: int, timeout_s: float) -> None:
        """Move messages from the client to `_held`; partitions come and go meanwhile."""
        try:
            batch = self._consumer.consume(count, timeout_s)
        except KafkaException as error:
            raise from_exception(error, self._what) from error
        finally:
            self._polled_s = time.monotonic()
        self._raise_broken()
        fetched = self._fetched
        held = self._held
        for message in batch:
            failure, number, position = message.error(), message.partition(), message.offset()
            if failure is None:
                # A partition that was given up or moved within this call may have left messages in the batch.
                if number in fetched and position is not None and position >= fetched[number]:
                    fetched[number] = position + 1
                    held.append(message)
            elif failure.code() == KafkaError._PARTITION_EOF:
                if number in fetched and position is not None:
                    self._ends[number] = position
            elif failure.code() in LOST and number in fetched:
                self._lost[number] = failure
            elif self._failure is None:
                self._failure = translate(failure, self._what)
        reported = self._reports.take()
        if reported is not None and self._failure is None:
            self._failure = translate(reported, self._what)

    def _end(self, number: int, end: int) -> int:
        return self._fetched[number] if self._ends.get(number) == end else end

    def _cut(self, max_messages: int, room: int) -> list[Message]:
        fits = sum(1 for total in accumulate(map(len, self._held[:max_messages])) if total <= room)
        taken = max(fits, 1)
        ready, self._held = self._held[:taken], self._held[taken:]
        return ready

    def _raise_failure(self) -> None:
        for number, lost in self._lost.items():
            raise translate(lost, f"Partition {number} of Kafka's topic {self._topic!r} cannot be read on")
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _raise_broken(self) -> None:
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken

    def _take(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._unplaced.update(found.partition for found in partitions)
        try:
            self._place()
        except BaseException as error:  # noqa: BLE001 - it is raised by `poll`, which the client called this from
            self._broken = error
        if self._unplaced:
            consumer.incremental_assign([])  # or the client would begin somewhere by itself

    def _start_over(self) -> None:
        """Drop what was fetched, as others may have read it meanwhile; what is still ours is asked for anew.

        The client is told by the group, and tells us by a callback, but not at once.
        """
        self._grace_s = time.monotonic() + _GRACE_S
        mine = set(self._fetched)
        self._forget(mine)
        self._unplaced |= mine
        try:
            self._consumer.incremental_unassign([TopicPartition(self._topic, number) for number in sorted(mine)])
        except KafkaException as error:
            raise from_exception(error, self._what) from error

    def _place(self) -> None:
        """Begin to read what was assigned; what cannot be is done by a later poll."""
        if not self._unplaced or time.monotonic() < self._grace_s:
            return
        known = self._positions(frozenset(map(str, self._unplaced)))
        places = []
        for number in sorted(self._unplaced):
            position = known.get(str(number))
            self._fetched[number] = position or 0
            places.append(TopicPartition(self._topic, number, OFFSET_BEGINNING if position is None else position))
        self._unplaced.clear()
        self._consumer.incremental_assign(places)

    def _give_up(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        placed = [found for found in partitions if found.partition not in self._unplaced]
        self._unplaced.difference_update(found.partition for found in partitions)
        self._forget({found.partition for found in placed})
        consumer.incremental_unassign(placed)

    def _forget(self, numbers: set[int]) -> None:
        # In place: `_fetch` goes on with the same list and the same dictionary.
        self._held[:] = [message for message in self._held if message.partition() not in numbers]
        for number in numbers:
            self._fetched.pop(number, None)
            self._ends.pop(number, None)
            self._lost.pop(number, None)

    def _check_open(self) -> None:
        if self._closed:
            raise StreamError(f"The consumer of {self._topic!r} is closed", fix="Consume the topic again.")


def _columns(messages: list[Message]) -> Messages:
    # Each pair is dropped at once: a list of them all would have the garbage collector look at every message.
    stamps = (message.timestamp() for message in messages)
    sent = [None if kind == TIMESTAMP_NOT_AVAILABLE else at_ms * 1000 for kind, at_ms in stamps]
    return Messages(
        partition=pa.array([message.partition() for message in messages], pa.int32()).cast(pa.string()),
        position=pa.array([message.offset() for message in messages], pa.int64()),
        sent_at_us=pa.array(sent, pa.int64()),
        value=pa.array([message.value() for message in messages], pa.binary()),
    )
