"""The oracle: the specification as a nested loop. For every question, look at every source row. Slow, obviously right.

It reads definitions and rows as Python objects, uses no kernel, no SQL engine and no arrays, and everything else in the
library is tested against it.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from asof.clock import to_us
from asof.definitions import EventView, FeatureView, Source, StateView
from asof.testing.exact import aggregate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asof.definitions import Aggregate, Window
    from asof.definitions.missing import Missing

    Row = Mapping[str, Any]
    Predicates = Mapping[str, Callable[[Row], object]]
    Question = tuple[tuple[Any, ...], int]


@dataclass(frozen=True)
class Fact:
    """A source row in the terms of the specification.

    Attributes:
        order: Its place in ingest order.
        event_time: When it happened, microseconds since the epoch, UTC.
        available_at: When it could have been known, likewise.
        deleted: Whether it takes something back.
        values: The row's columns; NaN has become None.
    """

    order: int
    event_time: int
    available_at: int
    deleted: bool
    values: Row


@dataclass(frozen=True)
class Answer:
    """What one view says about one key at one instant.

    Attributes:
        values: By feature, defaults applied.
        statuses: By feature: present, null, missing or expired; a default does not change it.
        event_time: Of the newest row that the answer rests on; None where there is none.
    """

    values: dict[str, Any]
    statuses: dict[str, str]
    event_time: int | None


def history(
    view: FeatureView,
    rows: Sequence[Row],
    questions: Sequence[Question],
    *,
    predicates: Predicates | None = None,
    now_us: int | None = None,
) -> list[Answer]:
    """Return what was known at every instant that is asked about.

    Args:
        view: The view to evaluate; its source says which columns are which, its data is not read.
        rows: The source's rows in ingest order; times as datetimes (naive means UTC) or microseconds.
        questions: Pairs of join key values and instant in microseconds; None in a key is a key that nothing has.
        predicates: For every SQL predicate and `select` expression of the view, its text and a function of a row; of
            a predicate only True counts. A Python transform is not run: give rows with its outputs.
        now_us: The clock, where the source has a `max_skew`.

    Returns:
        One answer per question, in order.

    Raises:
        FeatureValueError: a sum that its type cannot hold.
    """
    facts = with_keys(view, usable(view.source, selected(view, rows, predicates or {}), now_us))
    return [answer(view, facts, key, t, predicates or {}) for key, t in questions]


def online(
    view: FeatureView,
    rows: Sequence[Row],
    questions: Sequence[Question],
    *,
    materialized_at: int,
    predicates: Predicates | None = None,
    now_us: int | None = None,
) -> list[Answer]:
    """Return what a store that was materialized at an instant answers when it is read then or later.

    That is history over the rows that were known at `materialized_at`; see `history` for everything else.
    """
    facts = with_keys(view, usable(view.source, selected(view, rows, predicates or {}), now_us))
    facts = [fact for fact in facts if fact.available_at <= materialized_at]
    return [answer(view, facts, key, t, predicates or {}) for key, t in questions]


def treated(view: FeatureView, feature: str, missing: Missing | None) -> FeatureView:
    """Return the view that gives of one feature what a service gives that treats its missing values.

    A service's default stands where the feature's own stood, and a limit of age is a ttl, whichever is shorter. What
    the returned view says of other features is not to be looked at.
    """
    changed = copy.copy(view)
    if missing is None:
        return changed
    default = {} if missing.default is ... else {"default": missing.default}
    if isinstance(view, StateView):
        features = [replace(one, **default) if one.name == feature else one for one in view.features]
        object.__setattr__(changed, "features", tuple(features))
        ttls = [us for us in (view.ttl_us, missing.limit_us) if us is not None]
        object.__setattr__(changed, "ttl_us", min(ttls, default=None))
    elif isinstance(view, EventView):
        aggregates = [
            replace(one, **default) if feature in map(one.feature_name, one.windows) else one for one in view.aggregates
        ]
        object.__setattr__(changed, "aggregates", tuple(aggregates))
    return changed


def answer(view: FeatureView, facts: Sequence[Fact], key: tuple[Any, ...], t: int, predicates: Predicates) -> Answer:
    """Return what the view says about `key` at `t`."""
    if isinstance(view, StateView):
        return newest(view, [fact for fact in facts if concerns(view, fact, key, predicates)], t)
    if isinstance(view, EventView):
        seen = [fact for fact in events(view.source, facts, t) if concerns(view, fact, key, predicates)]
        return windows(view, seen, t, predicates)
    raise TypeError(f"{view!r} is neither a StateView nor an EventView")


def concerns(view: FeatureView, fact: Fact, key: tuple[Any, ...], predicates: Predicates) -> bool:
    """Return whether the row is about the key, and exists for the view."""
    its_key = tuple(fact.values[name] for name, _ in view.entity.join_keys)
    return its_key == key and holds(view.where, fact, predicates)


def newest(view: StateView, facts: Sequence[Fact], t: int) -> Answer:
    """Return the newest visible row: at or before t, known by t; where it is gone or too old, nulls."""
    visible = [fact for fact in facts if begun(fact, t) and known(fact, t)]
    found = max(visible, key=recency, default=None)
    if found is None or found.deleted:
        status: str | None = "missing"
    elif expired(view, found, t):
        status = "expired"
    else:
        status = None
    values = {f.name: None if found is None or status else found.values.get(f.column or f.name) for f in view.features}
    event_time = None if found is None or found.deleted else found.event_time
    return with_defaults(values, {f.name: f.default for f in view.features}, status, event_time)


def known(fact: Fact, t: int) -> bool:
    """Return whether the row could have been known at t."""
    return fact.available_at <= t


def begun(fact: Fact, t: int) -> bool:
    """Return whether a fact holds at t: from its event time on, that instant included."""
    return fact.event_time <= t


def past(fact: Fact, t: int) -> bool:
    """Return whether an event happened before t: the event at t itself is outside its own features."""
    return fact.event_time < t


def recency(fact: Fact) -> tuple[int, int, int]:
    """Return what decides which of two rows of a state is newer."""
    return fact.event_time, fact.available_at, fact.order


def expired(view: StateView, fact: Fact, t: int) -> bool:
    """Return whether the row is older than the view's ttl; age exactly ttl is still valid."""
    return view.ttl_us is not None and t - fact.event_time > view.ttl_us


