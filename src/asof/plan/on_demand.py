"""On-demand views as specs: their inputs' types checked, and what a read has to fetch before they can be computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof import dtypes
from asof.definitions import FeatureView
from asof.definitions.on_demand import INSTANT
from asof.errors import DefinitionError, InputError, SchemaError
from asof.plan.functions import function_spec
from asof.plan.lookups import lookup_specs, select
from asof.plan.resolve import default_to_json
from asof.plan.selected import ComputedFeature, output_columns
from asof.plan.specs import CallSpec, ComputedSpec, InputSpec, OnDemandSpec, RequestSpec, ViewSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from asof.definitions import OnDemandView
    from asof.plan.selected import Selected, SelectedFeature
    from asof.plan.specs import MissingSpec, PinnedFeature


_RESULTS = {
    "ratio": "float64",
    "elapsed": "float64",
    "calendar": "int64",
    "haversine": "float64",
    "bucketize": "int64",
    "hash_text": "int64",
    "cosine": "float64",
}


@dataclass(frozen=True)
class OnDemandRead:
    """What a read computes.

    Attributes:
        views: Each once, after those that it reads.
        inputs: The stored features that they read, each once per role.
        outputs: All columns of the answer in order, stored ones too.
        computed: Those of them that are computed, as the key of their view and the feature; of two versions of a view,
            one may be in the answer and the other be read by another view only.
        request: The request fields by name, with the type that all views agree on; a default only where every view
            that asks for the field has one.
        missing: What is done where a computed column has no value, by its name.
    """

    views: tuple[OnDemandSpec, ...]
    inputs: tuple[SelectedFeature, ...]
    outputs: tuple[str, ...]
    computed: frozenset[tuple[str, str]]
    request: Mapping[str, RequestSpec]
    missing: Mapping[str, MissingSpec]


def resolve_on_demand(
    view: OnDemandView,
    dtypes_of: Mapping[str, Mapping[str, str]],
    sql_dtype: Callable[[Mapping[str, str], str, str], str],
) -> OnDemandSpec:
    """Return the spec of an on-demand view whose functions can take its inputs.

    Args:
        view: The definition.
        dtypes_of: The dtype of every feature by the name of its view, of all views that it reads.
        sql_dtype: Returns the dtype of a SQL expression, from the columns' dtypes, the expression and what uses it.

    Raises:
        SchemaError: an input that is a map, or a built-in function over a type that it cannot take.
        DefinitionError: a default, output type or SQL expression that is none, or a function that cannot be referenced.
    """
    inputs = tuple(
        InputSpec(
            view=used.name,
            view_version=0,
            feature=feature,
            dtype=dtypes_of[used.name][feature],
            on_demand=not isinstance(used, FeatureView),
            role=role.name or None if role is not None else None,
            keys=() if role is None else role.keys,
            lookups=lookup_specs(role),
        )
        for used, feature, role in view.inputs
    )
    if maps := [one for one in inputs if dtypes.is_map(one.dtype)]:
        raise SchemaError(
            f"On-demand view {view.name!r} reads {maps[0].view}:{maps[0].feature}, which is {maps[0].dtype}",
            why="On-demand views take no maps",
            fix="Read the same aggregate without `by`, or with a `where` for the group that matters.",
        )
    request = tuple(
        RequestSpec(
            name=field.name,
            dtype=field.dtype,
            default=None
            if field.default is None
            else default_to_json(field.default, field.dtype, f"{view.name}:{field.name}"),
            description=field.description,
        )
        for field in view.request
    )
    types = {one.column: one.dtype for one in inputs} | {one.name: one.dtype for one in request}
    seen = {**types, INSTANT: "timestamp"} if view.instant else types
    features = []
    for one in view.features:
        call = CallSpec(function=one.function, inputs=one.inputs, parameters=dict(one.parameters))
        if call.function == "sql":
            dtype = sql_dtype(seen, str(call.parameters["expression"]), f"feature {view.name}:{one.name}")
        else:
            dtype = _result(view.name, call, types)
        features.append(ComputedSpec(name=one.name, dtype=dtype, call=call, description=one.description))
    for name, dtype in view.outputs:
        try:
            dtypes.column_type(dtype)
        except (SchemaError, TypeError) as error:
            raise DefinitionError(f"Feature {view.name}:{name} has type {dtype!r}", why=str(error)) from error
        features.append(ComputedSpec(name=name, dtype=dtype))
    return OnDemandSpec(
        name=view.name,
        inputs=inputs,
        request=request,
        function=None if view.function is None else function_spec(view.function, f"On-demand view {view.name!r}"),
        instant=view.instant,
        features=tuple(features),
        description=view.description,
        owner=view.owner,
        tags=view.tags,
    )


def _result(view: str, call: CallSpec, types: Mapping[str, str]) -> str:
    found = [types.get(column, "timestamp") for column in call.inputs]
    if not (_numbers(call, found) if call.function in ("ratio", "haversine", "bucketize") else _others(call, found)):
        shown = ", ".join(f"{column} {dtype}" for column, dtype in zip(call.inputs, found, strict=True))
        raise SchemaError(
            f"{call.function} of on-demand view {view!r} cannot take {shown}",
            fix={
                "elapsed": "Give timestamps or dates.",
                "calendar": "Give a timestamp or a date.",
                "hash_text": "Give text.",
                "cosine": "Give two vectors of one length.",
            }.get(call.function, "Give integers or floats."),
        )
    return _RESULTS[call.function]


def _numbers(_: CallSpec, found: Sequence[str]) -> bool:
    return all(dtype in dtypes.INTEGERS | dtypes.FLOATS for dtype in found)


def _others(call: CallSpec, found: Sequence[str]) -> bool:
    if call.function == "hash_text":
        return found[0] == "string"
    if call.function == "cosine":
        lengths = {dtype.partition(",")[2] for dtype in found}
        return all(dtype.startswith("vector<") for dtype in found) and len(lengths) == 1
    return all(dtype in ("timestamp", "date") for dtype in found)


def read_of(items: Iterable[Selected], find: Callable[[PinnedFeature], ViewSpec | OnDemandSpec]) -> OnDemandRead | None:
    """Return what a read of these items computes, or None where it lists stored features only.

    Args:
        items: The columns of the answer, in order.
        find: Returns the view version that an input is pinned to.

    Raises:
        InputError: two views want a request field in different types.
    """
    listed = list(items)
    views: dict[str, OnDemandSpec] = {}
    inputs: dict[tuple[str, str], SelectedFeature] = {}

    def visit(view: OnDemandSpec) -> None:
        if view.key in views:
            return
        for used in view.inputs:
            found = find(used)
            if isinstance(found, OnDemandSpec):
                visit(found)
            else:
                feature = next(f for f in found.features if f.name == used.feature)
                item = select(found, feature, used, find)
                inputs[item.group, feature.name] = item
        views[view.key] = view

    for item in listed:
        if isinstance(item, ComputedFeature):
            visit(item.view)
    if not views:
        return None
    ordered = tuple(views.values())
    computed = frozenset((item.view.key, item.feature.name) for item in listed if isinstance(item, ComputedFeature))
    missing = {item.column: how for item in listed if isinstance(item, ComputedFeature) and (how := item.missing)}
    outputs = output_columns(listed)
    return OnDemandRead(ordered, tuple(inputs.values()), outputs, computed, _request(ordered), missing)


def _request(views: Sequence[OnDemandSpec]) -> dict[str, RequestSpec]:
    fields: dict[str, tuple[OnDemandSpec, RequestSpec]] = {}
    for view in views:
        for field in view.request:
            other, first = fields.get(field.name, (view, field))
            if first.dtype != field.dtype:
                raise InputError(
                    f"The request field {field.name!r} is {first.dtype} in {other.key} and {field.dtype} in {view.key}",
                    why="One column of a read has one type",
                    fix="Give it one type in both, or another name.",
                )
            if field.name not in fields or field.default is None:
                fields[field.name] = (view, field)
    return {name: field for name, (_, field) in fields.items()}
