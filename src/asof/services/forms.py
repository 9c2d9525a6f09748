"""The forms and files that a stream of Arrow batches can take, whatever it comes from."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof.errors import InputError
from asof.services.handoff import Handoff
from asof.services.map_rows import map_rows

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from asof.interfaces import TableWriter

    Progress = Callable[[int, int], None]

BATCH_ROWS = 131_072


class Rows(Handoff):
    """Rows in a fixed order, which can be read any number of times."""

    _writer: TableWriter

    @abstractmethod
    def to_batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Yield record batches of at most `rows` rows, in order."""

    def to_reader(self) -> pa.RecordBatchReader:
        """Return the batches as an Arrow reader, which other libraries take without copying."""
        return pa.RecordBatchReader.from_batches(self.schema, self.to_batches())

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table."""
        return pa.Table.from_batches(self.to_batches(), schema=self.schema)

    def to_pandas(self, **options: Any) -> Any:
        """Return a pandas DataFrame; `options` go to pyarrow's `Table.to_pandas`."""
        return self.to_arrow().to_pandas(**options)

    def to_polars(self) -> Any:
        """Return a Polars DataFrame."""
        import polars

        return polars.from_arrow(self.to_arrow())

    def map_rows(self, column: str) -> pa.Table:
        """Return an Arrow table with a row per entry of a map column, which an aggregate with `by` gives.

        Rows keep their order, and entries theirs: ascending by key. In the map's place stand `<column>__key` and
        `<column>__value`; all other columns are repeated. Rows whose map is null or empty have no entry, so no row.

        Raises:
            InputError: there is no such column, or it holds no maps.
        """
        return map_rows(self.to_arrow(), column)

    def write(
        self, path: str | os.PathLike[str], *, format: str | None = None, progress: Progress | None = None
    ) -> int:
        """Write to a file or table; it is there whole or, if anything fails, as it was before.

        Args:
            path: Ending in .parquet, .csv, .arrow or .tfrecord; for a Delta table a directory ending in .delta, or say
                `format`.
            format: parquet, csv, arrow, delta or tfrecord. Default: from the ending. A Delta table gets a new version.
                TFRecord needs TensorFlow, and has 32-bit floats only.
            progress: Called with rows written and rows in all.

        Returns:
            How many rows were written.

        Raises:
            InputError: no such format.
            ConfigError: TensorFlow is not installed.
            UnsupportedOperationError: the format cannot hold a column's type.
            StoreFullError: no room on the disk.
        """
        target = Path(path)
        chosen = format or target.suffix.removeprefix(".")
        if chosen not in self._writer.formats():
            raise InputError(
                f"There is no format for {target.name!r}",
                fix=f"End the path in {', '.join('.' + name for name in self._writer.formats())}, or say format=.",
            )
        self._writer.write(target, chosen, self.schema, _report(self.to_batches(), len(self), progress))
        return len(self)


def _report(batches: Iterator[pa.RecordBatch], total: int, progress: Progress | None) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in batches:
        yield batch
        done += batch.num_rows
        if progress is not None:
            progress(done, total)
