"""A broker in memory, for what is not about brokers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof.interfaces.stream import Messages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from asof.interfaces.stream import Positions


class MemoryBroker:
    """A `StreamBackend` with one topic; a member reads all partitions."""

    def __init__(self, partitions: int = 2) -> None:
        self.messages: list[list[tuple[int | None, bytes]]] = [[] for _ in range(partitions)]

    def produce(self, partition: int, values: Sequence[bytes], sent_at_us: int | None = None) -> None:
        """Append messages to a partition."""
        self.messages[partition] += [(sent_at_us, value) for value in values]

    def consume(self, topic: str, group: str, positions: Positions) -> MemoryConsumer:
        """Join as the only member."""
        return MemoryConsumer(self, positions(frozenset(map(str, range(len(self.messages))))))


class MemoryConsumer:
    """A `StreamConsumer`."""

    def __init__(self, broker: MemoryBroker, positions: Mapping[str, int]) -> None:
        self._broker = broker
        self._at = [positions.get(str(part), 0) for part in range(len(broker.messages))]

    def poll(self, *, max_messages: int, max_bytes: int, timeout_s: float) -> Messages:
        """Return all that there is."""
        found = [
            (str(part), at, *message)
            for part, messages in enumerate(self._broker.messages)
            for at, message in enumerate(messages)
            if at >= self._at[part]
        ]
        self._at = [len(messages) for messages in self._broker.messages]
        parts, positions, sent, values = zip(*found, strict=True) if found else ((), (), (), ())
        return Messages(
            pa.array(parts, pa.string()),
            pa.array(positions, pa.int64()),
            pa.array(sent, pa.int64()),
            pa.array(values, pa.binary()),
        )

    def assigned(self) -> frozenset[str]:
        """Return all partitions."""
        return frozenset(map(str, range(len(self._at))))

    def seek(self, partition: str, position: int) -> None:
        """Go on there."""
        self._at[int(partition)] = position

    def end_positions(self) -> Mapping[str, int]:
        """Return where each partition ends."""
        return {str(part): len(messages) for part, messages in enumerate(self._broker.messages)}

    def topic_ends(self) -> Mapping[str, int]:
        """Return where each partition ends."""
        return self.end_positions()

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> MemoryConsumer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
