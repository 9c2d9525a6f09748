"""The oracle on cases small enough to work out by hand, one per sentence of the specification."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from asof.definitions import (
    Aggregate,
    Count,
    CountDistinct,
    Entity,
    EventView,
    Feature,
    FileSource,
    Last,
    LastN,
    Max,
    Mean,
    Min,
    Percentile,
    StateView,
    Stddev,
    Sum,
    TopK,
    Variance,
    Window,
)
from asof.errors import FeatureValueError
from asof.testing import oracle
from asof.testing.comparison import agrees, identical

USER = Entity("user", dtype="int64")
WHOLE = [Window("lifetime")]


def state(rows: list[dict[str, Any]], t: int, ttl: timedelta | None = None, **roles: Any) -> oracle.Answer:
    source = FileSource("rows", path="rows.parquet", event_time="at", **roles)
    view = StateView("v", entity=USER, source=source, features=[Feature("x", default=-1)], ttl=ttl)
    return oracle.history(view, [{"user": 1, **row} for row in rows], [((1,), t)])[0]


def event(rows: list[dict[str, Any]], t: int, *features: Aggregate, key: Any = 1, **roles: Any) -> oracle.Answer:
    source = FileSource("rows", path="rows.parquet", event_time="at", **roles)
    view = EventView("v", entity=USER, source=source, features=features)
    return oracle.history(view, [{"user": 1, **row} for row in rows], [((key,), t)])[0]


def value(values: list[Any], feature: Aggregate) -> Any:
    answer = event([{"at": i, "x": x} for i, x in enumerate(values)], 100, feature)
    return next(iter(answer.values.values()))


def test_a_state_holds_from_its_own_instant() -> None:
    """Event time equal to t is visible; one microsecond earlier nothing is."""
    assert state([{"at": 5, "x": 7}], 5).values == {"x": 7}
    assert state([{"at": 5, "x": 7}], 4) == oracle.Answer({"x": -1}, {"x": "missing"}, None)


def test_a_row_is_known_from_its_available_at() -> None:
    """A row backfilled later is not seen before it was available."""
    rows = [{"at": 1, "known": 1, "x": 1}, {"at": 2, "known": 9, "x": 2}]
    assert state(rows, 8, available_at="known").values == {"x": 1}
    assert state(rows, 9, available_at="known").values == {"x": 2}


def test_a_delay_stands_in_for_available_at() -> None:
    """With a delay of 3 a row of instant 1 is known at 4."""
    rows = [{"at": 1, "x": 1}]
    assert state(rows, 3, delay=timedelta(microseconds=3)).statuses == {"x": "missing"}
    assert state(rows, 4, delay=timedelta(microseconds=3)).statuses == {"x": "present"}


def test_ties_go_to_available_at_then_ingest_order() -> None:
    """Of two rows with one event time the one known later wins; of two equal ones the later row."""
    rows = [{"at": 1, "known": 3, "x": 1}, {"at": 1, "known": 2, "x": 2}]
    assert state(rows, 9, available_at="known").values == {"x": 1}
    assert state([{"at": 1, "x": 1}, {"at": 1, "x": 2}], 9).values == {"x": 2}


def test_age_exactly_ttl_is_valid() -> None:
    """One microsecond more is expired: the default, with the reason kept."""
    ttl = timedelta(microseconds=4)
    assert state([{"at": 1, "x": 7}], 5, ttl).statuses == {"x": "present"}
    assert state([{"at": 1, "x": 7}], 6, ttl) == oracle.Answer({"x": -1}, {"x": "expired"}, 1)


def test_a_tombstone_makes_the_entity_missing_until_it_is_written_again() -> None:
    """The row before the tombstone does not come back; a later one does."""
    rows: list[dict[str, Any]] = [
        {"at": 1, "x": 1, "gone": False},
        {"at": 3, "x": None, "gone": True},
        {"at": 5, "x": 2, "gone": None},
    ]
    found = [state(rows, t, deleted="gone").statuses["x"] for t in (2, 3, 4, 5)]
    assert found == ["present", "missing", "missing", "present"]


def test_a_null_is_known_to_be_null() -> None:
    """The newest row's null wins over an older value; NaN is null."""
    nulls: list[Any] = [None, math.nan]
    for null in nulls:
        assert state([{"at": 1, "x": 1.0}, {"at": 2, "x": null}], 3).statuses == {"x": "null"}


def test_the_scored_event_is_outside_its_own_window() -> None:
    """An event at t is not counted at t."""
    assert event([{"at": 5}], 5, Count(windows=WHOLE)).values == {"count_lifetime": 0}
    assert event([{"at": 5}], 6, Count(windows=WHOLE)).values == {"count_lifetime": 1}


def test_the_tail_sits_on_the_hop_grid_from_the_epoch() -> None:
    """A window of 6 with hop 3 at t = 10 begins at floor(4, 3) = 3; at t = 2 it begins at floor(-4, 3) = -6."""
    count = Count(windows=[Window("6us", hop="3us")])
    rows = [{"at": at} for at in range(-10, 10)]
    assert event(rows, 10, count).values == {"count_6us": 7}
    assert event(rows, 2, count).values == {"count_6us": 8}


def test_an_entity_never_seen_has_empty_windows() -> None:
    """Counts are 0, the rest is null, and the status says missing; a default replaces null."""
    features = (Count(windows=WHOLE), Sum("x", windows=WHOLE), Max("x", windows=WHOLE, default=5))
    answer = event([{"at": 1, "x": 1}], 9, *features, key=2)
    assert answer.values == {"count_lifetime": 0, "x_sum_lifetime": None, "x_max_lifetime": 5}
    assert set(answer.statuses.values()) == {"missing"}
    assert event([{"at": 1, "x": 1}], 9, *features, key=None) == answer


