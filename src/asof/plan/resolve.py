"""From definitions and the schemas of their sources to specs, refusing what does not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof import dtypes
from asof.definitions import (
    Aggregate,
    BatchSource,
    DeltaSource,
    Entity,
    EventView,
    FeatureView,
    FileSource,
    IcebergSource,
    PostgresSource,
    Source,
    StateView,
    StreamSource,
    Window,
)
from asof.definitions.aggregates import COUNTS, LISTS, NUMERIC_INPUT
from asof.definitions.streams import ARRIVED_AT
from asof.errors import DefinitionError, SchemaError, did_you_mean
from asof.plan.batch import batch_spec
from asof.plan.functions import function_spec
from asof.plan.specs import (
    AggregateSpec,
    Column,
    DerivedSpec,
    EntitySpec,
    FeatureSpec,
    Json,
    SelectSpec,
    SourceSpec,
    StreamSpec,
    TransformSpec,
    ViewSpec,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REFUSED = b"asof.refused"
"""Key of a field's metadata: why no dtype holds the column."""


@dataclass(frozen=True)
class SourceSchema:
    """A source's columns as they are in the data: name to dtype, None where no dtype can hold the column.

    Attributes:
        source: Its name.
        columns: The columns.
        refused: Why a column has no dtype, where whoever reads it knows better than Arrow's type says.
    """

    source: str
    columns: Mapping[str, str | None]
    refused: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_arrow(cls, source: str, schema: pa.Schema) -> SourceSchema:
        """Read the dtypes of an Arrow schema."""
        refused = {one.name: one.metadata[REFUSED].decode() for one in schema if REFUSED in (one.metadata or ())}
        return cls(source, {one.name: dtypes.from_arrow(one.type) for one in schema}, refused)

    def dtype(self, column: str, used_by: str) -> str:
        """Return the dtype of a column.

        Raises:
            SchemaError: the source has no such column, or its type is not supported.
        """
        if column not in self.columns:
            raise SchemaError(
                f"Source {self.source!r} has no column {column!r}, which {used_by} needs",
                why=did_you_mean(column, self.columns),
                fix=f"Its columns are {', '.join(self.columns)}.",
            )
        found = self.columns[column]
        if found is None:
            raise SchemaError(
                f"Column {column!r} of source {self.source!r} has a type that features cannot have",
                why=self.refused.get(column, f"{used_by} needs it"),
                fix="Convert it to numbers, text, times or lists of them before it gets here.",
            )
        return found


def resolve_source(source: Source, schema: SourceSchema) -> SourceSpec:
    """Return the spec of a source whose time columns are there and are times.

    Raises:
        SchemaError: a column that plays a role is missing or has the wrong type.
    """
    _refuse_narrowed(source, schema)
    used = f"source {source.name!r} itself"
    for role in ("event_time", "available_at"):
        column = getattr(source, role)
        if column is not None and (found := schema.dtype(column, used)) not in ("timestamp", "date"):
            raise SchemaError(
                f"Column {column!r} of source {source.name!r} is {found}, not a time",
                why=f"It is the source's {role}",
                fix="Write it as a timestamp (naive means UTC), or as ISO 8601 text in CSV and NDJSON.",
            )
    if source.event_id is not None and dtypes.key_type(schema.dtype(source.event_id, used)) is None:
        raise SchemaError(
            f"Column {source.event_id!r} of source {source.name!r} cannot identify events",
            why=f"It is {schema.dtype(source.event_id, used)}, which has no exact equality",
            fix="Use an integer or text column.",
        )
    if source.deleted is not None and schema.dtype(source.deleted, used) != "bool":
        raise SchemaError(
            f"Column {source.deleted!r} of source {source.name!r} is {schema.dtype(source.deleted, used)}, not bool",
            fix="Make it a bool column: true where the row takes something back.",
        )
    return source_spec(source, tuple(Column(name=n, dtype=t or "unsupported") for n, t in schema.columns.items()))


