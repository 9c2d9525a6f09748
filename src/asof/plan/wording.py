"""Says in words how two versions of a spec differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from asof.clock import iso
from asof.durations import format_duration
from asof.plan.lookups import with_lookups
from asof.plan.phrases import missing_text
from asof.plan.schedule import schedule_text
from asof.plan.specs import (
    AnySpec,
    Column,
    ComputedSpec,
    DerivedSpec,
    EntitySpec,
    FeatureSpec,
    OnDemandSpec,
    RequestSpec,
    ServiceFeature,
    ServiceSpec,
    SourceSpec,
    ViewSpec,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from asof.plan.specs import AggregateSpec, BatchSpec, CallSpec, PinnedFeature, StreamSpec

    Words = list[str]

_T = TypeVar("_T")
_METADATA = ("description", "owner", "tags")


def describe_change(old: AnySpec, new: AnySpec) -> tuple[str, ...]:
    """Return one phrase per difference in meaning or metadata, empty for equal specs; versions do not count."""
    words: Words = []
    if isinstance(old, EntitySpec) and isinstance(new, EntitySpec):
        words = _entity(old, new)
    elif isinstance(old, SourceSpec) and isinstance(new, SourceSpec):
        words = _source(old, new)
    elif isinstance(old, ViewSpec) and isinstance(new, ViewSpec):
        words = _view(old, new)
    elif isinstance(old, OnDemandSpec) and isinstance(new, OnDemandSpec):
        words = _on_demand(old, new)
    elif isinstance(old, ServiceSpec) and isinstance(new, ServiceSpec):
        words = _service(old, new)
    return (*words, *_fields(old, new, _METADATA))


def _entity(old: EntitySpec, new: EntitySpec) -> Words:
    return _changed("join keys", _columns_text(old.join_keys), _columns_text(new.join_keys))


def _source(old: SourceSpec, new: SourceSpec) -> Words:
    words = _fields(old, new, ("kind", "path", "format", "table_version", "event_time", "available_at"))
    words += _fields(old, new, ("connection", "table", "query", "order_by"))
    words += _changed("delay", _duration(old.delay_us), _duration(new.delay_us))
    words += _fields(old, new, ("event_id", "deleted"))
    words += _changed("max_skew", _duration(old.max_skew_us), _duration(new.max_skew_us))
    words += _batch(old.batch, new.batch)
    words += _stream(old.stream, new.stream)
    before = {column.name: column.dtype for column in old.columns}
    after = {column.name: column.dtype for column in new.columns}
    return words + _members("column", before, after, lambda name: _changed(f"column {name}", before[name], after[name]))


def _stream(old: StreamSpec | None, new: StreamSpec | None) -> Words:
    if old is None or new is None:
        return []
    words = _fields(old, new, ("topic", "format"))
    if old.history is None or new.history is None or old.history.name != new.history.name:
        words += _changed("history", *(one.history.name if one.history else None for one in (old, new)))
    else:
        words += [f"history {new.history.name}: {phrase}" for phrase in _source(old.history, new.history)]
    words += _changed("handover", *(None if us is None else iso(us) for us in (old.handover_us, new.handover_us)))
    return words + _fields(old, new, ("positions",))


def _batch(old: BatchSpec | None, new: BatchSpec | None) -> Words:
    if old is None or new is None:
        return []
    words = _changed("sql", old.sql and " ".join(old.sql.split()), new.sql and " ".join(new.sql.split()))
    if not words and old.sql != new.sql:
        words = ["sql laid out anew"]
    words += _changed("function", old.function and old.function.path, new.function and new.function.path)
    if old.function and new.function and old.function.path == new.function.path and old.function != new.function:
        words.append(f"function {new.function.path} has another body")
    words += _changed("columns", _columns_text(old.outputs), _columns_text(new.outputs))
    words += _changed("schedule", schedule_text(old), schedule_text(new))
    words += _changed("lookback", _duration(old.lookback_us), _duration(new.lookback_us))
    before, after = ({one.name: one for one in batch.inputs} for batch in (old, new))
    return words + _members(
        "input",
        before,
        after,
        lambda name: [f"input {name}: {phrase}" for phrase in _source(before[name], after[name])],
    )


def _view(old: ViewSpec, new: ViewSpec) -> Words:
    words = _fields(old, new, ("kind",))
    words += _part("entity", old.entity, new.entity)
    words += _part("source", old.source, new.source)
    words += _derived(old.derived or DerivedSpec(), new.derived or DerivedSpec())
    words += _fields(old, new, ("where",))
    words += _changed("ttl", _duration(old.ttl_us), _duration(new.ttl_us))
    words += _changed("freshness", _duration(old.freshness_us), _duration(new.freshness_us))
    return words + _features(old, new)


def _derived(old: DerivedSpec, new: DerivedSpec) -> Words:
    paths = [one.transform.function.path if one.transform else "" for one in (old, new)]
    words = _changed("transform", *paths)
    if not words and old.transform is not None and new.transform is not None:
        same = old.transform.function.source_hash == new.transform.function.source_hash
        words = [] if same else [f"transform {paths[1]}: another body"]
        words += _changed("outputs", _columns_text(old.transform.outputs), _columns_text(new.transform.outputs))
        words += _fields(old.transform, new.transform, ("frame",))
    before, after = {s.name: s for s in old.select}, {s.name: s for s in new.select}
    return words + _members(
        "select",
        before,
        after,
        lambda name: [f"select {name}: {p}" for p in _fields(before[name], after[name], ("sql", "dtype"))],
    )


def _part(what: str, old: EntitySpec | SourceSpec, new: EntitySpec | SourceSpec) -> Words:
    if old.name != new.name:
        return _changed(what, old.name, new.name)
    return [f"{what} {new.name}: {words}" for words in describe_change(old, new)]


def _features(old: ViewSpec, new: ViewSpec) -> Words:
    before = {feature.name: feature for feature in old.features}
    after = {feature.name: feature for feature in new.features}
    words = [_added_or_removed("removed", before[name], new.features) for name in before if name not in after]
    words += [_added_or_removed("added", after[name], old.features) for name in after if name not in before]
    for name in after:
        if name in before:
            words += [f"feature {name}: {phrase}" for phrase in _feature(before[name], after[name])]
    return words + _reordered("features", list(before), list(after))


def _added_or_removed(verb: str, feature: FeatureSpec, others: Sequence[FeatureSpec]) -> str:
    """Say "window 30d added" where the other version has the same aggregate over other windows."""
    aggregate = feature.aggregate
    if aggregate is not None and any(_same_but_window(aggregate, other.aggregate) for other in others):
        preposition = "to" if verb == "added" else "from"
        return f"window {_window(aggregate)} {verb} {preposition} {_aggregate_text(aggregate)} ({feature.name})"
    return f"feature {feature.name} {verb}"


def _same_but_window(one: AggregateSpec, other: AggregateSpec | None) -> bool:
    return other is not None and msgspec.structs.replace(other, window_us=one.window_us, hop_us=one.hop_us) == one


def _feature(old: FeatureSpec, new: FeatureSpec) -> Words:
    words = _fields(old, new, ("dtype", "default", "column", "description"))
    if old.aggregate is not None and new.aggregate is not None:
        words += _fields(old.aggregate, new.aggregate, ("function", "column", "where", "n", "quantile", "by"))
        words += _changed("window", _window(old.aggregate), _window(new.aggregate))
        words += _changed("hop", _duration(old.aggregate.hop_us), _duration(new.aggregate.hop_us))
    return words


def _on_demand(old: OnDemandSpec, new: OnDemandSpec) -> Words:
    before, after = {i.column: i for i in old.inputs}, {i.column: i for i in new.inputs}
    words = _members(
        "input", before, after, lambda name: _changed(f"input {name}", before[name].dtype, after[name].dtype)
    )
    words += _changed_roles(old.inputs, new.inputs)
    pins = {i.view: i.view_version for i in with_lookups(old.inputs)}
    for view, version in {i.view: i.view_version for i in with_lookups(new.inputs)}.items():
        words += _changed("reads", f"{view}@{pins.get(view, version)}", f"{view}@{version}")
    asked, asks = {r.name: r for r in old.request}, {r.name: r for r in new.request}
    words += _members(
        "request field", asked, asks, lambda name: _fields_of(f"request field {name}", asked[name], asks[name])
    )
    words += _changed("function", old.function and old.function.path, new.function and new.function.path)
    if old.function and new.function and old.function.path == new.function.path and old.function != new.function:
        words.append(f"function {new.function.path}: source changed")
    words += _fields(old, new, ("instant",))
    was, now = {f.name: f for f in old.features}, {f.name: f for f in new.features}
    words += _members("feature", was, now, lambda name: _fields_of(f"feature {name}", was[name], now[name]))
    return words + _reordered("features", list(was), list(now))


def _fields_of(what: str, old: RequestSpec | ComputedSpec, new: RequestSpec | ComputedSpec) -> Words:
    words = _fields(old, new, ("dtype", "description"))
    if isinstance(old, RequestSpec) and isinstance(new, RequestSpec):
        words += _fields(old, new, ("default",))
    elif isinstance(old, ComputedSpec) and isinstance(new, ComputedSpec):
        words += _changed("call", _call(old.call), _call(new.call))
    return [f"{what}: {phrase}" for phrase in words]


def _call(call: CallSpec | None) -> str:
    return "the view's function" if call is None else call_text(call)


def call_text(call: CallSpec) -> str:
    """Return a built-in call as people write it: ratio(spend__amount_sum_1d, distance)."""
    if call.function == "sql":
        return str(call.parameters["expression"])
    constants = [f"{name}={value}" for name, value in call.parameters.items()]
    return f"{call.function}({', '.join([*call.inputs, *constants])})"


def _service(old: ServiceSpec, new: ServiceSpec) -> Words:
    before = {_feature_text(f): f for f in old.features}
    after = {_feature_text(f): f for f in new.features}
    words = _members(
        "feature",
        before,
        after,
        lambda name: _changed(
            f"missing values of {name}", missing_text(before[name].missing), missing_text(after[name].missing)
        ),
    )
    words += _changed_roles(old.features, new.features)
    words += _fields(old, new, ("consistency",))
    pins_before = {f.view: f.view_version for f in with_lookups(old.features)}
    pins_after = {f.view: f.view_version for f in with_lookups(new.features)}
    for view, version in pins_after.items():
        if view in pins_before:
            words += _changed("reads", f"{view}@{pins_before[view]}", f"{view}@{version}")
    return words + _reordered("features", list(before), list(after))


def _feature_text(feature: ServiceFeature) -> str:
    text = f"{feature.view}:{feature.feature}"
    return text if feature.role is None else f"{text} as {feature.role}"


def _changed_roles(old: Iterable[PinnedFeature], new: Iterable[PinnedFeature]) -> Words:
    before = {(f.view, f.role): keys_text(f) for f in with_lookups(old)}
    after = {(f.view, f.role): keys_text(f) for f in with_lookups(new)}
    return [
        phrase
        for (view, role), keys in after.items()
        if (view, role) in before
        for phrase in _changed(f"keys of {view} as {role}" if role else f"keys of {view}", before[view, role], keys)
    ]


def keys_text(used: PinnedFeature) -> str:
    """Return where the join keys are found that are not under their own names: customer_id = cards:customer_id."""
    found = [f"{key} = {column}" for key, column in used.keys]
    for one in used.lookups:
        role = f" as {one.role}" if one.role else ""
        behind = f" ({keys_text(one)})" if one.keys or one.lookups else ""
        found.append(f"{one.join_key} = {one.view}:{one.feature}{role}{behind}")
    return ", ".join(found)


def _members(what: str, old: Mapping[str, _T], new: Mapping[str, _T], compare: Callable[[str], Words]) -> Words:
    words = [f"{what} {name} removed" for name in old if name not in new]
    words += [f"{what} {name} added" for name in new if name not in old]
    return words + [phrase for name in new if name in old for phrase in compare(name)]


def _reordered(what: str, old: list[str], new: list[str]) -> Words:
    kept_before = [name for name in old if name in new]
    kept_after = [name for name in new if name in old]
    return [f"{what} reordered"] if kept_before != kept_after else []


def _fields(old: object, new: object, names: Iterable[str]) -> Words:
    return [phrase for name in names for phrase in _changed(name, getattr(old, name), getattr(new, name))]


def _changed(what: str, old: object, new: object) -> Words:
    if old == new:
        return []
    return [f"{what.replace('_', ' ')} changed: {_text(old)} -> {_text(new)}"]


def _text(value: object) -> str:
    if value is None or value in ("", ()):
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _duration(us: int | None) -> str | None:
    return None if us is None else format_duration(us) if us else "0"


def _window(aggregate: AggregateSpec) -> str:
    return "lifetime" if aggregate.window_us is None else format_duration(aggregate.window_us)


def _aggregate_text(aggregate: AggregateSpec) -> str:
    whole = f"{aggregate.function} of {aggregate.column}" if aggregate.column else aggregate.function
    return f"{whole} by {aggregate.by}" if aggregate.by else whole


def _columns_text(columns: Iterable[Column]) -> str:
    return ", ".join(f"{column.name} {column.dtype}" for column in columns)
