"""`asof describe`: everything about one object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.format import generation
from asof.cli.session import Session, json_option, pass_session
from asof.definitions.on_demand import INSTANT
from asof.definitions.services import LATEST
from asof.definitions.streams import ARRIVED_AT
from asof.durations import format_duration
from asof.plan.phrases import meeting_text, missing_text, stream_text
from asof.plan.registered import NOUNS, VERSIONED
from asof.plan.schedule import schedule_text
from asof.plan.specs import (
    AggregateSpec,
    BatchSpec,
    EntitySpec,
    FeatureSpec,
    OnDemandSpec,
    ServiceSpec,
    SourceSpec,
    ViewSpec,
    address_of,
)
from asof.plan.wording import call_text, keys_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.plan.specs import InputSpec
    from asof.services.overview import Description


@click.command("describe")
@click.argument("reference")
@json_option
@pass_session
def command(session: Session, reference: str) -> None:
    """Show all about one object.

    Of an entity, source, view, on-demand view or service: its parts, its versions, what uses it, what is online.

    \b
        asof describe spend
        asof describe spend@3
        asof describe fraud --json
    """
    found = session.store.describe(reference)
    session.emit(found)
    for index, one in enumerate(found):
        if index:
            session.say()
        _show(session, one)


def _show(session: Session, one: Description) -> None:
    noun = NOUNS[one.kind][0]
    title = f"{noun} {one.name}@{one.version}" if isinstance(one.spec, VERSIONED) else f"{noun} {one.name}"
    session.say(title + (" (removed)" if one.hidden else ""), "bold")
    if one.spec.description:
        session.say(one.spec.description)
    facts = [*_facts(one), ("versions", ", ".join(map(str, one.versions))), ("used by", ", ".join(one.used_by))]
    if one.kind == "view":
        facts.append(("online", generation(one.generation)))
    facts += [("owner", one.spec.owner), ("tags", ", ".join(one.spec.tags))]
    for label, text in facts:
        if text:
            session.say(f"  {label:<12} {text}")
    if isinstance(one.spec, ViewSpec):
        session.say()
        session.table(["feature", "type", "is", "default"], [_feature_row(f) for f in one.spec.features])
    elif isinstance(one.spec, OnDemandSpec):
        session.say()
        session.table(["takes", "type", "from", "default"], _inputs(one.spec))
        session.say()
        rows = [(f.name, f.dtype, call_text(f.call) if f.call else "the function") for f in one.spec.features]
        session.table(["feature", "type", "is"], rows)
    elif isinstance(one.spec, ServiceSpec):
        session.say()
        _show_features(session, one.spec)
    elif isinstance(one.spec, SourceSpec):
        session.say()
        session.table(["column", "type"], [(c.name, c.dtype) for c in one.spec.columns if c.name != ARRIVED_AT])


def _show_features(session: Session, spec: ServiceSpec) -> None:
    roles = any(keys_text(f) for f in spec.features)
    missing = any(f.missing is not None for f in spec.features)
    rows = [
        (f.column, f"{f.view}@{f.view_version}", f.feature)
        + ((keys_text(f),) if roles else ())
        + ((missing_text(f.missing),) if missing else ())
        for f in spec.features
    ]
    headings = ["column", "view", "feature", *(["keys"] if roles else []), *(["missing"] if missing else [])]
    session.table(headings, rows)


def _facts(one: Description) -> Sequence[tuple[str, str]]:
    spec = one.spec
    if isinstance(spec, EntitySpec):
        return [("join keys", ", ".join(f"{key.name} {key.dtype}" for key in spec.join_keys) or "none")]
    if isinstance(spec, ViewSpec):
        return [
            ("kind", f"{spec.kind} view"),
            (
                "entity",
                f"{spec.entity.name} ({', '.join(key.name for key in spec.entity.join_keys) or 'no join keys'})",
            ),
            ("source", spec.source.name),
            *_derived(spec),
            ("where", spec.where or ""),
            ("ttl", format_duration(spec.ttl_us) if spec.ttl_us else ""),
            ("freshness", format_duration(spec.freshness_us) if spec.freshness_us else ""),
        ]
    if isinstance(spec, ServiceSpec):
        return [("consistency", spec.consistency if spec.consistency != LATEST else "")]
    if isinstance(spec, OnDemandSpec):
        return [("function", spec.function.path if spec.function else "")]
    if isinstance(spec, SourceSpec):
        delay = f"event time + {format_duration(spec.delay_us)}" if spec.delay_us else "event time"
        return [
            *_place(spec),
            ("event time", spec.event_time),
            ("available at", "arrival" if spec.stream else spec.available_at or delay),
            ("event id", spec.event_id or ""),
            ("deleted", spec.deleted or ""),
            ("max skew", format_duration(spec.max_skew_us) if spec.max_skew_us else ""),
        ]
    return []


def _place(spec: SourceSpec) -> list[tuple[str, str]]:
    if spec.batch is not None:
        return _batch(spec.batch)
    if spec.stream is not None:
        return [("stream", stream_text(spec.stream)), ("history", meeting_text(spec.stream))]
    facts = [("path", f"{address_of(spec)} ({spec.format or spec.kind})")]
    return facts + ([("query", " ".join(spec.query.split()))] if spec.query else [])


def _batch(batch: BatchSpec) -> list[tuple[str, str]]:
    return [
        ("inputs", ", ".join(one.name for one in batch.inputs)),
        ("schedule", schedule_text(batch)),
        ("lookback", "" if batch.lookback_us is None else format_duration(batch.lookback_us)),
        ("sql", batch.sql or ""),
        ("function", batch.function.path if batch.function else ""),
    ]


def _derived(view: ViewSpec) -> list[tuple[str, str]]:
    if view.derived is None:
        return []
    transform = view.derived.transform
    shown = (
        [("transform", f"{transform.function.path} ({', '.join(c.name for c in transform.outputs)})")]
        if transform
        else []
    )
    return shown + [("select", f"{one.name} = {one.sql}") for one in view.derived.select]


def _inputs(spec: OnDemandSpec) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [(i.column, i.dtype, _origin(i), None) for i in spec.inputs]
    rows += [(r.name, r.dtype, "the request", r.default) for r in spec.request]
    return [*rows, (INSTANT, "timestamp", "the read", None)] if spec.instant else rows


def _origin(used: InputSpec) -> str:
    keys = keys_text(used)
    return f"{used.view}@{used.view_version}" + (f" ({keys})" if keys else "")


def _feature_row(feature: FeatureSpec) -> tuple[object, ...]:
    shown = f"column {feature.column}" if feature.aggregate is None else _aggregate(feature.aggregate)
    return feature.name, feature.dtype, shown, feature.default


def _aggregate(spec: AggregateSpec) -> str:
    inner = ", ".join(str(part) for part in (spec.column, spec.n, spec.quantile) if part is not None)
    window = "lifetime" if spec.window_us is None else format_duration(spec.window_us)
    hop = f", hop {format_duration(spec.hop_us)}" if spec.hop_us else ""
    where = f", where {spec.where}" if spec.where else ""
    shown = f"{spec.function}({inner})" if inner else spec.function
    by = f" by {spec.by}" if spec.by else ""
    return f"{shown}{by} over {window}{hop}{where}"
