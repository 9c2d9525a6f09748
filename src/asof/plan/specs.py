"""Resolved definitions as plain data: what the registry stores and every reader, writer and server works from."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from asof.definitions.roles import Role, prefixed

SPEC_FORMAT = 1

Json = None | bool | int | float | str | list[Any] | dict[str, Any]


class Spec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of the stored records: immutable, JSON both ways, unknown fields refused."""


class Column(Spec, frozen=True, kw_only=True):
    """A column and its dtype (see `asof.dtypes`)."""

    name: str
    dtype: str


class EntitySpec(Spec, frozen=True, kw_only=True):
    """An entity whose key types are known; integers are all int64."""

    name: str
    join_keys: tuple[Column, ...]
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()


class FunctionSpec(Spec, frozen=True, kw_only=True):
    """A user's function, by reference.

    Attributes:
        path: Where to import it from, `module:name`.
        source_hash: SHA-256 of its source text, in hex; another body is another meaning.
    """

    path: str
    source_hash: str


class BatchSpec(Spec, frozen=True, kw_only=True):
    """What a batch source runs once per interval.

    Attributes:
        inputs: The sources it reads, without their columns.
        sql: A query; None where a function runs.
        function: Given a dict of tables, start and end.
        outputs: What the function returns; empty for a query.
        every_us: Length of an interval; 0 where `cron` says when they end.
        cron: Five fields, UTC: an interval is from one time to the next.
        lookback_us: How far before its interval a run sees the rows of its inputs; None is all of them.
    """

    inputs: tuple[SourceSpec, ...]
    sql: str | None = None
    function: FunctionSpec | None = None
    outputs: tuple[Column, ...] = ()
    every_us: int = 0
    cron: str | None = None
    lookback_us: int | None = None


class StreamSpec(Spec, frozen=True, kw_only=True):
    """Where the rows of a stream source come from, before they are in its log.

    Attributes:
        topic: None where rows are only pushed.
        format: How messages are written: json, avro or protobuf.
        history: The rows from before, with all their columns, or None.
        handover_us: Event times before it are history's, the others the stream's.
        positions: History's columns of partition and offset.
    """

    topic: str | None = None
    format: str = "json"
    history: SourceSpec | None = None
    handover_us: int | None = None
    positions: tuple[str, str] | None = None


class SourceSpec(Spec, frozen=True, kw_only=True):
    """A source as it is read: its kind, where it is, and the roles of its columns.

    Attributes:
        kind: "file", "delta", "frame", "batch", "stream", "postgres" or "iceberg".
        path: Relative to the project's root, absolute, or a URL; "" for a frame, for a batch, whose rows are where its
            meaning says, for a stream, whose rows are in the log of its name, and for a table that a connection finds.
        format: Of files: parquet, csv, ndjson.
        table_version: Of a Delta table its version, of an Iceberg one the snapshot, 0 before the first; None is the
            newest.
        connection: Of PostgreSQL the connection, by name or as a URL; of Iceberg the catalog's name.
        table: Of PostgreSQL and Iceberg, by its name there.
        query: Of PostgreSQL, instead of a table.
        order_by: Of PostgreSQL: the columns that rows came in the order of.
        columns: All columns at the time of resolving, for people and for drift messages; not part of the meaning.
        batch: What makes the rows of a batch source.
        stream: Where the rows of a stream source come from; `columns` are then those of its log.
    """

    name: str
    kind: Literal["file", "delta", "frame", "batch", "stream", "postgres", "iceberg"]
    path: str = ""
    format: str = ""
    table_version: int | None = None
    connection: str = ""
    table: str = ""
    query: str = ""
    order_by: tuple[str, ...] = ()
    event_time: str
    available_at: str | None = None
    delay_us: int = 0
    event_id: str | None = None
    deleted: str | None = None
    max_skew_us: int | None = None
    batch: BatchSpec | None = None
    stream: StreamSpec | None = None
    columns: tuple[Column, ...] = ()
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()


class TransformSpec(Spec, frozen=True, kw_only=True):
    """A Python function that adds columns to batches of rows: what it is, what it takes, what it gives."""

    function: FunctionSpec
    outputs: tuple[Column, ...]
    frame: Literal["arrow", "polars"] = "arrow"