def events(source: Source, facts: Sequence[Fact], t: int) -> list[Fact]:
    """Return the events visible at t, by (event time, ingest order): each id once, retracted ones not at all."""
    arrived = [fact for fact in facts if known(fact, t)]
    if source.event_id is not None:
        gone = retracted(source.event_id, arrived)
        arrived = [f for f in first_arrivals(source.event_id, arrived) if f.values[source.event_id] not in gone]
    return sorted((fact for fact in arrived if past(fact, t)), key=lambda fact: (fact.event_time, fact.order))


def retracted(event_id: str, arrived: Sequence[Fact]) -> set[Any]:
    """Return the ids that a known row takes back, whether it came before its event or after."""
    return {fact.values[event_id] for fact in arrived if fact.deleted}


def first_arrivals(event_id: str, arrived: Sequence[Fact]) -> list[Fact]:
    """Return every event id once: what arrived first, by (available at, ingest order)."""
    first: dict[Any, Fact] = {}
    for fact in sorted(arrived, key=lambda fact: (fact.available_at, fact.order)):
        if not fact.deleted:
            first.setdefault(fact.values[event_id], fact)
    return list(first.values())


def windows(view: EventView, seen: Sequence[Fact], t: int, predicates: Predicates) -> Answer:
    """Return every aggregate over every window; nothing ever seen is empty windows, and missing."""
    values, defaults = {}, {}
    for spec in view.aggregates:
        for window in spec.windows:
            inside = [fact for fact in seen if window_start(window, t) <= fact.event_time]
            name = spec.feature_name(window)
            values[name] = grouped(spec, inside, predicates) if spec.by else single(spec, inside, predicates)
            defaults[name] = spec.default
    event_time = seen[-1].event_time if seen else None
    return with_defaults(values, defaults, None if seen else "missing", event_time)


