"""Says in words what a feature is, and what a service does where it has no value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asof.clock import iso
from asof.durations import format_duration

if TYPE_CHECKING:
    from asof.plan.specs import AggregateSpec, FeatureSpec, MissingSpec, StreamSpec, ViewSpec


def definition(view: ViewSpec, feature: FeatureSpec) -> str:
    """Return a feature's definition: sum of amount over 30d on a grid of 6h, from transactions per customer."""
    if feature.aggregate is None:
        shown = f"column {feature.column or feature.name} of the newest row"
    else:
        shown = _aggregate(feature.aggregate)
    parts = [f"{shown}, from {view.source.name} per {view.entity.name}"]
    if view.where is not None:
        parts.append(f"rows where {view.where}")
    if view.ttl_us is not None:
        parts.append(f"valid for {format_duration(view.ttl_us)}")
    if feature.default is not None:
        parts.append(f"{feature.default} where it is null")
    return "; ".join(parts)


def missing_text(missing: MissingSpec | None) -> str:
    """Return a treatment in words: default 0.0, expired after 7d, indicator; empty for none."""
    if missing is None:
        return ""
    words = []
    if missing.default is not msgspec.UNSET:
        words.append("no default" if missing.default is None else f"default {missing.default}")
    if missing.limit_us is not None:
        words.append(f"expired after {format_duration(missing.limit_us)}")
    if missing.indicator:
        words.append("indicator")
    if missing.error:
        words.append("error")
    return ", ".join(words)


def _aggregate(spec: AggregateSpec) -> str:
    sizes = [str(size) for size in (spec.n, spec.quantile) if size is not None]
    shown = spec.function + (f"({', '.join(sizes)})" if sizes else "")
    shown += f" of {spec.column}" if spec.column is not None else " of rows"
    shown += f" by {spec.by}" if spec.by is not None else ""
    if spec.window_us is None:
        shown += " over lifetime"
    else:
        shown += f" over {format_duration(spec.window_us)} on a grid of {format_duration(spec.hop_us)}"
    return shown + (f", where {spec.where}" if spec.where is not None else "")


def stream_text(stream: StreamSpec) -> str:
    """Return where the rows of a stream come from: pushed, or a topic; and the history before them."""
    shown = "pushed rows" if stream.topic is None else f"topic {stream.topic} ({stream.format})"
    return shown if stream.history is None else f"{shown} after {stream.history.name}"


def meeting_text(stream: StreamSpec) -> str:
    """Return how a stream meets its history, an empty text where it has none."""
    if stream.history is None:
        return ""
    place = f"{stream.history.name}, {stream.history.format or stream.history.kind} {stream.history.path}"
    if stream.positions is not None:
        return f"{place}, the topic's archive by {' and '.join(stream.positions)}"
    return f"{place}, event times before {iso(stream.handover_us or 0)}"