class SelectSpec(Spec, frozen=True, kw_only=True):
    """A column computed by a SQL expression over a row's other columns."""

    name: str
    sql: str
    dtype: str


class DerivedSpec(Spec, frozen=True, kw_only=True):
    """The columns that a view adds to its source's: first the transform's, then those of expressions over them all."""

    transform: TransformSpec | None = None
    select: tuple[SelectSpec, ...] = ()

    def types(self) -> dict[str, str]:
        """Return the dtypes of the added columns by name."""
        outputs = self.transform.outputs if self.transform is not None else ()
        return {output.name: output.dtype for output in outputs} | {one.name: one.dtype for one in self.select}


class AggregateSpec(Spec, frozen=True, kw_only=True):
    """How one feature of an event view is computed.

    Attributes:
        function: count, sum, mean, …
        column: Input column; None counts rows.
        where: SQL predicate of this aggregate.
        window_us: None is lifetime.
        hop_us: 0 for lifetime.
        by: Column of the secondary key: there is a value for each of its values, in a map.
    """

    function: str
    column: str | None = None
    where: str | None = None
    window_us: int | None = None
    hop_us: int = 0
    n: int | None = None
    quantile: float | None = None
    by: str | None = None


class FeatureSpec(Spec, frozen=True, kw_only=True):
    """One feature: its type, its default, and either the column it shows or the aggregate that gives it.

    Attributes:
        default: In JSON form (timestamps and dates ISO 8601, decimals and binary as text); None is no default.
    """

    name: str
    dtype: str
    default: Json = None
    column: str | None = None
    aggregate: AggregateSpec | None = None
    description: str = ""


class ViewSpec(Spec, frozen=True, kw_only=True):
    """A feature view with everything that its values depend on, entity and source included.

    Attributes:
        version: Number given by the registry; 0 for a view that is not registered.
        kind: "state" or "event".
        derived: Columns that the view adds to its source's.
        freshness_us: How old values may be before reads say that they are stale; not part of the meaning.
    """

    name: str
    version: int = 0
    kind: Literal["state", "event"]
    entity: EntitySpec
    source: SourceSpec
    derived: DerivedSpec | None = None
    where: str | None = None
    ttl_us: int | None = None
    freshness_us: int | None = None
    features: tuple[FeatureSpec, ...]
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name with the version, as references and stores write it: spend@3."""
        return f"{self.name}@{self.version}"

    def column_types(self) -> dict[str, str]:
        """Return the dtypes of the columns that features and predicates can use, by name."""
        added = self.derived.types() if self.derived is not None else {}
        return {c.name: c.dtype for c in self.source.columns} | added

    def feature(self, name: str) -> FeatureSpec | None:
        """Return the feature of that name, or None."""
        return next((f for f in self.features if f.name == name), None)


class PinnedFeature(Spec, frozen=True, kw_only=True):
    """A feature that something reads, pinned to the version of its view.

    Attributes:
        on_demand: Whether the view is an on-demand view.
        role: The part that the view's entity plays here, which goes before the column's name.
        keys: Pairs of join key and the column that holds it, for those that are not found under their own names.
        lookups: The join keys that are features of other views.
    """

    view: str
    view_version: int
    feature: str
    on_demand: bool = False
    role: str | None = None
    keys: tuple[tuple[str, str], ...] = ()
    lookups: tuple[LookupSpec, ...] = ()

    @property
    def as_role(self) -> Role | None:
        """The role with its mapping to columns, or None."""
        return None if self.role is None and not self.keys else Role(self.role or "", self.keys)

    @property
    def column(self) -> str:
        """The column it fills in training sets, answers and functions: spend__amount_sum_30d."""
        return column_name(self.view, self.feature, self.as_role)


class LookupSpec(PinnedFeature, frozen=True, kw_only=True):
    """A feature that is a join key of the view that another feature belongs to."""

    join_key: str


class MissingSpec(Spec, frozen=True, kw_only=True):
    """What a service does where one of its features has no value.

    Attributes:
        default: As in `FeatureSpec`; it replaces the feature's own where it is set, None by leaving null.
        limit_us: A row older than this is expired for this feature; None: as the view has it.
        indicator: Whether a column says where the value was not present.
        error: Whether a read fails where the value is not present.
    """

    default: Json | msgspec.UnsetType = msgspec.UNSET
    limit_us: int | None = None
    indicator: bool = False
    error: bool = False


class ServiceFeature(PinnedFeature, frozen=True, kw_only=True):
    """One feature of a service.

    Attributes:
        missing: What the service does where it has no value; None gives what the view gives.
    """

    missing: MissingSpec | None = None


class InputSpec(PinnedFeature, frozen=True, kw_only=True):
    """A feature that an on-demand view reads."""

    dtype: str


class RequestSpec(Spec, frozen=True, kw_only=True):
    """A value that comes with the request; `default` as in `FeatureSpec`, None has to be given."""

    name: str
    dtype: str
    default: Json = None
    description: str = ""


class CallSpec(Spec, frozen=True, kw_only=True):
    """A built-in function, the columns it takes in order, and its constants."""

    function: str
    inputs: tuple[str, ...]
    parameters: dict[str, Json] = {}


class ComputedSpec(Spec, frozen=True, kw_only=True):
    """One feature of an on-demand view; without a call, the view's function gives it."""

    name: str
    dtype: str
    call: CallSpec | None = None
    description: str = ""