def test_an_id_counts_once_and_the_first_arrival_wins() -> None:
    """The first by available_at, not by place in the file."""
    rows = [{"at": 1, "known": 5, "id": "a", "x": 10}, {"at": 1, "known": 2, "id": "a", "x": 20}]
    total = Sum("x", windows=WHOLE)
    assert event(rows, 9, total, event_id="id", available_at="known").values == {"x_sum_lifetime": 20}
    assert event(rows, 9, total, available_at="known").values == {"x_sum_lifetime": 30}


@pytest.mark.parametrize("retraction_known", [2, 6])
def test_a_retraction_removes_its_event_whichever_came_first(retraction_known: int) -> None:
    """Once both are known the event contributes nothing; before the retraction is known it still does."""
    rows = [
        {"at": 1, "known": 4, "id": "a", "x": 1, "gone": False},
        {"at": 1, "known": retraction_known, "id": "a", "x": None, "gone": True},
    ]
    roles = {"event_id": "id", "deleted": "gone", "available_at": "known"}
    counts = [event(rows, t, Count(windows=WHOLE), **roles).values["count_lifetime"] for t in (4, 5, 6)]
    assert counts == [int(t < retraction_known) for t in (4, 5, 6)]


def test_rows_without_a_time_or_too_far_ahead_are_quarantined() -> None:
    """They neither count nor disturb."""
    rows: list[dict[str, Any]] = [{"at": None}, {"at": 1}, {"at": datetime(2099, 1, 1, tzinfo=UTC)}]
    source = FileSource("rows", path="rows.parquet", event_time="at", max_skew="1d")
    assert [fact.order for fact in oracle.usable(source, rows, now_us=10)] == [1]


def test_online_is_history_over_what_was_known_when_it_was_written() -> None:
    """A row known after materialization is missing; one that begins later takes effect at its instant."""
    source = FileSource("rows", path="rows.parquet", event_time="at", available_at="known")
    view = StateView("v", entity=USER, source=source, features=["x"])
    rows = [{"user": 1, "at": at, "known": known, "x": x} for at, known, x in [(1, 1, 1), (6, 2, 2), (3, 4, 3)]]
    found = oracle.online(view, rows, [((1,), t) for t in (3, 5, 6)], materialized_at=3)
    assert [answer.values["x"] for answer in found] == [1, 1, 2]


def test_float_sums_are_exact_and_rounded_once() -> None:
    """Neither order nor cancellation nor an intermediate overflow shows."""
    total = Sum("x", windows=WHOLE)
    assert value([0.1] * 10, total) == 1.0
    assert value([1e308, 1e308, -1e308], total) == 1e308
    assert value([1e308, 1e308], total) == math.inf
    assert value([-1e308, -1e308], total) == -math.inf
    assert identical(value([-0.0], total), 0.0)


def test_integer_and_decimal_sums_are_exact_or_an_error() -> None:
    """2^63 does not fit; decimals keep their cents."""
    assert value([2**63 - 1, 1, -1], Sum("x", windows=WHOLE)) == 2**63 - 1
    assert value([Decimal("0.10"), Decimal("0.20")], Sum("x", windows=WHOLE)) == Decimal("0.30")
    with pytest.raises(FeatureValueError):
        value([2**63 - 1, 1], Sum("x", windows=WHOLE))


def test_infinities_are_values() -> None:
    """One sign gives itself; both give null; neither has a variance."""
    inf = math.inf
    assert value([inf, 1.0], Sum("x", windows=WHOLE)) == inf
    assert value([inf, -inf], Mean("x", windows=WHOLE)) is None
    assert value([inf, 1.0], Variance("x", windows=WHOLE)) is None


def test_every_other_aggregate_on_a_short_list() -> None:
    """Nulls are ignored; ties in top_k go to the smaller value; rank is floor(q * (n - 1))."""
    values = [3, None, 1, 3, 1, 2]
    assert value(values, Count("x", windows=WHOLE)) == 5
    assert value(values, Mean("x", windows=WHOLE)) == 2.0
    assert value(values, Variance("x", windows=WHOLE)) == 1.0
    assert value([1, 1, 4], Stddev("x", windows=WHOLE)) == math.sqrt(3)
    assert value([7], Stddev("x", windows=WHOLE)) is None
    assert value(values, CountDistinct("x", windows=WHOLE)) == 3
    assert value(values, TopK("x", 2, windows=WHOLE)) == [1, 3]
    assert value(values, Percentile("x", 0.6, windows=WHOLE)) == 2.0
    assert value(values, LastN("x", 2)) == [1, 2]
    assert value(values, Last("x")) == 2
    assert identical(value([0.0, -0.0], Min("x", windows=WHOLE)), -0.0)
    assert identical(value([-0.0, 0.0], Max("x", windows=WHOLE)), 0.0)
    assert value([0.0, -0.0], CountDistinct("x", windows=WHOLE)) == 1


def test_agreement_is_bit_equality_but_for_stated_errors() -> None:
    """A neighbouring float is no sum, and is a mean; a percentile has 1/128, and null equals nothing but null."""
    above = math.nextafter(1.0, 2)
    assert not agrees("sum", 1.0, above)
    assert agrees("mean", 1.0, above)
    assert not agrees("mean", 1.0, 1.0 + 1e-12)
    assert agrees("percentile", 128.0, 129.0)
    assert not agrees("percentile", 128.0, 129.1)
    assert not agrees("sum", None, 0.0)
    assert not agrees("count", 1, True)
