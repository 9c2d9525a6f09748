"""What a point-in-time join returns: Arrow batches in spine order, and the forms and files they can take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof.errors import InputError
from asof.services.history import BATCH_ROWS

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from asof.interfaces import Executor, TableWriter
    from asof.services.history import ViewColumns
    from asof.services.on_demand import ComputedColumns
    from asof.services.spine import Spine

    Progress = Callable[[int, int], None]


class HistoricalFeatures:
    """The spine's rows, in its order, with its own columns first and then one column per feature.

    The join is computed when it is made; batches stream from memory, or from disk where the memory budget did not
    hold them. Use it as a context manager, or call `close`, to free what it holds early.
    """

    def __init__(
        self,
        spine: Spine,
        views: Mapping[str, ViewColumns | ComputedColumns],
        columns: list[tuple[str, str, str]],
        executor: Executor,
        writer: TableWriter,
    ) -> None:
        """Assemble from views by key; `columns` are (output name, view key, the view's column)."""
        self._spine = spine
        self._views = views
        self._columns = columns
        self._executor = executor
        self._writer = writer
        fields = [pa.field(name, views[key].schema.field(column).type) for name, key, column in columns]
        self.schema: pa.Schema = pa.schema([*spine.table.schema, *fields])

    def __len__(self) -> int:
        return int(self._spine.table.num_rows)

    def to_batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Yield record batches of at most `rows` rows, in spine order."""
        total = len(self)
        for start in range(0, total, rows):
            stop = min(start + rows, total)
            parts = {key: view.slice(start, stop) for key, view in self._views.items()}
            arrays = list(self._spine.table.slice(start, stop - start).columns)
            arrays += [parts[key].column(column) for _, key, column in self._columns]
            table = pa.Table.from_arrays(arrays, schema=self.schema).combine_chunks()
            yield from table.to_batches()

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

    def write(
        self, path: str | os.PathLike[str], *, format: str | None = None, progress: Progress | None = None
    ) -> int:
        """Write to a file or table; it is there whole or, if anything fails, as it was before.

        Args:
            path: Ending in .parquet, .csv or .arrow; for a Delta table a directory ending in .delta, or say `format`.
            format: parquet, csv, arrow or delta. Default: from the ending. A Delta table gets a new version.
            progress: Called with rows written and rows in all.

        Returns:
            How many rows were written.

        Raises:
            InputError: no such format.
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

    def close(self) -> None:
        """Free memory and temporary files; the object cannot be read afterwards."""
        self._executor.release()

    def __enter__(self) -> HistoricalFeatures:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _report(batches: Iterator[pa.RecordBatch], total: int, progress: Progress | None) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in batches:
        yield batch
        done += batch.num_rows
        if progress is not None:
            progress(done, total)
