"""A training set as its user holds it: the manifest, and rows that are read from disk when they are asked for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asof.errors import CorruptDataError, InputError, NotFoundError, did_you_mean
from asof.kernel.model_transforms import apply_table
from asof.services.forms import BATCH_ROWS, Rows
from asof.services.manifest import decode
from asof.services.splits import SPLIT
from asof.services.transformed import TransformedRows

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from asof.frameworks.columns import Array
    from asof.interfaces import FolderShelf, TableWriter
    from asof.services.forms import Progress
    from asof.services.manifest import Manifest


DATA = "data.parquet"
SPINE = "spine.arrow"
MANIFEST = "manifest.json"


class TrainingSet:
    """A stored training set.

    Attributes:
        name: Its name.
        manifest: What it was made from, and the statistics of its columns.
    """

    def __init__(self, name: str, shelf: FolderShelf, writer: TableWriter) -> None:
        """Open the training set that is on a shelf.

        Raises:
            CorruptDataError: its manifest cannot be read.
            NotFoundError: it was deleted meanwhile.
        """
        try:
            found = shelf.file(name, MANIFEST).read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(
                f"There is no training set {name!r}", why=f"It holds no {MANIFEST}", fix="Create it again."
            ) from error
        except OSError as error:
            raise CorruptDataError(
                f"The manifest of training set {name!r} cannot be read",
                why=str(error),
                fix="Make it readable, or bring it back from a backup.",
            ) from error
        self.name = name
        self.manifest: Manifest = decode(found, name)
        self._shelf = shelf
        self._files: dict[str, Path] = {}
        self._writer = writer

    @property
    def path(self) -> Path:
        """The folder that holds it; of one on object storage a copy of all of it on this machine."""
        return self._shelf.path(self.name)

    def file(self, name: str) -> Path:
        """Return where on this machine one of its files is."""
        if name not in self._files:
            self._files[name] = self._shelf.file(self.name, name)
        return self._files[name]

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

    def transformed(self) -> TransformedRows:
        """Return the rows as the model takes them, transformed as they stream; see `TrainingSet.transform`.

        Frameworks can be handed texts so, once they are encoded.
        """
        return TransformedRows(self, self._whole.manifest.transforms, self._writer)

    def group_count(self) -> int:
        """Return how many Parquet row groups there are."""
        with self._opened() as file:
            return int(file.num_row_groups)

    def read_groups(self, order: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield Parquet row groups by their numbers, one at a time, with these columns or all, of the split alone."""
        wanted = list(columns or self.schema.names)
        read = [*wanted, SPLIT] if self._split is not None and SPLIT not in wanted else wanted
        with self._opened() as file:
            for group in order:
                yield self._kept(file.read_row_group(group, columns=read)).select(wanted)

    def null_columns(self, columns: Sequence[str]) -> set[str]:
        """Return which of the columns hold a null in any split, so that all splits are encoded alike."""
        with self._opened() as file:
            footer = file.metadata
            places = {footer.schema.column(place).path: place for place in range(footer.num_columns)}
            return {name for name in columns if _any_null(footer, places[name])}

    def learned(self) -> tuple[list[str], str | None]:
        """Return the names of all features, and of the label: the training set's, else a column `label`."""
        manifest = self._whole.manifest
        if manifest.label is not None:
            return list(manifest.features), manifest.label.name
        return list(manifest.features), "label" if "label" in self.schema.names else None

    def _kept(self, rows: Any) -> Any:
        """Return the split's rows of a batch or a table."""
        if self._split is not None:
            rows = rows.filter(pc.equal(rows.column(SPLIT), self._split))
        return rows.replace_schema_metadata(None)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self._whole.file(DATA)) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            raise CorruptDataError(
                f"The data of training set {self._whole.name!r} cannot be read",
                why=str(error).splitlines()[0],
                fix=f"Make it again from its manifest: `asof training-set rebuild {self._whole.name}`.",
            ) from error


def _any_null(footer: pq.FileMetaData, place: int) -> bool:
    """Return whether a column holds a null, or does not say."""
    found = (footer.row_group(group).column(place).statistics for group in range(footer.num_row_groups))
    return any(one is None or not one.has_null_count or one.null_count for one in found)