def _refuse_narrowed(source: Source, schema: SourceSchema) -> None:
    """Refuse a type that does not hold what the log of a stream source has; then the columns came out wider."""
    for name, dtype in ((source.schema or {}) if isinstance(source, StreamSource) else {}).items():
        found = schema.columns.get(name)
        if found is not None and found.replace(" ", "") != dtype.replace(" ", ""):
            raise SchemaError(
                f"Column {name!r} of stream source {source.name!r} is {dtype}, and {found} in its log",
                why="What has arrived may not fit",
                fix=f"Declare it as {found}, or give what comes a column of its own.",
            )


def source_spec(source: Source, columns: tuple[Column, ...] = ()) -> SourceSpec:
    """Return the spec of a source as it is declared, unchecked; without columns it is enough to read its schema."""
    shared: dict[str, Any] = {
        "name": source.name,
        "event_time": source.event_time,
        "available_at": source.available_at,
        "delay_us": source.delay_us,
        "event_id": source.event_id,
        "deleted": source.deleted,
        "max_skew_us": source.max_skew_us,
        "columns": columns,
        "description": source.description,
        "owner": source.owner,
        "tags": source.tags,
    }
    if isinstance(source, FileSource):
        return SourceSpec(kind="file", path=str(source.path), format=str(source.format), **shared)
    if isinstance(source, BatchSource):
        batch = batch_spec(source, tuple(source_spec(one) for one in source.inputs))
        return SourceSpec(kind="batch", format="parquet", batch=batch, **shared)
    if isinstance(source, StreamSource):
        return _stream_spec(source, shared)
    if isinstance(source, DeltaSource):
        return SourceSpec(kind="delta", path=str(source.path), table_version=source.version, **shared)
    if isinstance(source, PostgresSource):
        place: dict[str, Any] = {
            "connection": source.connection,
            "table": source.table or "",
            "query": source.query or "",
        }
        return SourceSpec(kind="postgres", order_by=tuple(source.order_by), **place, **shared)
    if isinstance(source, IcebergSource):
        catalog = "" if source.table is None else source.catalog
        return SourceSpec(
            kind="iceberg",
            path=str(source.metadata or ""),
            connection=catalog,
            table=source.table or "",
            table_version=source.snapshot,
            **shared,
        )
    return SourceSpec(kind="frame", **shared)


def _stream_spec(source: StreamSource, shared: dict[str, Any]) -> SourceSpec:
    stream = StreamSpec(
        topic=source.topic,
        format=source.format,
        history=None if source.history is None else source_spec(source.history),
        handover_us=source.handover_us,
        positions=source.positions,
    )
    if source.schema is not None and not shared["columns"]:
        shared["columns"] = tuple(Column(name=name, dtype=dtype) for name, dtype in source.schema.items())
    return SourceSpec(kind="stream", stream=stream, **{**shared, "available_at": ARRIVED_AT})


def resolve_entity(entity: Entity, schemas: Iterable[SourceSchema]) -> EntitySpec:
    """Return the spec of an entity, its key types declared or inferred from the sources of its views.

    Raises:
        SchemaError: a source lacks a key, has it in a type that cannot be one, or sources disagree.
        DefinitionError: a key has no declared type and there is no source to infer it from.
    """
    keys: list[Column] = []
    readers = list(schemas)
    for key, declared in entity.join_keys:
        found = declared
        origin = f"entity {entity.name!r}"
        for schema in readers:
            raw = schema.dtype(key, f"entity {entity.name!r}")
            dtype = dtypes.key_type(raw)
            if dtype is None:
                raise SchemaError(
                    f"Join key {key!r} of entity {entity.name!r} is {raw} in source {schema.source!r}",
                    why="Keys are compared exactly",
                    fix="Use an integer, text, bool, date or timestamp column.",
                )
            if found is not None and found != dtype:
                raise SchemaError(
                    f"Join key {key!r} of entity {entity.name!r} is {dtype} in source {schema.source!r} "
                    f"and {found} in {origin}",
                    why="An entity has one key type everywhere",
                    fix="Convert one of them.",
                )
            found, origin = dtype, f"source {schema.source!r}"
        if found is None:
            raise DefinitionError(
                f"The type of join key {key!r} of entity {entity.name!r} is not known",
                why="No view reads it",
                fix='Declare it: Entity(..., dtype="int64").',
            )
        keys.append(Column(name=key, dtype=found))
    return EntitySpec(
        name=entity.name,
        join_keys=tuple(keys),
        description=entity.description,
        owner=entity.owner,
        tags=entity.tags,
    )


