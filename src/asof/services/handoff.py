"""How rows are handed to NumPy and to learning libraries, whether they were just joined or are stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof.frameworks import columns, matrix, streams
from asof.frameworks.library import load

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from asof.frameworks.columns import Array, Encoding


class Handoff(ABC):
    """Rows that can be handed over.

    Every method takes `features`, the columns that a model sees, by default all features, and `label`, the column that
    it learns, by default the label of the training set, else the column `label` if there is one.
    """

    schema: pa.Schema

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def group_count(self) -> int:
        """Return how many groups the rows can be read in."""

    @abstractmethod
    def read_groups(self, order: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield groups of rows by their numbers, one at a time, with these columns or all."""

    @abstractmethod
    def learned(self) -> tuple[list[str], str | None]:
        """Return the names of all features, and of the label if there is one."""

    def null_columns(self, columns: Sequence[str]) -> set[str]:
        """Return which of the columns hold a null; reads them."""
        found: set[str] = set()
        for batch in self.read_groups(range(self.group_count()), columns):
            found |= {name for name in columns if batch.column(name).null_count}
        return found

    def shuffled(
        self, seed: int, rows: int = 1024, *, worker: int = 0, workers: int = 1, mix: int = 1
    ) -> Iterator[pa.RecordBatch]:
        """Yield record batches in random order, streaming: for one epoch of one worker.

        Groups of rows (a stored set's Parquet row groups) come in random order, `mix` of them at a time, and rows in
        random order within these, so at most `mix` groups are in memory.

        Args:
            seed: The same seed gives the same order; give each epoch its own.
            rows: Most rows per batch.
            worker: The number of this worker, from 0; each row comes to exactly one worker.
            workers: How many workers there are.
            mix: How many groups are shuffled together. More mix rows better that lie far apart, and take more memory.

        Raises:
            InputError: the worker's number does not fit.
        """
        visit = streams.Visit(seed, worker, workers, mix)
        streams.refuse_rows(rows)
        for table in visit.tables(self):
            for start in range(0, table.num_rows, rows):
                yield from table.slice(start, rows).combine_chunks().to_batches()

    def stream(
        self,
        rows: int = 1024,
        *,
        features: Sequence[str] | None = None,
        label: str | None = None,
        seed: int | None = None,
        worker: int = 0,
        workers: int = 1,
        mix: int = 1,
    ) -> Iterator[Any]:
        """Yield batches of NumPy arrays, for whatever takes them: (features by name, label), or features alone.

        A batch has exactly `rows` rows, but for a worker's last. Numbers and bools keep their types; decimals become
        float64; timestamps, times and durations int64 microseconds, dates int32 days since 1970; vectors rows of
        numbers. Null is NaN: a column that is not of floats and holds a null anywhere becomes float64, in every batch.

        Args:
            rows: Rows per batch.
            features: The columns, in order. Default: all features.
            label: The label's column. Default: the training set's, else the column `label` if there is one.
            seed: As for `shuffled`. Default: the rows' own order.
            worker: As for `shuffled`.
            workers: As for `shuffled`.
            mix: As for `shuffled`.

        Raises:
            NotFoundError: no such column.
            InputError: a column is of a type that no array of numbers holds, as a text.
        """
        return streams.elements(self, self._encoding(features, label), rows, streams.Visit(seed, worker, workers, mix))

    def to_numpy(self) -> dict[str, Array]:
        """Return a NumPy array per column.

        Numbers and bools with nulls become float64 with NaN; timestamps become datetime64 (UTC), their nulls NaT; what
        NumPy has no type for becomes objects, their nulls None.
        """
        groups = self.read_groups(range(self.group_count()))
        whole = pa.concat_tables([self.schema.empty_table(), *groups])
        return {name: matrix.to_numpy(whole.column(name)) for name in whole.column_names}

    def to_xy(self, label: str | None = None, features: Sequence[str] | None = None) -> tuple[Array, Array]:
        """Return what scikit-learn and its like take: a float64 matrix of features, and the labels.

        Args:
            label: The label's column. Default: the training set's label, else the column `label`.
            features: The matrix's columns, in order: numbers and bools. Default: all features.

        Returns:
            The matrix, one row per example and NaN for null, and an array of labels.

        Raises:
            NotFoundError: no such column.
            InputError: a feature is neither number nor bool.
        """
        chosen, target = self._chosen(features, label)
        return matrix.xy(self, chosen, target or "label")

    def to_torch(
        self,
        *,
        features: Sequence[str] | None = None,
        label: str | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Return a map-style PyTorch dataset: element i is row i, with a tensor per column, as `stream` encodes them.

        The columns are written once to a temporary folder and mapped into memory, so any row can be read without
        loading the others, also by workers. The folder goes with the dataset.

        Args:
            features: As for `stream`.
            label: As for `stream`.
            folder: Where the temporary folder is made. Default: the system's.

        Raises:
            ConfigError: torch is not installed.
            NotFoundError, InputError: as for `stream`.
            StoreFullError: there is no room in the folder.
        """
        return load("torch").MappedRows(self, self._encoding(features, label), folder)

    def to_torch_stream(
        self,
        rows: int = 1024,
        *,
        features: Sequence[str] | None = None,
        label: str | None = None,
        seed: int | None = None,
        worker: int = 0,
        workers: int = 1,
        mix: int = 1,
    ) -> Any:
        """Return an iterable PyTorch dataset of batches, for `DataLoader(dataset, batch_size=None, num_workers=…)`.

        The loader's workers share the rows, each of which comes once. With a seed, call `set_epoch` before each epoch:
        epoch n has the order of seed + n, however many workers are asked.

        Args:
            rows: Rows per batch.
            features: As for `stream`.
            label: As for `stream`.
            seed: As for `stream`.
            worker: The rank of this process in distributed training; its loader's workers share its part.
            workers: How many such processes there are.
            mix: As for `shuffled`.

        Raises:
            ConfigError: torch is not installed.
            NotFoundError, InputError: as for `stream`.
        """
        visit = streams.Visit(seed, worker, workers, mix)
        return load("torch").StreamedRows(self, self._encoding(features, label), streams.refuse_rows(rows), visit)

    def to_tensorflow(
        self,
        rows: int = 1024,
        *,
        features: Sequence[str] | None = None,
        label: str | None = None,
        seed: int | None = None,
        worker: int = 0,
        workers: int = 1,
        mix: int = 1,
    ) -> Any:
        """Return a `tf.data.Dataset` that streams batches, as Keras takes them; arguments are those of `stream`.

        Each time it is iterated over is an epoch, the n-th (from 0) in the order of seed + n.

        Raises:
            ConfigError: tensorflow is not installed.
            NotFoundError, InputError: as for `stream`.
        """
        visit = streams.Visit(seed, worker, workers, mix)
        return load("tensorflow").dataset(self, self._encoding(features, label), streams.refuse_rows(rows), visit)

    def to_jax(self, *, features: Sequence[str] | None = None, label: str | None = None) -> Any:
        """Return all rows as JAX arrays: (features by name, label), or features alone; encoded as for `stream`.

        Unless `jax_enable_x64` is set JAX makes 64-bit floats 32-bit ones, and integers too: those that do not fit are
        refused.

        Raises:
            ConfigError: jax is not installed.
            NotFoundError, InputError: as for `stream`.
        """
        return load("jax").whole(self, self._encoding(features, label))

    def to_jax_stream(
        self,
        rows: int = 1024,
        *,
        features: Sequence[str] | None = None,
        label: str | None = None,
        seed: int | None = None,
        worker: int = 0,
        workers: int = 1,
        mix: int = 1,
    ) -> Iterator[Any]:
        """Yield batches of JAX arrays, types as for `to_jax`; arguments and order are those of `stream`.

        Raises:
            ConfigError: jax is not installed.
            NotFoundError, InputError: as for `stream`.
        """
        visit = streams.Visit(seed, worker, workers, mix)
        made: Iterator[Any] = load("jax").stream(self, self._encoding(features, label), rows, visit)
        return made

    def to_xgboost(self, label: str | None = None, features: Sequence[str] | None = None, **options: Any) -> Any:
        """Return an XGBoost `DMatrix` with all rows, null missing; `options` go to it. XGBoost holds float32.

        Raises:
            ConfigError: xgboost is not installed.
            NotFoundError: no such column.
            InputError: a feature or the label is neither number nor bool, or a label is null.
        """
        return load("xgboost").matrix(self, *self._chosen(features, label), options)

    def to_xgboost_stream(self, label: str | None = None, features: Sequence[str] | None = None, **options: Any) -> Any:
        """Return an XGBoost `QuantileDMatrix` made from one group of rows after the other, for `tree_method="hist"`.

        `options` go to it: give the training matrix as `ref=` for one to evaluate on.

        Raises:
            ConfigError: xgboost is not installed.
            NotFoundError, InputError: as for `to_xgboost`, or there are no rows.
        """
        return load("xgboost").quantised(self, *self._chosen(features, label), options)

    def to_lightgbm(
        self,
        label: str | None = None,
        features: Sequence[str] | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Any:
        """Return a LightGBM `Dataset` that is binned batch by batch from a temporary folder; `options` go to it.

        Raises:
            ConfigError: lightgbm is not installed.
            NotFoundError, InputError: as for `to_xgboost`.
            StoreFullError: there is no room in the folder.
        """
        return load("lightgbm").dataset(self, *self._chosen(features, label), folder, options)

    def _chosen(self, features: Sequence[str] | None, label: str | None) -> tuple[list[str], str | None]:
        known, target = self.learned()
        return (known if features is None else list(features)), (target if label is None else label)

    def _encoding(self, features: Sequence[str] | None, label: str | None) -> Encoding:
        chosen, target = self._chosen(features, label)
        columns.encode(self.schema, chosen, target, ())  # refuse what cannot be encoded before anything is read
        whole = [name for name in dict.fromkeys([*chosen, *([target] if target else [])]) if self._may_change(name)]
        return columns.encode(self.schema, chosen, target, self.null_columns(whole) if whole else ())

    def _may_change(self, name: str) -> bool:
        """Return whether a column becomes one of floats where it holds a null."""
        type_ = self.schema.field(name).type
        return not (pa.types.is_floating(type_) or pa.types.is_decimal(type_) or pa.types.is_fixed_size_list(type_))
