"""The contract of a stream: messages by partition and position, read from positions that the reader keeps itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    import pyarrow as pa


@dataclass(frozen=True)
class Messages:
    """What one poll brought: columns of one length, each partition's messages in the order of their positions.

    Attributes:
        partition: string.
        position: int64, unique and rising within a partition; gaps are allowed.
        sent_at_us: int64, when the message was sent, or taken, whichever the broker keeps; null where it does not.
        value: binary; null for a message without one.
    """

    partition: pa.StringArray
    position: pa.Int64Array
    sent_at_us: pa.Int64Array
    value: pa.BinaryArray

    def __len__(self) -> int:
        return len(self.value)


class StreamConsumer(Protocol):
    """One member of a consumer group on one topic. Errors: `StreamError`, which says whether a retry helps.

    Positions are never committed to the broker: they live with the state that they produced. Whenever partitions are
    assigned, the consumer asks its `positions` callback where to go on. Used by one thread.

    A member that was cut off or stopped for long may return messages that another has taken over meanwhile; no broker
    rules that out. So whoever keeps positions accepts a partition's messages only while the position kept is the one
    that they were read from, in the transaction that moves it.
    """

    def poll(self, *, max_messages: int, max_bytes: int, timeout_s: float) -> Messages:
        """Return what has come, at most so much; empty after `timeout_s`, or sooner, without a message.

        A message of more than `max_bytes` comes alone. An error is raised before anything beyond it is returned, and
        again by the next call if it is still there.

        Partitions are taken and given up within this call only, so what an earlier poll returned is finished with.
        """
        ...

    def assigned(self) -> frozenset[str]:
        """Return the partitions that this member reads now."""
        ...

    def seek(self, partition: str, position: int) -> None:
        """Go on at this position; what was fetched beyond it is forgotten."""
        ...

    def end_positions(self) -> Mapping[str, int]:
        """Return, of every assigned partition, the position after its newest message.

        Where no message follows this member's own position it is that, or 0 if it has none; so whoever has processed
        all that came is caught up where its positions are at least these.
        """
        ...

    def topic_ends(self) -> Mapping[str, int]:
        """Return, of every partition of the topic, whoever reads it, the position after what is newest there.

        That may be a mark of the broker's own, after which no message comes: `end_positions` knows.
        """
        ...

    def close(self) -> None:
        """Leave the group; more than once is fine."""
        ...

    def __enter__(self) -> StreamConsumer:
        """Start."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        ...


class Positions(Protocol):
    """Tells a consumer where to go on."""

    def __call__(self, partitions: frozenset[str], /) -> Mapping[str, int]:
        """Return the next position to read of each partition that has one; others begin at their oldest message."""
        ...


class StreamBackend(Protocol):
    """A product that streams come from, opened by URL."""

    def consume(self, topic: str, group: str, positions: Positions) -> StreamConsumer:
        """Join a group as a new member.

        Raises:
            StreamError: the broker cannot be reached, or has no such topic.
        """
        ...


class Decoder(Protocol):
    """Turns message values into columns."""

    @property
    def schema(self) -> pa.Schema:
        """The columns that it makes."""
        ...

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """Return a row per value that can be read, in order, and why each other one cannot."""
        ...


@dataclass(frozen=True)
class Decoded:
    """Columns of the values that could be read.

    Attributes:
        rows: One row per good value, in order, with exactly the columns of the decoder's schema: a field that a
            message lacks is null, one that the schema lacks is ignored.
        index: int64, which value each row comes from, rising.
        failures: Why each other value cannot be read, by its position among the values.
    """

    rows: pa.Table
    index: pa.Int64Array
    failures: Mapping[int, str]