def resolve_derived(view: FeatureView, schema: SourceSchema) -> DerivedSpec | None:
    """Return the spec of the columns that a view adds; `schema` has them beside the source's.

    Raises:
        SchemaError: an expression has a type that features cannot have.
        DefinitionError: a transform is no function that can be stored by reference.
    """
    if view.transform is None and not view.select:
        return None
    used = f"view {view.name!r}"
    transform = None
    if view.transform is not None:
        transform = TransformSpec(
            function=function_spec(view.transform.function, f"View {view.name!r}"),
            outputs=tuple(Column(name=name, dtype=schema.dtype(name, used)) for name, _ in view.transform.outputs),
            frame=view.transform.frame,
        )
    select = tuple(SelectSpec(name=name, sql=sql, dtype=schema.dtype(name, used)) for name, sql in view.select)
    return DerivedSpec(transform=transform, select=select)


def output_fields(view: FeatureView) -> list[pa.Field]:
    """Return the Arrow fields of the columns that a view's transform adds.

    Raises:
        DefinitionError: a dtype that is none.
    """
    fields = []
    for name, dtype in view.transform.outputs if view.transform is not None else ():
        try:
            fields.append(pa.field(name, dtypes.column_type(dtype)))
        except SchemaError as error:
            raise DefinitionError(
                f"The transform of view {view.name!r} gives column {name!r} as {dtype!r}, which is no type",
                fix='Write a type such as "float64", "int64", "string", "bool" or "timestamp".',
            ) from error
    return fields


def resolve_view(view: FeatureView, entity: EntitySpec, source: SourceSpec, schema: SourceSchema) -> ViewSpec:
    """Return the spec of a view whose columns exist in its source with types that its features can have.

    Args:
        view: The view.
        entity: Its entity, resolved.
        source: Its source, resolved.
        schema: The source's columns, and those that the view adds to them.

    Predicates are not checked here: that needs a SQL engine, see `services.definitions`.

    Raises:
        SchemaError: a missing column, or an aggregate over a type that it cannot take.
        DefinitionError: a default that does not fit its feature's type.
    """
    if isinstance(view, StateView):
        kind, ttl_us = "state", view.ttl_us
        features = tuple(
            _feature(
                view,
                f.name,
                schema.dtype(f.column or f.name, f"view {view.name!r}"),
                f.default,
                f.description,
                column=f.column or f.name,
            )
            for f in view.features
        )
    elif isinstance(view, EventView):
        kind, ttl_us = "event", None
        features = tuple(_window_feature(view, a, w, schema) for a in view.aggregates for w in a.windows)
    else:
        raise DefinitionError(f"View {view.name!r} is neither a StateView nor an EventView")
    return ViewSpec(
        name=view.name,
        kind="state" if kind == "state" else "event",
        entity=entity,
        source=source,
        derived=resolve_derived(view, schema),
        where=view.where,
        ttl_us=ttl_us,
        freshness_us=view.freshness_us,
        features=features,
        description=view.description,
        owner=view.owner,
        tags=view.tags,
    )


def _window_feature(view: EventView, a: Aggregate, window: Window, schema: SourceSchema) -> FeatureSpec:
    name = a.feature_name(window)
    used_by = f"{view.name}:{name}"
    column = a.column and schema.dtype(a.column, used_by)
    try:
        dtype = result_dtype(a.function, column, used_by)
    except SchemaError as error:
        why = f"Column {a.column!r} of source {schema.source!r} is {column}" if a.column else ""
        raise SchemaError(error.what, why=why, fix=error.fix) from None
    if a.by is not None:
        dtype = map_dtype(schema.dtype(a.by, used_by), dtype, f"Feature {used_by} groups by column {a.by!r}")
    spec = AggregateSpec(
        function=a.function,
        column=a.column,
        where=a.where,
        window_us=window.length_us,
        hop_us=window.hop_us,
        n=a.n,
        quantile=a.quantile,
        by=a.by,
    )
    return _feature(view, name, dtype, a.default, a.description, aggregate=spec)


