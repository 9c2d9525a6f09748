"""The rows of a training set as the model takes them, transformed batch by batch while they stream from disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof.kernel.model_transforms import FittedImpute, FittedOneHot, apply_table
from asof.services.forms import BATCH_ROWS, Rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asof.interfaces import TableWriter
    from asof.kernel.model_transforms import FittedColumn
    from asof.services.training_set import TrainingRows


class TransformedRows(Rows):
    """Rows with each transformed column replaced, in its place, by what its fitted steps make of it."""

    def __init__(self, rows: TrainingRows, fitted: Sequence[FittedColumn], writer: TableWriter) -> None:
        """Transform `rows` as they are read."""
        self._rows = rows
        self._fitted = tuple(fitted)
        self._writer = writer
        empty = rows.schema.empty_table()
        self.schema = apply_table(self._fitted, empty).schema
        self._outputs = {
            name: apply_table(self._of([name]), empty.select([name])).column_names for name in rows.schema.names
        }

    def __len__(self) -> int:
        return len(self._rows)

    def to_batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Yield record batches of at most `rows` rows, in order."""
        for batch in self._rows.to_batches(rows):
            yield from apply_table(self._fitted, pa.Table.from_batches([batch])).combine_chunks().to_batches()

    def group_count(self) -> int:
        """Return how many Parquet row groups there are."""
        return self._rows.group_count()

    def read_groups(self, order: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield Parquet row groups by their numbers, one at a time, with these columns or all."""
        wanted = list(self.schema.names if columns is None else columns)
        read = [name for name, made in self._outputs.items() if not set(wanted).isdisjoint(made)]
        for table in self._rows.read_groups(order, read):
            yield apply_table(self._of(read), table).select(wanted)

    def null_columns(self, columns: Sequence[str]) -> set[str]:
        """Return which of the columns may hold a null in any split, so that all splits are encoded alike."""
        filled = {one.column for one in self._fitted if _fills(one)}
        sources = [name for name, made in self._outputs.items() if name not in filled and set(columns) & set(made)]
        return {made for name in self._rows.null_columns(sources) for made in self._outputs[name]}

    def learned(self) -> tuple[list[str], str | None]:
        """Return the names of all features after their transforms, and of the label if there is one."""
        features, label = self._rows.learned()
        return [made for name in features for made in self._outputs[name]], label

    def _of(self, names: Sequence[str]) -> list[FittedColumn]:
        return [one for one in self._fitted if one.column in names]


def _fills(fitted: FittedColumn) -> bool:
    """Return whether the steps leave no null."""
    return any(
        isinstance(step, FittedOneHot) or (isinstance(step, FittedImpute) and step.value is not None)
        for step in fitted.steps
    )
