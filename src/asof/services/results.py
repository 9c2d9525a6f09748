"""What a point-in-time join returns: Arrow batches in spine order, and the forms and files they can take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof.errors import InputError
from asof.services.forms import BATCH_ROWS, Rows
from asof.services.missing import STATUS_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from asof.interfaces import Executor, TableWriter
    from asof.services.history import ViewColumns
    from asof.services.masked_columns import MaskedColumns
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
        views: Mapping[str, ViewColumns | ComputedColumns | MaskedColumns],
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
        for start in range(0, len(self), rows):
            yield from self._slice(start, rows, self.schema.names).to_batches()

    def group_count(self) -> int:
        """Return how many groups of 131,072 rows there are."""
        return -(-len(self) // BATCH_ROWS)

    def read_groups(self, order: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield groups of rows by their numbers, one at a time, with these columns or all."""
        for group in order:
            yield self._slice(group * BATCH_ROWS, BATCH_ROWS, columns or self.schema.names)

    def learned(self) -> tuple[list[str], str | None]:
        """Return the names of all features, without statuses, and of the spine's column `label` if it has one."""
        label = "label" if "label" in self._spine.table.column_names else None
        names = [name for name, _, _ in self._columns]
        statuses = {name + STATUS_SUFFIX for name in names}
        return [name for name in names if name not in statuses], label

    def _slice(self, start: int, rows: int, names: Sequence[str]) -> pa.Table:
        """Return some columns of rows as a table of one batch; only views of which a column is asked are read."""
        stop = min(start + rows, len(self))
        places = {name: (key, column) for name, key, column in self._columns}
        parts = {key: self._views[key].slice(start, stop) for key in {places[n][0] for n in names if n in places}}
        spine = self._spine.table.slice(start, stop - start)
        arrays = []
        for name in names:
            key, column = places.get(name, ("", name))
            arrays.append(parts[key].column(column) if name in places else spine.column(name))
        schema = pa.schema([self.schema.field(name) for name in names])
        return pa.Table.from_arrays(arrays, schema=schema).combine_chunks()

    def __getstate__(self) -> object:
        raise InputError(
            "A join's rows cannot be sent to another process",
            why="They are in this one's memory and temporary files",
            fix="Use to_torch(), store a training set, or read without workers.",
        )

    def close(self) -> None:
        """Free memory and temporary files; the object cannot be read afterwards."""
        self._executor.release()

    def __enter__(self) -> HistoricalFeatures:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