def result_dtype(function: str, dtype: str | None, feature: str) -> str:
    """Return the dtype of an aggregate over a column of `dtype` (None: no column).

    Raises:
        SchemaError: the aggregate cannot take that type.
    """
    if function in COUNTS and (dtype is None or dtypes.is_scalar(dtype)):
        return "int64"
    if dtype is None or not dtypes.is_scalar(dtype) or (function in NUMERIC_INPUT and not dtypes.is_numeric(dtype)):
        raise SchemaError(
            f"Feature {feature} takes the {function} of a {dtype or 'missing'} column",
            fix="Use a number." if function in NUMERIC_INPUT else "Use a number, text, bool or time.",
        )
    lane = dtypes.lane_type(dtype)
    if function == "sum":
        if dtypes.is_decimal(dtype):
            return f"decimal(38,{dtype.rstrip(')').split(',')[1].strip()})"
        return "int64" if lane in ("int64", "bool") else "float64"
    if function in ("mean", "stddev", "variance", "percentile"):
        return "float64"
    return f"list<{lane}>" if function in LISTS else lane


def map_dtype(key: str, value: str, what: str) -> str:
    """Return the dtype of a map from a column of dtype `key`, whose keys are compared as join keys are.

    Raises:
        SchemaError: that column cannot be a key; begins with `what`.
    """
    known = dtypes.key_type(key)
    if known is None:
        raise SchemaError(
            f"{what}, which is {key}",
            why=f"Keys are {', '.join(sorted(dtypes.KEY_TYPES))}, or other integers",
            fix="Group by such a column, or make one with `select`.",
        )
    return f"map<{known}, {value}>"


def _feature(view: FeatureView, name: str, dtype: str, default: Any, description: str, **how: Any) -> FeatureSpec:
    stored = None if default is None else default_to_json(default, dtype, f"{view.name}:{name}")
    return FeatureSpec(name=name, dtype=dtype, default=stored, description=description, **how)


def default_to_json(default: Any, dtype: str, feature: str) -> Json:
    """Return a default in the form it is stored in.

    Raises:
        DefinitionError: it is not a value of the feature's type.
    """
    ok: Json = None
    if dtype.startswith(("list<", "vector<")):
        inner = dtype[5:-1] if dtype.startswith("list<") else dtype[7:].split(",")[0]
        if isinstance(default, list | tuple):
            return [None if v is None else default_to_json(v, inner, feature) for v in default]
    elif dtype == "bool":
        ok = default if isinstance(default, bool) else None
    elif dtype in dtypes.INTEGERS:
        ok = default if isinstance(default, int) and not isinstance(default, bool) and _fits(default, dtype) else None
    elif dtype in dtypes.FLOATS:
        ok = float(default) if isinstance(default, int | float) and not isinstance(default, bool) else None
    elif dtypes.is_decimal(dtype):
        ok = str(default) if isinstance(default, int | Decimal) and not isinstance(default, bool) else None
    elif dtype == "string":
        ok = default if isinstance(default, str) else None
    elif dtype == "timestamp" and isinstance(default, datetime):
        ok = (default if default.tzinfo else default.replace(tzinfo=UTC)).isoformat()
    elif dtype == "date" and isinstance(default, date) and not isinstance(default, datetime):
        ok = default.isoformat()
    if ok is None or (isinstance(ok, float) and not isfinite(ok)):
        raise DefinitionError(
            f"The default {default!r} of {feature} is not a {dtype}",
            fix=f"Give a {dtype} value, or no default.",
        )
    return ok


def _fits(value: int, dtype: str) -> bool:
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    if dtype.startswith("u"):
        return 0 <= value < 1 << bits
    return -(1 << bits - 1) <= value < 1 << bits - 1
