"""Wrong feature stores: the oracle with one bug each, most of them seen in released systems."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from asof.definitions import Window
from asof.testing import exact, oracle

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


@dataclass(frozen=True)
class Bug:
    """A function of the oracle and what replaces it, given the right one."""

    name: str
    module: ModuleType
    function: str
    wrong: Callable[[Any], Callable[..., Any]]


def _bug(name: str, function: str, wrong: Callable[..., Any], module: ModuleType = oracle) -> Bug:
    return Bug(name, module, function, lambda right: wrong)


def _around(name: str, function: str, wrong: Callable[[Any], Callable[..., Any]], module: ModuleType = oracle) -> Bug:
    return Bug(name, module, function, wrong)


def _start(window: Window, t: int) -> int:
    return t - (window.length_us or 0)


def _floor(x: int, hop: int) -> int:
    return x // hop * hop


def _last_value_of(facts: Any) -> dict[Any, Any]:
    return {fact.values["id"]: fact for fact in facts if not fact.deleted}


TIME = [
    _bug("rows not yet available are seen", "known", lambda fact, t: True),
    _bug("a row is not known at the instant it becomes available", "known", lambda fact, t: fact.available_at < t),
    _bug("a state's row from the future is seen", "begun", lambda fact, t: True),
    _bug("a state does not hold at its own instant", "begun", lambda fact, t: fact.event_time < t),
    _bug("the scored event is inside its own features", "past", lambda fact, t: fact.event_time <= t),
    _bug("events from the future are counted", "past", lambda fact, t: True),
    _bug("the head sits on the hop grid", "past", lambda fact, t: fact.event_time < _floor(t, 2)),
    _around(
        "the delay is ignored",
        "usable",
        lambda right: lambda source, rows, now: right(replace(source, delay=None), rows, now),
    ),
    _around(
        "available_at is ignored, event time stands in",
        "usable",
        lambda right: lambda source, rows, now: right(replace(source, available_at=None), rows, now),
    ),
]

STATES = [
    _bug("a tie goes to ingest order alone", "recency", lambda fact: fact.order),
    _bug("a tie is decided without available_at", "recency", lambda fact: (fact.event_time, fact.order)),
    _bug("a tie goes to the first row", "recency", lambda fact: (fact.event_time, fact.available_at, -fact.order)),
    _bug("the latest write overwrites a newer value", "recency", lambda fact: (fact.available_at, fact.order)),
    _bug("the oldest row wins", "recency", lambda fact: (-fact.event_time, fact.available_at, fact.order)),
    _bug(
        "age exactly ttl is expired",
        "expired",
        lambda view, fact, t: view.ttl_us is not None and t - fact.event_time >= view.ttl_us,
    ),
    _bug("ttl is ignored", "expired", lambda view, fact, t: False),
    _bug(
        "ttl counts from available_at",
        "expired",
        lambda view, fact, t: view.ttl_us is not None and t - fact.available_at > view.ttl_us,
    ),
    _around(
        "a tombstone is a row of values",
        "newest",
        lambda right: lambda view, facts, t: right(view, [replace(fact, deleted=False) for fact in facts], t),
    ),
    _around(
        "a tombstone is skipped, the row before it lives on",
        "newest",
        lambda right: lambda view, facts, t: right(view, [fact for fact in facts if not fact.deleted], t),
    ),
]

WINDOWS = [
    _bug(
        "the tail is not on the grid", "window_start", lambda w, t: -math.inf if w.length_us is None else _start(w, t)
    ),
    _bug(
        "the tail is one hop late",
        "window_start",
        lambda w, t: -math.inf if w.length_us is None else _floor(_start(w, t), w.hop_us) + w.hop_us,
    ),
    _bug(
        "the tail is one hop early",
        "window_start",
        lambda w, t: -math.inf if w.length_us is None else _floor(_start(w, t), w.hop_us) - w.hop_us,
    ),
    _bug(
        "the tail's own instant is outside",
        "window_start",
        lambda w, t: -math.inf if w.length_us is None else _floor(_start(w, t), w.hop_us) + 1,
    ),
    _bug(
        "the grid rounds towards zero, so it bends at the epoch",
        "window_start",
        lambda w, t: -math.inf if w.length_us is None else int(Fraction(_start(w, t), w.hop_us)) * w.hop_us,
    ),
    _bug(
        "the grid rounds to the nearest",
        "window_start",
        lambda w, t: -math.inf if w.length_us is None else round(Fraction(_start(w, t), w.hop_us)) * w.hop_us,
    ),
    _bug("windows have no tail", "window_start", lambda w, t: -math.inf),
    _around(
        "the smallest hop of all serves every window",
        "window_start",
        lambda right: lambda w, t: right(w if w.length_us is None else Window(f"{w.length_us}us", hop="1us"), t),
    ),
    _around(
        "missing means that the windows are empty",
        "windows",
        lambda right: (
            lambda view, seen, t, predicates: right(
                view, [fact for fact in seen if t - fact.event_time <= 6], t, predicates
            )
        ),
    ),
]

IDENTITY = [
    _bug("duplicates are counted", "first_arrivals", lambda event_id, arrived: [f for f in arrived if not f.deleted]),
    _bug("the last arrival wins", "first_arrivals", lambda event_id, arrived: list(_last_value_of(arrived).values())),
    _bug(
        "the first in ingest order wins, whenever it arrived",
        "first_arrivals",
        lambda event_id, arrived: list(_last_value_of(reversed(arrived)).values()),
    ),
    _bug(
        "the first to happen wins, whenever it arrived",
        "first_arrivals",
        lambda event_id, arrived: list(
            _last_value_of(sorted(arrived, key=lambda f: (-f.event_time, -f.order))).values()
        ),
    ),
    _around(
        "duplicates are told by their time",
        "first_arrivals",
        lambda right: (
            lambda event_id, arrived: list({f.event_time: f for f in reversed(right(event_id, arrived))}.values())
        ),
    ),
    _around(
        "a retraction is an event",
        "events",
        lambda right: lambda source, facts, t: right(source, [replace(f, deleted=False) for f in facts], t),
    ),
    _bug("retractions are ignored", "retracted", lambda event_id, arrived: set()),
    _bug(
        "a retraction ahead of its event is lost",
        "retracted",
        lambda event_id, arrived: {
            d.values[event_id]
            for d in arrived
            if d.deleted
            and any(
                f.values[event_id] == d.values[event_id] and not f.deleted and f.available_at <= d.available_at
                for f in arrived
            )
        },
    ),
    _bug(
        "an event that arrives again after its retraction counts",
        "retracted",
        lambda event_id, arrived: {
            d.values[event_id]
            for d in arrived
            if d.deleted
            and not any(
                f.values[event_id] == d.values[event_id] and not f.deleted and f.available_at > d.available_at
                for f in arrived
            )
        },
    ),
    _around(
        "retractions reach back to before they were known",
        "events",
        lambda right: (
            lambda source, facts, t: right(
                source, [replace(f, available_at=-(2**62)) if f.deleted else f for f in facts], t
            )
        ),
    ),
    _around(
        "events of equal time are in order of arrival by available_at",
        "events",
        lambda right: (
            lambda source, facts, t: sorted(
                right(source, facts, t), key=lambda f: (f.event_time, f.available_at, f.order)
            )
        ),
    ),
    _around(
        "first and last go by ingest order alone",
        "events",
        lambda right: lambda source, facts, t: sorted(right(source, facts, t), key=lambda f: f.order),
    ),
    _around(
        "the view's filter runs before duplicates are dropped",
        "history",
        lambda right: (
            lambda view, rows, questions, *, predicates: right(
                view,
                [
                    row
                    for row in rows
                    if view.where is None or predicates[view.where](row) is True or row["gone"] is True
                ],
                questions,
                predicates=predicates,
            )
        ),
    ),
    _around(
        "a part of the join key is ignored",
        "concerns",
        lambda right: lambda view, fact, key, predicates: right(view, fact, (key[0], *_rest(view, fact)), predicates),
    ),
    _around(
        "a null key is a key",
        "concerns",
        lambda right: (
            lambda view, fact, key, predicates: right(
                view, fact, tuple(fact.values[n] if v is None else v for (n, _), v in _parts(view, key)), predicates
            )
        ),
    ),
]

VALUES = [
    _bug("NaN is a value", "without_nan", lambda value: value),
    _bug("infinities are null", "without_nan", lambda v: None if isinstance(v, float) and not math.isfinite(v) else v),
    _bug("filters are ignored", "holds", lambda where, fact, predicates: True),
    _bug(
        "unknown passes a filter",
        "holds",
        lambda where, fact, predicates: where is None or predicates[where](fact.values) is not False,
    ),
    _around(
        "an aggregate's filter is ignored",
        "inputs",
        lambda right: lambda spec, inside, predicates: right(replace(spec, where=None), inside, predicates),
    ),
    _around(
        "a count of a column counts nulls",
        "inputs",
        lambda right: (
            lambda spec, inside, predicates: right(
                replace(spec, column=None) if spec.function == "count" else spec, inside, predicates
            )
        ),
    ),
    _around(
        "an event's value is in the window once for equal values",
        "inputs",
        lambda right: lambda spec, inside, predicates: list(dict.fromkeys(right(spec, inside, predicates))),
    ),
    _around(
        "the default fills null but not missing",
        "with_defaults",
        lambda right: (
            lambda values, defaults, status, time: (
                right(values, {} if status else defaults, status, time)
                if not status
                else right(values, dict.fromkeys(defaults), status, time)
            )
        ),
    ),
    _around(
        "defaults are ignored",
        "with_defaults",
        lambda right: lambda values, defaults, status, time: right(values, dict.fromkeys(defaults), status, time),
    ),
    _around(
        "a default makes a value present",
        "with_defaults",
        lambda right: (
            lambda values, defaults, status, time: _present_where_filled(right(values, defaults, status, time))
        ),
    ),
    _around(
        "zero counts as null for the default",
        "with_defaults",
        lambda right: (
            lambda values, defaults, status, time: right(
                {
                    n: None if v == 0 and isinstance(v, int) and defaults[n] is not None else v
                    for n, v in values.items()
                },
                defaults,
                status,
                time,
            )
        ),
    ),
    _around(
        "expired is marked present",
        "with_defaults",
        lambda right: (
            lambda values, defaults, status, time: right(
                values, defaults, None if status == "expired" else status, time
            )
        ),
    ),
]


def _on(function: str, wrong: Callable[[list[Any]], Any]) -> Callable[[Any], Callable[..., Any]]:
    """Return a patch of `aggregate` that answers `function` over at least one value with `wrong`."""
    return lambda right: (
        lambda spec, values: wrong(values) if spec.function == function and values else right(spec, values)
    )


def _float_variance(values: list[Any]) -> float | None:
    if len(values) < 2 or any(map(math.isinf, values)):
        return None
    n, total = len(values), sum(map(float, values))
    return (sum(float(v) * float(v) for v in values) - total * total / n) / (n - 1)


AGGREGATES = [
    _around(
        "an empty sum is 0",
        "aggregate",
        lambda right: lambda spec, values: 0 if spec.function == "sum" and not values else right(spec, values),
    ),
    _around(
        "an empty count is null",
        "aggregate",
        lambda right: lambda spec, values: right(spec, values) or None,
    ),
    _around("floats are summed one by one", "aggregate", _on("sum", lambda values: reduce(add, values))),
    _around(
        "an integer sum wraps",
        "aggregate",
        _on("sum", lambda v: exact.total(v) if not isinstance(v[0], int) else (sum(v) + 2**63) % 2**64 - 2**63),
    ),
    _around("a mean is rounded to whole numbers", "aggregate", _on("mean", lambda v: _whole(exact.mean(v)))),
    _around(
        "the variance is that of a population",
        "aggregate",
        _on("variance", lambda v: None if (x := exact.variance(v)) is None else x * (len(v) - 1) / len(v)),
    ),
    _around(
        "the variance is computed from squares in floats",
        "aggregate",
        _on("variance", _float_variance),
    ),
    _around("the deviation of one value is 0", "aggregate", _on("stddev", lambda v: exact.stddev(v) or 0.0)),
    _around("stddev is the variance", "aggregate", _on("stddev", exact.variance)),
    _around("min is max", "aggregate", _on("min", exact.largest)),
    _around("min does not tell -0.0 from 0.0", "aggregate", _on("min", min)),
    _around("max does not tell 0.0 from -0.0", "aggregate", _on("max", max)),
    _around("first is last", "aggregate", _on("first", lambda v: v[-1])),
    _around("last is the largest", "aggregate", _on("last", exact.largest)),
    _around(
        "last_n is latest first",
        "aggregate",
        lambda right: lambda spec, v: v[: -spec.n - 1 : -1] if spec.function == "last_n" and v else right(spec, v),
    ),
    _around(
        "first_n gives one value too many",
        "aggregate",
        lambda right: lambda spec, v: right(replace(spec, n=spec.n + 1) if spec.function == "first_n" else spec, v),
    ),
    _around("count_distinct counts all", "aggregate", _on("count_distinct", len)),
    _around("-0.0 is another value than 0.0", "aggregate", _on("count_distinct", lambda v: len(set(map(repr, v))))),
    _around(
        "top_k breaks ties by the larger value",
        "aggregate",
        lambda right: lambda spec, v: _top_largest(v, spec.n) if spec.function == "top_k" and v else right(spec, v),
    ),
    _around(
        "top_k goes by value alone",
        "aggregate",
        lambda right: lambda spec, v: sorted(set(v))[: spec.n] if spec.function == "top_k" and v else right(spec, v),
    ),
    _around(
        "a percentile's rank is rounded up",
        "aggregate",
        lambda right: (
            lambda spec, v: (
                float(sorted(v)[math.ceil(spec.quantile * (len(v) - 1))])
                if spec.function == "percentile" and v
                else right(spec, v)
            )
        ),
    ),
    _around(
        "infinities of both signs make NaN",
        "aggregate",
        _on("sum", lambda v: math.nan if {math.inf, -math.inf} <= set(v) else exact.total(v)),
    ),
]

ONLINE = [
    _around(
        "a window is frozen when it is written",
        "online",
        lambda right: (
            lambda view, rows, questions, *, materialized_at, predicates: right(
                view,
                rows,
                [(key, materialized_at) for key, _ in questions],
                materialized_at=materialized_at,
                predicates=predicates,
            )
        ),
    ),
    _around(
        "ttl is not looked at online",
        "online",
        lambda right: (
            lambda view, rows, questions, *, materialized_at, predicates: _without_ttl(
                right, view, rows, questions, materialized_at, predicates
            )
        ),
    ),
    _around(
        "a fact that begins after materialization is not stored",
        "online",
        lambda right: (
            lambda view, rows, questions, *, materialized_at, predicates: right(
                view,
                [row for row in rows if oracle._us(row["ts"]) <= materialized_at],
                questions,
                materialized_at=materialized_at,
                predicates=predicates,
            )
        ),
    ),
    _around(
        "rows that arrive after materialization are stored",
        "online",
        lambda right: (
            lambda view, rows, questions, *, materialized_at, predicates: right(
                view, rows, questions, materialized_at=2**60, predicates=predicates
            )
        ),
    ),
]

GROUPS = [
    _around(
        "a null secondary key is a group",
        "grouped",
        lambda right: lambda spec, inside, predicates: _with_null_group(right, spec, inside, predicates),
    ),
    _bug(
        "a group without an input is there",
        "grouped",
        lambda spec, inside, predicates: {
            key: oracle.single(spec, [f for f in inside if f.values[spec.by] == key], predicates)
            for key in sorted({f.values[spec.by] for f in inside} - {None})
        },
    ),
    _around(
        "a count without groups is null",
        "grouped",
        lambda right: lambda spec, inside, predicates: right(spec, inside, predicates) or None,
    ),
    _around(
        "groups stand in the order of their events",
        "grouped",
        lambda right: lambda spec, inside, predicates: _by_event(right(spec, inside, predicates), spec, inside),
    ),
    _around(
        "the where of a grouped aggregate is ignored",
        "grouped",
        lambda right: lambda spec, inside, predicates: right(replace(spec, where=None), inside, predicates),
    ),
    _around(
        "every group has the answer of all events",
        "grouped",
        lambda right: (
            lambda spec, inside, predicates: (
                (found := right(spec, inside, predicates))
                and dict.fromkeys(found, oracle.single(spec, inside, predicates))
            )
        ),
    ),
]

BUGS = [*TIME, *STATES, *WINDOWS, *IDENTITY, *VALUES, *AGGREGATES, *ONLINE]


def _with_null_group(right: Any, spec: Any, inside: Any, predicates: Any) -> Any:
    nameless = [fact for fact in inside if fact.values[spec.by] is None]
    found = right(spec, inside, predicates)
    return {**(found or {}), None: oracle.single(spec, nameless, predicates)} if nameless else found


def _by_event(found: Any, spec: Any, inside: Any) -> Any:
    return found and {
        fact.values[spec.by]: found[fact.values[spec.by]] for fact in inside if fact.values[spec.by] in found
    }


def _parts(view: Any, key: tuple[Any, ...]) -> Any:
    return zip(view.entity.join_keys, key, strict=True)


def _rest(view: Any, fact: Any) -> tuple[Any, ...]:
    return tuple(fact.values[name] for name, _ in view.entity.join_keys[1:])


def _present_where_filled(answer: oracle.Answer) -> oracle.Answer:
    statuses = {n: "present" if answer.values[n] is not None else s for n, s in answer.statuses.items()}
    return replace(answer, statuses=statuses)


def _whole(value: float | None) -> float | None:
    return value if value is None or math.isinf(value) else float(round(value))


def _top_largest(values: list[Any], n: int) -> list[Any]:
    counts = Counter(v + 0.0 if isinstance(v, float) else v for v in values)
    return sorted(sorted(counts, reverse=True), key=lambda v: -counts[v])[:n]


def _without_ttl(right: Any, view: Any, rows: Any, questions: Any, materialized_at: int, predicates: Any) -> Any:
    true = oracle.expired
    try:
        oracle.expired = lambda view, fact, t: False
        return right(view, rows, questions, materialized_at=materialized_at, predicates=predicates)
    finally:
        oracle.expired = true