def single(spec: Aggregate, inside: Sequence[Fact], predicates: Predicates) -> Any:
    """Return the answer of an aggregate over the events inside its window."""
    return aggregate(spec, inputs(spec, inside, predicates))


def grouped(spec: Aggregate, inside: Sequence[Fact], predicates: Predicates) -> dict[Any, Any] | None:
    """Return the answer for each value of the secondary key that has an input, ascending; none is an empty window."""
    keys = sorted({fact.values[spec.by] for fact in inside if spec.by and fact.values[spec.by] is not None})
    groups = {key: [fact for fact in inside if spec.by and fact.values[spec.by] == key] for key in keys}
    answers = {key: single(spec, facts, predicates) for key, facts in groups.items() if inputs(spec, facts, predicates)}
    return answers if answers or spec.function == "count" else None


def window_start(window: Window, t: int) -> float:
    """Return the earliest event time inside the window at t: t minus its length, down to its grid from the epoch."""
    if window.length_us is None:
        return -math.inf
    return (t - window.length_us) // window.hop_us * window.hop_us


def selected(view: FeatureView, rows: Sequence[Row], predicates: Predicates) -> Sequence[Row]:
    """Return the rows with the columns that the view's `select` adds; every expression sees the source's own only."""
    return [{**row, **{name: without_nan(predicates[sql](_clean(row))) for name, sql in view.select}} for row in rows]


def _clean(row: Row) -> Row:
    return {name: without_nan(value) for name, value in row.items()}


def usable(source: Source, rows: Sequence[Row], now_us: int | None = None) -> list[Fact]:
    """Return the rows that are not quarantined: with their times and id, and not too far ahead of the clock."""
    facts = []
    for order, row in enumerate(rows):
        values = {name: without_nan(value) for name, value in row.items()}
        times = [_us(values[column]) for column in (source.event_time, source.available_at) if column is not None]
        event_time = times[0]
        if None in times or event_time is None or (source.event_id is not None and values[source.event_id] is None):
            continue
        if now_us is not None and source.max_skew_us is not None and event_time > now_us + source.max_skew_us:
            continue
        available_at = event_time + source.delay_us if source.available_at is None else times[-1]
        deleted = source.deleted is not None and values[source.deleted] is True
        facts.append(Fact(order, event_time, available_at or 0, deleted, values))
    return facts


def with_keys(view: FeatureView, facts: Sequence[Fact]) -> list[Fact]:
    """Return the rows that are not quarantined for want of a key; their ids do not count as arrived.

    A retraction needs no key: it names an event, whoever's that is.
    """
    names = [name for name, _ in view.entity.join_keys]
    retracting = isinstance(view, EventView)
    return [
        fact for fact in facts if (retracting and fact.deleted) or all(fact.values[name] is not None for name in names)
    ]


def inputs(spec: Aggregate, inside: Sequence[Fact], predicates: Predicates) -> list[Any]:
    """Return the non-null inputs of an aggregate; one without a column counts rows."""
    counted = [fact.values for fact in inside if holds(spec.where, fact, predicates)]
    return [v for row in counted if (v := True if spec.column is None else row[spec.column]) is not None]


def with_defaults(
    values: dict[str, Any], defaults: Mapping[str, Any], status: str | None, event_time: int | None
) -> Answer:
    """Return the answer: `status` for all values or, where it is None, each its own; defaults replace null anyhow."""
    statuses = {name: status or ("null" if value is None else "present") for name, value in values.items()}
    filled = {name: defaults[name] if value is None else value for name, value in values.items()}
    return Answer(filled, statuses, event_time)


def holds(where: str | None, fact: Fact, predicates: Predicates) -> bool:
    """Return whether a predicate is true of the row; unknown is not true."""
    return where is None or predicates[where](fact.values) is True


def without_nan(value: Any) -> Any:
    """Return the value, or None for NaN."""
    return None if value != value else value


def _us(value: Any) -> int | None:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return to_us(value) if isinstance(value, datetime) else value
