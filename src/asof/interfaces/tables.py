"""The contract of a table writer: a stream of batches becomes a file or a table, whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow as pa


class TableWriter(Protocol):
    """Writes tables. Errors: `StoreFullError`, `StoreError`; what was there before is then still there."""

    def formats(self) -> tuple[str, ...]:
        """Return the names of the formats it can write."""
        ...

    def write(self, target: Path, chosen: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Replace `target` by the batches, atomically and durably."""
        ...