class OnDemandSpec(Spec, frozen=True, kw_only=True):
    """A view that is computed at the time of the read, from other features and from the request.

    Attributes:
        version: Number given by the registry; 0 for a view that is not registered.
        function: Gives all features; None where each has a call.
        instant: Whether the read's instant is an input.
    """

    name: str
    version: int = 0
    inputs: tuple[InputSpec, ...] = ()
    request: tuple[RequestSpec, ...] = ()
    function: FunctionSpec | None = None
    instant: bool = False
    features: tuple[ComputedSpec, ...]
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name with the version: pressure@3."""
        return f"{self.name}@{self.version}"

    def feature(self, name: str) -> ComputedSpec | None:
        """Return the feature of that name, or None."""
        return next((f for f in self.features if f.name == name), None)


class ServiceSpec(Spec, frozen=True, kw_only=True):
    """A feature service with pinned view versions.

    Attributes:
        consistency: How online reads choose their instant. Whatever it is, a value at an instant is the same, so it is
            not part of the meaning.
    """

    name: str
    version: int = 0
    features: tuple[ServiceFeature, ...]
    consistency: Literal["latest", "snapshot"] = "latest"
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name with the version: fraud@2."""
        return f"{self.name}@{self.version}"


def place_of(source: SourceSpec) -> str:
    """Return what tells where a source's rows are: its path, of a batch source its name and meaning."""
    return source.path or f"{source.kind}:{source.name}@{meaning_hash(source)[:16]}"


def address_of(source: SourceSpec) -> str:
    """Return where a source's rows are, for people: a path, or a table or query and who knows it."""
    if not source.connection:
        return source.path
    return f"{source.table or 'a query'} on {source.connection}"


AnySpec = EntitySpec | SourceSpec | ViewSpec | OnDemandSpec | ServiceSpec

_METADATA = {"description", "owner", "tags", "version", "columns", "freshness_us", "consistency"}


def column_name(view: str, feature: str, role: Role | None = None) -> str:
    """Return the column that a feature fills everywhere: `view__feature`, under a role `role__view__feature`."""
    return prefixed(role, f"{view}__{feature}")


def meaning(spec: AnySpec) -> dict[str, Any]:
    """Return what a spec's values depend on: all of it but descriptions, owners, tags, version and unused columns."""
    stripped: dict[str, Any] = _strip(msgspec.to_builtins(spec))
    return stripped


def meaning_hash(spec: AnySpec) -> str:
    """Return a SHA-256 of the meaning, in hex; equal meanings have equal hashes on every machine."""
    text = msgspec.json.encode({"format": SPEC_FORMAT, "meaning": meaning(spec)}, order="deterministic")
    return hashlib.sha256(text).hexdigest()


def _strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _strip(v) for k, v in value.items() if k not in _METADATA}
    if isinstance(value, list | tuple):
        return [_strip(v) for v in value]
    return value
