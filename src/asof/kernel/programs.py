"""View specs compiled for the kernel: which columns to scan, and the native plan that history and serving share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof import _native, dtypes
from asof.errors import CorruptDataError, FeatureValueError, SchemaError
from asof.interfaces.scanner import ColumnRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.plan.specs import FeatureSpec, ViewSpec


@dataclass(frozen=True)
class EventProgram:
    """An event view, compiled.

    Attributes:
        columns: The lanes to scan, each a column with its predicate applied; lanes are shared between features.
        plan: The native windows plan; its output columns are the features, in order.
        defaults: One row with a column per feature, null where there is no default.
        reach_us: How far before an instant the longest window can look, hop included; None for lifetime.
    """

    features: tuple[FeatureSpec, ...]
    columns: tuple[ColumnRequest, ...]
    plan: _native.WindowPlan
    defaults: pa.RecordBatch
    reach_us: int | None


@dataclass(frozen=True)
class StateProgram:
    """A state view, compiled; `columns` and `defaults` are in the order of `features`."""

    features: tuple[FeatureSpec, ...]
    columns: tuple[ColumnRequest, ...]
    plan: _native.RowPlan
    defaults: pa.RecordBatch


def compile_events(view: ViewSpec, features: Sequence[FeatureSpec]) -> EventProgram:
    """Compile some or all features of an event view; which ones are chosen together changes no value."""
    types = view.column_types()
    lanes: dict[tuple[str | None, str | None], ColumnRequest] = {}
    native: list[_native.WindowFeature] = []
    reach_us: int | None = 0
    for feature in features:
        aggregate = feature.aggregate
        if aggregate is None:
            raise SchemaError(f"Feature {view.name}:{feature.name} has no aggregate", why="Its view is an event view")
        lane = by = None
        if aggregate.column is not None or aggregate.where is not None:
            dtype = dtypes.lane_type(types[aggregate.column]) if aggregate.column is not None else "bool"
            request = ColumnRequest(f"lane{len(lanes)}", aggregate.column, dtype, aggregate.where)
            lanes.setdefault((aggregate.column, aggregate.where), request)
            lane = list(lanes).index((aggregate.column, aggregate.where))
        if aggregate.by is not None:
            request = ColumnRequest(f"lane{len(lanes)}", aggregate.by, dtypes.lane_type(types[aggregate.by]))
            lanes.setdefault((aggregate.by, None), request)
            by = list(lanes).index((aggregate.by, None))
        native.append(
            _native.WindowFeature(
                feature.name,
                aggregate.function,
                lane=lane,
                window_us=aggregate.window_us,
                hop_us=aggregate.hop_us or None,
                n=aggregate.n,
                quantile=aggregate.quantile,
                by=by,
            )
        )
        if reach_us is not None:
            reach_us = None if aggregate.window_us is None else max(reach_us, aggregate.window_us + aggregate.hop_us)
    columns = tuple(lanes.values())
    schema = pa.schema([(column.name, dtypes.to_arrow(column.dtype)) for column in columns])
    return EventProgram(tuple(features), columns, _native.WindowPlan(schema, native), defaults_row(features), reach_us)


def compile_states(view: ViewSpec, features: Sequence[FeatureSpec]) -> StateProgram:
    """Compile some or all features of a state view."""
    columns = tuple(ColumnRequest(f.name, f.column or f.name, f.dtype) for f in features)
    schema = pa.schema([(f.name, dtypes.to_arrow(f.dtype)) for f in features])
    defaults = defaults_row(features)
    plan = _native.RowPlan(schema, view.ttl_us, defaults)
    return StateProgram(tuple(features), columns, plan, defaults)


def value_error(view: ViewSpec, error: OverflowError) -> FeatureValueError:
    """Return the user's error for a value that its type cannot hold."""
    return FeatureValueError(
        f"A value of view {view.name!r} does not fit its type",
        why=str(error),
        fix="Make the column a float or a decimal, or shorten the window.",
    )


def stored_error(view: ViewSpec, error: ValueError) -> CorruptDataError:
    """Return the user's error for a value from the online store that this version of the kernel cannot read."""
    return CorruptDataError(
        f"A value that the online store has of view {view.name!r} cannot be read",
        why=str(error),
        fix=f"Run `asof materialize {view.name}`, which computes all of its values again.",
    )


def defaults_row(features: Sequence[FeatureSpec]) -> pa.RecordBatch:
    """Return one row with the features' defaults in their types, null where there is none."""
    arrays = [_default_array(feature.default, dtypes.to_arrow(feature.dtype)) for feature in features]
    return pa.RecordBatch.from_arrays(arrays, names=[feature.name for feature in features])


def _default_array(value: Any, arrow: pa.DataType) -> pa.Array:
    leaf = arrow.value_type if pa.types.is_list(arrow) else arrow
    if value is not None and (pa.types.is_decimal(leaf) or pa.types.is_temporal(leaf)):
        text = pa.list_(pa.string()) if pa.types.is_list(arrow) else pa.string()
        return pa.array([value], type=text).cast(arrow)
    return pa.array([value], type=arrow)
