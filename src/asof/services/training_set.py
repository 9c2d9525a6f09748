"""A training set as its user holds it: the manifest, and rows that are read from disk when they are asked for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asof.errors import CorruptDataError, InputError, NotFoundError, did_you_mean
from asof.kernel.model_transforms import apply_table
from asof.services.forms import BATCH_ROWS, Rows
from asof.services.manifest import decode
from asof.services.splits import SPLIT

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from asof.interfaces import TableWriter
    from asof.services.forms import Progress
    from asof.services.manifest import Manifest

    Array = np.ndarray[Any, np.dtype[Any]]

DATA = "data.parquet"
SPINE = "spine.arrow"
MANIFEST = "manifest.json"


class TrainingSet:
    """A stored training set.

    Attributes:
        name: Its name.
        path: The folder that holds it.
        manifest: What it was made from, and the statistics of its columns.
    """

    def __init__(self, name: str, path: Path, writer: TableWriter) -> None:
        """Open the training set in the folder `path`.

        Raises:
            CorruptDataError: its manifest cannot be read.
            NotFoundError: it was deleted meanwhile.
        """
        try:
            found = (path / MANIFEST).read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(
                f"There is no training set {name!r}", why=f"{path} holds no {MANIFEST}", fix="Create it again."
            ) from error
        except OSError as error:
            raise CorruptDataError(
                f"The manifest of training set {name!r} cannot be read",
                why=str(error),
                fix="Make it readable, or bring it back from a backup.",
            ) from error
        self.name = name
        self.path = path
        self.manifest: Manifest = decode(found, name)
        self._writer = writer

    def __repr__(self) -> str:
        return f"TrainingSet({self.name!r}, {self.manifest.service}, {self.manifest.rows} rows)"

    def __len__(self) -> int:
        return self.manifest.rows

    def read(self, split: str | None = None) -> TrainingRows:
        """Return the rows of a split, or all of them, in the spine's order; nothing is read before it is asked for.

        Raises:
            NotFoundError: no such split.
            CorruptDataError: the data file is gone or damaged.
        """
        rows = self.manifest.rows
        if split is not None:
            if split not in self.manifest.splits:
                known = list(self.manifest.splits)
                raise NotFoundError(
                    f"Training set {self.name!r} has no split {split!r}",
                    why=did_you_mean(split, known),
                    fix=f"It has {', '.join(known)}." if known else "It was made without one: read it whole.",
                )
            rows = self.manifest.splits[split]
        return TrainingRows(self, rows, split, self._writer)

    def transform(self, features: Any) -> pa.Table:
        """Return features as the model takes them: scaled, imputed and encoded with the fitted parameters.

        The same code makes the rows of `read(split).to_arrow()` and one online answer ready; a row gets what it would
        get among others.

        Args:
            features: What `get_online_features` or `get_historical_features` returned, rows of this training set, or
                a table with its columns. Columns that are not transformed pass through.

        Raises:
            InputError: a transformed column is missing, or the features are of another version of the service.
        """
        service = getattr(features, "service", None)
        if service is not None and service != self.manifest.service:
            raise InputError(
                f"These are features of {service}, and training set {self.name!r} has those of {self.manifest.service}",
                why="The parameters were fitted on other definitions",
                fix=f'Read "{self.manifest.service}", or fit a training set of {service}.',
            )
        table = features if isinstance(features, pa.Table) else pa.table(features.to_arrow())
        for fitted in self.manifest.transforms:
            if fitted.column not in table.column_names:
                raise InputError(
                    f"There is no column {fitted.column!r}, which training set {self.name!r} transforms",
                    why=did_you_mean(fitted.column, table.column_names),
                    fix="Give all features of its service.",
                )
        return apply_table(self.manifest.transforms, table)

    def to_arrow(self) -> pa.Table:
        """Return all rows as an Arrow table; the column `split` says which split a row is in."""
        return self.read().to_arrow()

    def to_pandas(self, **options: Any) -> Any:
        """Return all rows as a pandas DataFrame; `options` go to pyarrow's `Table.to_pandas`."""
        return self.read().to_pandas(**options)

    def to_polars(self) -> Any:
        """Return all rows as a Polars DataFrame."""
        return self.read().to_polars()

    def to_numpy(self) -> dict[str, Array]:
        """Return all rows as NumPy arrays by column; see `TrainingRows.to_numpy`."""
        return self.read().to_numpy()

    def write(
        self, path: str | os.PathLike[str], *, format: str | None = None, progress: Progress | None = None
    ) -> int:
        """Write all rows to a file or table; see `TrainingRows.write`."""
        return self.read().write(path, format=format, progress=progress)


