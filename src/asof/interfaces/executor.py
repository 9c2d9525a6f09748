"""The contract of an executor: splits streams of rows by key within a memory budget, so that work goes part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    import pyarrow as pa

    Assign = Callable[[pa.RecordBatch, int], pa.Array]


class Partitions(Protocol):
    """Rows split by key; a context manager that frees memory and files when left, also on an error or Ctrl-C."""

    @property
    def count(self) -> int:
        """How many parts there are; 1 while everything fits into memory."""
        ...

    def read(self, part: int) -> pa.Table:
        """Return the rows of a part in the order in which they came."""
        ...

    def __enter__(self) -> Partitions:
        """Start."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free everything."""
        ...


class Executor(Protocol):
    """Runs work on parts that fit its memory budget. Errors: `StoreFullError` where spilling finds no room."""

    @property
    def threads(self) -> int:
        """How many threads one kernel call may use."""
        ...

    def at_once(self, size_bytes: int) -> bool:
        """Return whether sources of this many bytes may be worked on side by side, well within the budget."""
        ...

    def partition(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, assign: Assign) -> Partitions:
        """Take all batches and split them.

        Args:
            batches: Read once, in order.
            schema: Of the batches, for when there are none.
            assign: Called with a batch and the number of parts n; gives each row's part, int32 in 0 … n-1.
        """
        ...

    def keep(self, table: pa.Table) -> pa.Table:
        """Return the table, or the same rows on disk (memory-mapped) once kept tables outgrow their share."""
        ...

    def release(self) -> None:
        """Free what `keep` holds."""
        ...
