"""The record of a training set: what it was made from, so that it can be made again and compared, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from asof.clock import iso
from asof.definitions import GroupSplit, Label, RandomSplit, TimeSplit
from asof.durations import format_duration
from asof.errors import CorruptDataError
from asof.interfaces.inputs import SourceInput  # noqa: TC001 - msgspec reads the annotations
from asof.kernel.model_transforms import FittedColumn  # noqa: TC001 - like above
from asof.plan.specs import MissingSpec, SourceSpec, meaning, meaning_hash
from asof.services.statistics import ColumnStatistics  # noqa: TC001 - like above

if TYPE_CHECKING:
    from asof.definitions.training import Split
    from asof.plan.specs import OnDemandSpec, ViewSpec

MANIFEST_FORMAT = 1


class _Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the stored records."""


class ViewRecord(_Record, frozen=True, kw_only=True):
    """A view version that was read.

    Attributes:
        view: As "spend@3".
        hash: Of its meaning.
        definition: Its meaning, in full.
    """

    view: str
    hash: str
    definition: dict[str, Any]


class SplitRecord(_Record, frozen=True, kw_only=True):
    """How rows were split; see RandomSplit, GroupSplit and TimeSplit."""

    kind: Literal["random", "group", "time"]
    fractions: dict[str, float] = {}
    seed: int = 0
    column: str = ""
    at: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class LabelRecord(_Record, frozen=True, kw_only=True):
    """The label; see Label. The source is kept as it was defined then."""

    source: SourceSpec
    column: str | None = None
    window: str
    aggregate: str
    where: str | None = None
    maturity: str
    name: str
    keys: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


class ErasureRecord(_Record, frozen=True, kw_only=True):
    """An erasure that touched a training set.

    Attributes:
        at: ISO 8601.
        rows: How many rows of its data were erased.
        inputs: The sources that it was made of, of which rows were erased.
    """

    at: str
    rows: int = 0
    inputs: tuple[str, ...] = ()


class Manifest(_Record, frozen=True, kw_only=True):
    """What a training set was made from, and what came out.

    Attributes:
        format: Number of this record's format.
        name: The training set's.
        service: With its version, as "fraud@2".
        views: Every view version that it reads.
        features: The data's columns that are features, in order.
        missing: What the service does where a feature has no value, by column.
        created_at: ISO 8601; the clock for rows that are ahead of it, and for labels.
        library_version: Of Asof.
        arrow_version: Of the library that wrote the files.
        event_time: The spine's column of instants.
        spine_rows: Rows of the spine.
        spine_hash: Hash of the spine's names, types, values and their order, whatever the batches.
        rows: Rows of the data: those of the spine without immature ones.
        immature_rows: Rows left out because their label cannot be known yet.
        splits: Rows per split.
        split: How they were split; None: not at all.
        label: How the label was made; None: the spine may have its own.
        inputs: Every source: a Delta or Iceberg table's version, a hash of PostgreSQL's rows, or files with sizes and
            hashes of all their bytes.
        data_hash: Of the data, like `spine_hash`.
        data_sha256: Of the data file's bytes.
        data_bytes: Size of the data file.
        statistics: Of every column, over all splits.
        transforms: What columns become for the model, fitted on the split `train`, or on all rows without a split.
        erasures: Of rows, here or in what it was made of, since then; with any it cannot be made again.
    """

    format: int = MANIFEST_FORMAT
    name: str
    service: str
    views: tuple[ViewRecord, ...]
    features: tuple[str, ...]
    missing: dict[str, MissingSpec] = {}
    created_at: str
    library_version: str
    arrow_version: str
    event_time: str
    spine_rows: int
    spine_hash: str
    rows: int
    immature_rows: int = 0
    splits: dict[str, int] = {}
    split: SplitRecord | None = None
    label: LabelRecord | None = None
    inputs: tuple[SourceInput, ...]
    data_hash: str
    data_sha256: str
    data_bytes: int
    statistics: tuple[ColumnStatistics, ...]
    transforms: tuple[FittedColumn, ...] = ()
    erasures: tuple[ErasureRecord, ...] = ()


def encode(manifest: Manifest) -> bytes:
    """Return the JSON of a manifest, indented, the format always first."""
    built = {"format": manifest.format, **msgspec.to_builtins(manifest)}
    return msgspec.json.format(msgspec.json.encode(built), indent=2) + b"\n"


def decode(data: bytes, name: str) -> Manifest:
    """Return the manifest of a JSON.

    Raises:
        CorruptDataError: it is not one, or has a format that this library does not know.
    """
    try:
        found = msgspec.json.decode(data, type=dict[str, Any]).get("format")
        if found == MANIFEST_FORMAT:
            return msgspec.json.decode(data, type=Manifest)
        why = f"Its format is {found}, and this library reads {MANIFEST_FORMAT}"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        why = str(error)
    raise CorruptDataError(
        f"The manifest of training set {name!r} cannot be read",
        why=why,
        fix="Use the library that wrote it, or create the training set again.",
    )


def record_view(view: ViewSpec | OnDemandSpec) -> ViewRecord:
    """Return what a manifest says about a view."""
    return ViewRecord(view=view.key, hash=meaning_hash(view), definition=meaning(view))


def record_split(split: Split) -> SplitRecord:
    """Return a split as it is stored."""
    if isinstance(split, TimeSplit):
        return SplitRecord(kind="time", at=tuple(iso(us) for us in split.at_us), names=tuple(split.names))
    if isinstance(split, GroupSplit):
        return SplitRecord(kind="group", column=split.column, fractions=dict(split.fractions), seed=split.seed)
    return SplitRecord(kind="random", fractions=dict(split.fractions), seed=split.seed)


def restore_split(record: SplitRecord) -> Split:
    """Return the split that was stored."""
    if record.kind == "time":
        return TimeSplit(record.at, record.names)
    if record.kind == "group":
        return GroupSplit(record.column, record.fractions, seed=record.seed)
    return RandomSplit(record.fractions, seed=record.seed)


def record_label(label: Label, source: SourceSpec) -> LabelRecord:
    """Return a label as it is stored, with its source."""
    return LabelRecord(
        source=source,
        column=label.column,
        window=format_duration(label.window_us),
        aggregate=str(label.aggregate),
        where=label.where,
        maturity=format_duration(label.maturity_us),
        name=label.name,
        keys=tuple(label.keys),
        columns=label.columns,
    )


def restore_label(record: LabelRecord) -> Label:
    """Return the label that was stored."""
    return Label(
        record.source.name,
        record.column,
        window=record.window,
        aggregate=record.aggregate,  # type: ignore[arg-type]  # checked by Label itself
        where=record.where,
        maturity=record.maturity,
        name=record.name,
        keys=dict(zip(record.keys, record.columns, strict=True)) if record.columns else record.keys,
    )
