"""What a point-in-time join returns: Arrow batches in spine order, and the forms and files they can take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof.services.forms import BATCH_ROWS, Rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from asof.interfaces import Executor, TableWriter
    from asof.services.history import ViewColumns
    from asof.services.on_demand import ComputedColumns
    from asof.services.spine import Spine


class HistoricalFeatures(Rows):
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
        """Assemble from groups by key; `columns` are (output name, the group's key, the view's column)."""
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

    def close(self) -> None:
        """Free memory and temporary files; the object cannot be read afterwards."""
        self._executor.release()

    def __enter__(self) -> HistoricalFeatures:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
