"""Makes, lists, rebuilds and deletes training sets: folders with data, spine and manifest, each there whole or not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asof import __version__
from asof.clock import iso, parse_instant
from asof.definitions.names import check_name
from asof.errors import ConflictError, CorruptDataError, InputError, NotFoundError, SourceError, did_you_mean
from asof.kernel.content_hash import ContentHash, table_hash
from asof.kernel.model_transforms import FittedColumn, fit
from asof.plan.specs import meaning_hash, place_of
from asof.services import manifest as records
from asof.services import splits
from asof.services.join import join
from asof.services.labels import LabelReader
from asof.services.spine import make_spine
from asof.services.statistics import describe_column
from asof.services.storable import storable
from asof.services.training_set import DATA, MANIFEST, SPINE, TrainingSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from asof.definitions import Label
    from asof.definitions.model_transforms import ModelTransform
    from asof.definitions.training import Split
    from asof.errors import AsofError
    from asof.interfaces import (
        Executor,
        ExpressionEngine,
        FolderShelf,
        InputRecorder,
        Scanner,
        SourceInput,
        TableWriter,
    )
    from asof.plan.selected import SelectedFeature
    from asof.plan.selection import Selection
    from asof.plan.specs import OnDemandSpec, SourceSpec, ViewSpec
    from asof.services.catalog import Catalog
    from asof.services.functions import FunctionLoader
    from asof.services.manifest import Manifest
    from asof.services.results import HistoricalFeatures
    from asof.services.spine import Spine


TRAIN = "train"
SHELF = "training_sets"
"""The shelf of an offline store that they are on."""


class Engines(Protocol):
    """Makes what a join runs on."""

    def __call__(self, only: Mapping[str, Sequence[str]], entries: Mapping[str, int]) -> tuple[Scanner, Executor]:
        """Return a scanner that reads, by source path, these files only, and an executor.

        Of stream sources it reads, by their names, the log up to these entries.
        """
        ...


@dataclass(frozen=True)
class Recipe:
    """What determines the rows of a training set, besides the bytes of the sources.

    Attributes:
        selection: A service's features, view versions settled.
        spine: All of the caller's rows.
        split: How rows are split.
        label: The label, with its source.
        now_us: The clock: for rows ahead of it, and for what labels can know.
        transforms: By column what is to be fitted for the model.
    """

    selection: Selection
    spine: Spine
    split: Split | None
    label: tuple[Label, SourceSpec] | None
    now_us: int
    transforms: Mapping[str, Sequence[ModelTransform]] = field(default_factory=dict)

    def refuse_unknown_transforms(self) -> None:
        """Refuse transforms of what is no feature, or that no split named train could be fitted on.

        Raises:
            InputError: says which.
        """
        known = self.selection.columns()
        for name in self.transforms:
            if name not in known:
                raise InputError(
                    f"A transform is asked for {name!r}, which is no feature of the service",
                    why=did_you_mean(str(name), known),
                    fix="Name the column, as spend__amount_sum_30d.",
                )
        if self.transforms and self.split is not None and TRAIN not in splits.split_names(self.split):
            raise InputError(
                f"No split is named {TRAIN!r}", why="Transforms are fitted on it alone", fix="Name one of them so."
            )

    def refuse_taken_names(self) -> None:
        """Refuse a spine or service with a column of the split's or the label's name.

        Raises:
            InputError: names the column.
        """
        own = [self.label[0].name] if self.label is not None else []
        own += [splits.SPLIT] if self.split is not None else []
        others = [*self.spine.table.column_names, *self.selection.columns()]
        for place, name in enumerate(own):
            if name in others or name in own[:place]:
                raise InputError(
                    f"There already is a column {name!r}",
                    why="The training set's own column of that name would be a second one",
                    fix="Rename the spine's column" + (", or the label." if name != splits.SPLIT else "."),
                )

    def until_us(self) -> int:
        """Return the instant after which nothing matters: the latest that a row asks about, or now."""
        latest = pc.max(self.spine.instants).as_py()
        return self.now_us if latest is None else max(self.now_us, int(latest))

    def sources(self) -> list[SourceSpec]:
        """Return every source that is read, once."""
        found = [view.source for view in self.selection.views()]
        if self.label is not None:
            found.append(self.label[1])
        return list({(place_of(source), source.table_version, source.format): source for source in found}.values())


@dataclass
class _Written:
    """What was found out while the data was written."""

    rows: int = 0
    immature_rows: int = 0
    data_hash: str = ""
    splits: dict[str, int] = field(default_factory=dict)


class TrainingSets:
    """The training sets of a project."""

    def __init__(
        self,
        shelf: FolderShelf,
        inputs: InputRecorder,
        writer: TableWriter,
        engines: Engines,
        functions: FunctionLoader,
        expressions: ExpressionEngine,
    ) -> None:
        """Keep them on `shelf`; evaluate with what `engines` makes, on-demand views with the last two."""
        self._functions = functions
        self._expressions = expressions
        self._shelf = shelf
        self._inputs = inputs
        self._writer = writer
        self._engines = engines

    def get(self, name: str) -> TrainingSet:
        """Return a training set.

        Raises:
            NotFoundError: there is none of that name.
        """
        return TrainingSet(self._known(name), self._shelf, self._writer)

    def all(self, damaged: Callable[[str, AsofError], None]) -> list[TrainingSet]:
        """Return all of them, by name; `damaged` is told the names and errors of those that cannot be opened."""
        found = []
        for name in self._shelf.names():
            try:
                found.append(self.get(name))
            except (CorruptDataError, NotFoundError) as error:
                if name in self._shelf.names():  # or it was deleted meanwhile
                    damaged(name, error)
        return found

    def delete(self, name: str) -> None:
        """Delete one, data and manifest, also where it is damaged.

        Raises:
            NotFoundError: there is none of that name.
        """
        self._known(name)
        self._shelf.remove(name)

    def _known(self, name: str) -> str:
        names = self._shelf.names()
        if name not in names:
            raise NotFoundError(
                f"There is no training set {name!r}",
                why=did_you_mean(name, names),
                fix="`asof training-set list` shows what there is.",
            )
        return name

    def create(self, name: str, recipe: Recipe) -> TrainingSet:
        """Make a training set.

        Raises:
            DefinitionError: not a valid name.
            ConflictError: the name is taken, or a source changed meanwhile.
            InputError: the spine does not fit, or has a column of the split's or label's name.
            SourceError: a source cannot be read.
        """
        check_name("Training set", name)
        recipe.refuse_unknown_transforms()
        with self._shelf.adding(name) as folder:
            until_us = recipe.until_us()
            inputs = tuple(self._inputs.record(source, until_us=until_us) for source in recipe.sources())
            table = storable(recipe.spine.table)
            self._writer.write(folder / SPINE, "arrow", table.schema, table.to_batches())
            # From here on the spine is as a rebuild will read it, batch for batch, or the data could differ in bytes.
            recipe = replace(recipe, spine=replace(recipe.spine, table=_open_spine(folder / SPINE)))
            written = self._write_data(recipe, inputs, folder / DATA)
            changed = [text for one in inputs for text in self._inputs.problems(one, quick=True)]
            if changed:
                raise ConflictError(
                    f"Training set {name!r} was not made: a source changed while it was read",
                    why="; ".join(changed),
                    fix="Run it again when nothing writes there.",
                )
            made = self._manifest(name, recipe, inputs, written, folder)
            (folder / MANIFEST).write_bytes(records.encode(made))
        return self.get(name)

    def rebuild(self, name: str, catalog: Catalog) -> TrainingSet:
        """Make the data of a training set again, from its spine, its pinned versions and the recorded inputs.

        The data file is replaced in one step, and only by the same rows, values and order.

        Raises:
            NotFoundError: no such training set, or the registry no longer has a version that it reads.
            SourceError: an input is gone or has changed: the message names every one.
            CorruptDataError: the spine or the manifest is damaged, or the rows came out differently.
        """
        found = self.get(name)
        recorded = found.manifest
        if recorded.erasures:
            raise SourceError(
                f"Training set {name!r} cannot be made again as it was",
                why="; ".join(_erased(one) for one in recorded.erasures),
                fix="Its rows that are left can be read. For what the sources say now, create another one.",
            )
        recipe = self._recipe(found, catalog)
        problems = [text for one in recorded.inputs for text in self._inputs.problems(one)]
        if problems:
            raise SourceError(
                f"Training set {name!r} cannot be rebuilt",
                why="; ".join(problems),
                fix="Bring back what is named, as from a backup. The data as it was made can still be read.",
            )
        with self._shelf.working(name) as folder:
            written = self._write_data(recipe, recorded.inputs, folder / DATA)
            if written.data_hash != recorded.data_hash:
                raise CorruptDataError(
                    f"Training set {name!r} came out with other rows, although its inputs are the same",
                    why=f"It was made by Asof {recorded.library_version}, this is {__version__}",
                    fix="Rebuild it with the version that made it. The data as it was made can still be read.",
                )
            sha256, size_bytes = file_hash(folder / DATA)
            replaced = [folder / DATA]
            if sha256 != recorded.data_sha256:  # another Arrow lays the same rows out in other bytes
                changed = msgspec.structs.replace(
                    recorded, data_sha256=sha256, data_bytes=size_bytes, arrow_version=pa.__version__
                )
                (folder / MANIFEST).write_bytes(records.encode(changed))
                replaced.append(folder / MANIFEST)
            self._shelf.replace(name, replaced)
        return self.get(name)

    def _recipe(self, found: TrainingSet, catalog: Catalog) -> Recipe:
        recorded = found.manifest
        selection = _pinned(recorded, catalog)
        table = _read_spine(found)
        label = (records.restore_label(recorded.label), recorded.label.source) if recorded.label else None
        return Recipe(
            selection=selection,
            spine=make_spine(table, recorded.event_time),
            split=records.restore_split(recorded.split) if recorded.split else None,
            label=label,
            now_us=parse_instant(recorded.created_at),
        )

    def _write_data(self, recipe: Recipe, inputs: Sequence[SourceInput], target: Path) -> _Written:
        """Write the rows and return what was found out."""
        recipe.refuse_taken_names()
        scanner, executor = self._engines(
            _files(inputs), {one.name: one.entry for one in inputs if one.kind == "stream"}
        )
        selection = _at_versions(recipe.selection, inputs)
        spine = recipe.spine
        extra: dict[str, pa.Array] = {}
        if recipe.split is not None:
            extra[splits.SPLIT] = splits.assign(recipe.split, spine)
        if recipe.label is not None:
            label, source = recipe.label
            reader = LabelReader(label, _at_version(source, inputs), selection.groups(), recipe.now_us)
            kept = pa.array(reader.mature(spine))
            spine = type(spine)(spine.table.filter(kept), spine.instants.filter(kept), spine.event_time)
            extra = {name: values.filter(kept) for name, values in extra.items()}
            extra = {label.name: reader.read(spine, scanner), **extra}
        with join(
            selection,
            spine,
            scanner,
            executor,
            self._writer,
            functions=self._functions,
            expressions=self._expressions,
            now_us=recipe.now_us,
        ) as joined:
            written = _Written(len(joined), recipe.spine.table.num_rows - len(joined))
            if recipe.split is not None:
                counts = {pair["values"]: pair["counts"] for pair in extra[splits.SPLIT].value_counts().to_pylist()}
                written.splits = {name: counts.get(name, 0) for name in splits.split_names(recipe.split)}
            self._write(joined, extra, written, target)
        return written

    def _write(self, joined: HistoricalFeatures, extra: dict[str, pa.Array], written: _Written, target: Path) -> None:
        added = [pa.field(name, values.type) for name, values in extra.items()]
        schema = pa.schema([*joined.schema, *added])
        content = ContentHash(schema)

        def batches() -> Iterator[pa.RecordBatch]:
            start = 0
            for batch in joined.to_batches():
                more = [values.slice(start, batch.num_rows) for values in extra.values()]
                start += batch.num_rows
                whole = pa.RecordBatch.from_arrays([*batch.columns, *more], schema=schema)
                content.update(whole)
                yield whole

        self._writer.write(target, "parquet", schema, batches())
        written.data_hash = content.hexdigest()

    def _manifest(
        self, name: str, recipe: Recipe, inputs: tuple[SourceInput, ...], written: _Written, folder: Path
    ) -> Manifest:
        service = recipe.selection.service
        sha256, size_bytes = file_hash(folder / DATA)
        with pq.ParquetFile(folder / DATA) as file:
            names = file.schema_arrow.names
            statistics = tuple(describe_column(one, file.read(columns=[one]).column(0)) for one in names)
            transforms = tuple(_fitted(file, column, steps) for column, steps in recipe.transforms.items())
        return records.Manifest(
            name=name,
            service=service.key if service else "",
            views=tuple(records.record_view(view) for view in _all_views(recipe.selection)),
            features=recipe.selection.columns(),
            missing=recipe.selection.missing(),
            created_at=iso(recipe.now_us),
            library_version=__version__,
            arrow_version=pa.__version__,
            event_time=recipe.spine.event_time,
            spine_rows=recipe.spine.table.num_rows,
            spine_hash=table_hash(recipe.spine.table),
            rows=written.rows,
            immature_rows=written.immature_rows,
            splits=written.splits,
            split=records.record_split(recipe.split) if recipe.split else None,
            label=records.record_label(*recipe.label) if recipe.label else None,
            inputs=inputs,
            data_hash=written.data_hash,
            data_sha256=sha256,
            data_bytes=size_bytes,
            statistics=statistics,
            transforms=transforms,
        )


def _erased(one: records.ErasureRecord) -> str:
    inputs = f" of it, and rows of its source {', '.join(one.inputs)}" if one.inputs else " of it"
    return f"{one.rows} rows{inputs} were erased at {one.at}"


def _fitted(file: pq.ParquetFile, column: str, steps: Sequence[ModelTransform]) -> FittedColumn:
    split = splits.SPLIT in file.schema_arrow.names
    rows = file.read(columns=[column, splits.SPLIT] if split else [column])
    if split:
        rows = rows.filter(pc.equal(rows.column(splits.SPLIT), TRAIN))
    return fit(column, rows.column(column), steps)


def _pinned(recorded: Manifest, catalog: Catalog) -> Selection:
    """Return the features that were read, refusing versions that are gone or mean something else by now."""
    problems = []
    for one in recorded.views:
        name, version = _parts(one.view)
        entries = [*catalog.entries("view", name), *catalog.entries("on_demand", name)]  # a name may have been both
        found = [entry.spec for entry in entries if entry.version == version]
        if not found:
            problems.append(f"view version {one.view} was pruned")
        elif one.hash not in map(meaning_hash, found):
            problems.append(f"view version {one.view} of this registry means something else")
    try:
        catalog.service(*_parts(recorded.service))
    except NotFoundError:
        problems.append(f"service version {recorded.service} was pruned")
    selection = None if problems else catalog.select(recorded.service)
    if selection is not None and selection.columns() != recorded.features:
        problems.append(f"service version {recorded.service} of this registry has other features")
    elif selection is not None and selection.missing() != recorded.missing:
        problems.append(f"service version {recorded.service} of this registry treats missing values differently")
    if problems or selection is None:
        raise NotFoundError(
            f"Training set {recorded.name!r} cannot be rebuilt",
            why="; ".join(problems),
            fix="The manifest still holds the definitions. The data as it was made can still be read.",
        )
    return selection


def _parts(reference: str) -> tuple[str, int]:
    name, _, version = reference.rpartition("@")
    return name, int(version)


def _open_spine(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _read_spine(found: TrainingSet) -> pa.Table:
    try:
        table = _open_spine(found.file(SPINE))
        if table_hash(table) == found.manifest.spine_hash:
            return table
        why = "Its values are not those that the manifest's hash stands for"
    except (pa.ArrowException, OSError) as error:
        why = str(error).splitlines()[0]
    raise CorruptDataError(
        f"Training set {found.name!r} cannot be rebuilt: its spine is damaged",
        why=why,
        fix=f"Bring back its {SPINE} from a backup, or create the training set again from your own spine.",
    )


def _files(inputs: Sequence[SourceInput]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in _with_history(inputs):
        if one.kind == "file":
            found.setdefault(one.path, []).extend(file.path for file in one.files)
    return found


def _with_history(inputs: Sequence[SourceInput]) -> list[SourceInput]:
    return [*inputs, *(past for one in inputs for past in one.history)]


def _at_versions(selection: Selection, inputs: Sequence[SourceInput]) -> Selection:
    """Return the selection with every Delta and Iceberg source at its recorded version."""

    def one(item: SelectedFeature) -> SelectedFeature:
        view = msgspec.structs.replace(item.view, source=_at_version(item.view.source, inputs))
        return replace(item, view=view, lookups=tuple((key, one(found)) for key, found in item.lookups))

    def fixed(items: tuple[SelectedFeature, ...]) -> tuple[SelectedFeature, ...]:
        return tuple(map(one, items))

    read = selection.on_demand
    computed = None if read is None else replace(read, inputs=fixed(read.inputs))
    return replace(selection, items=fixed(selection.items), on_demand=computed)


def _all_views(selection: Selection) -> list[ViewSpec | OnDemandSpec]:
    return [*selection.views(), *(selection.on_demand.views if selection.on_demand is not None else ())]


def _at_version(source: SourceSpec, inputs: Sequence[SourceInput]) -> SourceSpec:
    if source.stream is not None and source.stream.history is not None:
        past = _at_version(source.stream.history, inputs)
        return msgspec.structs.replace(source, stream=msgspec.structs.replace(source.stream, history=past))
    if source.kind not in ("delta", "iceberg") or source.table_version is not None:
        return source
    every = _with_history(inputs)
    found = next(one for one in every if one.kind == source.kind and one.path == place_of(source) and one.newest)
    return msgspec.structs.replace(source, table_version=found.table_version)


def file_hash(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file's bytes, in hex, and how many there are."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