class TrainingRows(Rows):
    """The rows of one split, or of all, in the spine's order; they stream from disk."""

    def __init__(self, whole: TrainingSet, rows: int, split: str | None, writer: TableWriter) -> None:
        """Read `whole`; where `split` is given, the `rows` rows of that split."""
        self._whole = whole
        self._rows = rows
        self._split = split
        self._writer = writer
        with self._opened() as file:
            self.schema = file.schema_arrow.remove_metadata()

    def __len__(self) -> int:
        return self._rows

    def to_batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Yield record batches of at most `rows` rows, in order."""
        with self._opened() as file:
            for batch in file.iter_batches(batch_size=rows):
                kept = self._kept(batch)
                if kept.num_rows:
                    yield kept

    def shuffled(self, seed: int, rows: int = 1024, *, worker: int = 0, workers: int = 1) -> Iterator[pa.RecordBatch]:
        """Yield record batches in random order, streaming: for one epoch of one worker.

        Row groups come in random order and rows in random order within their group, so at most one group is in memory.

        Args:
            seed: The same seed gives the same order; give each epoch its own.
            rows: Most rows per batch.
            worker: The number of this worker, from 0; each row comes to exactly one worker.
            workers: How many workers there are.

        Raises:
            InputError: the worker's number does not fit.
        """
        if not 0 <= worker < workers or rows < 1:
            raise InputError(f"There is no worker {worker} of {workers}", fix="Count workers from 0, and rows from 1.")
        with self._opened() as file:
            groups = np.random.default_rng(seed).permutation(file.num_row_groups)
            for group in groups[worker::workers].tolist():
                table = file.read_row_group(group).combine_chunks()
                for batch in table.to_batches()[:1]:
                    kept = self._kept(batch)
                    order = np.random.default_rng((seed, group)).permutation(kept.num_rows)
                    for start in range(0, len(order), rows):
                        yield kept.take(pa.array(order[start : start + rows]))

    def to_numpy(self) -> dict[str, Array]:
        """Return a NumPy array per column.

        Numbers and bools with nulls become float64 with NaN; timestamps become datetime64 (UTC), their nulls NaT; what
        NumPy has no type for becomes objects, their nulls None.
        """
        table = self.to_arrow()
        return {name: _numpy(table.column(name)) for name in table.column_names}

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
        manifest = self._whole.manifest
        target = label or (manifest.label.name if manifest.label else "label")
        chosen = list(manifest.features if features is None else features)
        for name in [*chosen, target]:
            if name not in self.schema.names:
                raise NotFoundError(
                    f"Training set {self._whole.name!r} has no column {name!r}",
                    why=did_you_mean(name, self.schema.names),
                    fix=f"Its columns are {', '.join(self.schema.names)}.",
                )
        other = [f"{name} ({self.schema.field(name).type})" for name in chosen if not self._numeric(name)]
        if other:
            raise InputError(
                f"A matrix cannot hold {', '.join(other)}",
                fix="Name the numeric features in features=, or encode the others yourself from to_arrow().",
            )
        with self._opened() as file:
            table = file.read(columns=list({*chosen, target, *([SPLIT] if self._split else [])}))
        if self._split is not None:
            table = table.filter(pc.equal(table.column(SPLIT), self._split))
        matrix = np.empty((len(self), len(chosen)), dtype=np.float64)
        for place, name in enumerate(chosen):
            matrix[:, place] = _floats(table.column(name))
        return matrix, _numpy(table.column(target))

    def _numeric(self, name: str) -> bool:
        type_ = self.schema.field(name).type
        tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
        return any(test(type_) for test in tests)

    def _kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._split is not None:
            batch = batch.filter(pc.equal(batch.column(SPLIT), self._split))
        return batch.replace_schema_metadata(None)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self._whole.path / DATA) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            raise CorruptDataError(
                f"The data of training set {self._whole.name!r} cannot be read",
                why=str(error).splitlines()[0],
                fix=f"Make it again from its manifest: `asof training-set rebuild {self._whole.name}`.",
            ) from error


def _floats(values: pa.ChunkedArray) -> Array:
    floats = values.cast(pa.uint8()) if pa.types.is_boolean(values.type) else values
    return np.asarray(floats.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _numpy(values: pa.ChunkedArray) -> Array:
    type_ = values.type
    if values.null_count and (pa.types.is_integer(type_) or pa.types.is_boolean(type_)):
        return _floats(values)
    if pa.types.is_timestamp(type_):
        values = values.cast(pa.timestamp(type_.unit))
    return np.asarray(values.to_numpy())
