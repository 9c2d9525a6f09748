"""The contract of the offline log: every row of a stream source as it arrived, in order, with where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from asof.clock import FIRST_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa

PARTITION = "__partition"
POSITION = "__position"
ENTRY = "__entry"
"""Columns of a log beside the source's own: where a row came from, and the number of the append that brought it."""


@dataclass(frozen=True)
class LogHead:
    """Where a log ends.

    Attributes:
        sequence: Number of its newest entry; 0 where it has none. Rises by one with every append.
        positions: Per partition the next position to read: what is before it is in the log, or was set apart.
        last_us: When the newest entry arrived; the earliest time of all where there is none.
        rows: How many rows it holds.
        began: Per partition the first position that is the log's own, and the entry that brought the partition: where
            an archive has a message, too, the log has those from there on.
    """

    sequence: int = 0
    positions: Mapping[str, int] = field(default_factory=dict)
    last_us: int = FIRST_US
    rows: int = 0
    began: Mapping[str, tuple[int, int]] = field(default_factory=dict)


class SourceLog(Protocol):
    """The log of one source. Errors: `StoreError`, `StoreFullError`, `CorruptDataError`."""

    def head(self) -> LogHead:
        """Return where the log ends now."""
        ...

    def append(self, after: LogHead, rows: pa.Table, positions: Mapping[str, int], at_us: int) -> LogHead:
        """Add rows, durably and in one step, and return the new end.

        Args:
            after: The end that the caller saw.
            rows: The source's columns, the moment of arrival, and `PARTITION` and `POSITION`; may have no rows.
            positions: Per partition that moved, the next position to read.
            at_us: When they arrived; after every earlier arrival.

        Raises:
            ConflictError: someone appended meanwhile; nothing is added.
        """
        ...

    def read(self, after: int, until: int) -> Iterator[tuple[int, pa.Table]]:
        """Yield the rows of the entries after one sequence number and up to another, a few entries at a time.

        Each with the number of its last entry; columns that an older entry lacks are null.
        """
        ...

    def compact(self) -> int:
        """Join many small entries into few large ones, and return how many files that took away.

        Only one process may do so at a time; readers and whoever appends may go on meanwhile.
        """
        ...

    def erase(self, gone: Callable[[pa.Table], pa.ChunkedArray]) -> None:
        """Delete rows for good. Entries keep their numbers and moments, partitions their positions.

        Only whoever holds the source (`OnlineStore.exclusive`) may do so; readers may go on meanwhile. After a crash
        in between some files are as they were: the same call finishes.

        Args:
            gone: Says which rows of some entries are to go; called with all of their columns.
        """
        ...


class OfflineLog(Protocol):
    """The logs of a project's stream sources."""

    def of(self, source: str) -> SourceLog:
        """Return the log of a source; one that nothing was appended to is empty."""
        ...
