"""Unit tests for users: rows and instants in, values out, in memory."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from asof import (
    Count,
    DeltaSource,
    Entity,
    EventView,
    Feature,
    FeatureService,
    FileSource,
    Last,
    Mean,
    StateView,
    Sum,
    TopK,
)
from asof.errors import FeatureValueError, InputError, SchemaError
from asof.testing import feature_table, feature_values, values

customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="not/there.csv", event_time="ts", available_at="loaded", event_id="id")
people = DeltaSource("people", path="not/there", event_time="since", deleted="gone", max_skew="1d")
spend = EventView(
    "spend",
    entity=customer,
    source=orders,
    where="status = 'settled'",
    features=[
        Sum("amount", windows=["1d"], default=0.0),
        Count(windows=["1d"], where="vip AND amount > 3"),
        Mean("amount", windows=["1d"]),
        TopK("shop", 2, windows=["1d"]),
        Last("shop", windows=["1d"], default="none"),
    ],
)
profile = StateView("profile", entity=customer, source=people, features=["country", Feature("age", default=0)])
fraud = FeatureService("fraud", features=[spend["amount_sum_1d"], profile])

ONE = {"customer_id": 1}


def order(**values: Any) -> dict[str, Any]:
    """Return an order of customer 1, known at once."""
    made = {"id": 1, "customer_id": 1, "ts": "2024-01-01T06:00", "amount": 5, "status": "settled", **values}
    return {"loaded": made["ts"], **made}


def test_a_view_has_its_values_without_its_source() -> None:
    """Whole numbers stand for floats where a default says so; columns that no row has are null."""
    rows = [order(), order(id=2, amount=2, vip=True), order(id=3, status="refused"), order(id=1, amount=100)]
    assert feature_values(spend, rows, keys=ONE, at="2024-01-02") == {
        "amount_sum_1d": 7.0,
        "count_1d": 0,
        "amount_mean_1d": 3.5,
        "shop_top2_1d": None,
        "shop_last_1d": "none",
    }


def test_no_rows_are_empty_windows_and_unknown_entities() -> None:
    """Types come from defaults and aggregates, whatever a predicate names is null."""
    found = feature_values(spend, [], keys=ONE, at="2024-01-02", statuses=True)
    assert found["amount_sum_1d"] == 0.0
    assert found["amount_sum_1d__status"] == "missing"
    assert feature_values(profile, [], keys=ONE, at="2024-01-02") == {"country": None, "age": 0}


@pytest.mark.parametrize("instant", ["2024-01-01T06:00:00+02:00", datetime(2024, 1, 1, 4), date(2024, 1, 1)])
def test_times_are_text_datetimes_or_dates(instant: Any) -> None:
    """Naive ones are UTC, in rows and in questions."""
    assert feature_values(spend, [order(ts=instant)], keys=ONE, at="2024-01-01T05:00Z")["amount_sum_1d"] == 5.0
    assert feature_values(spend, [order(ts="2023-12-31T23:59")], keys=ONE, at=instant)["amount_sum_1d"] == 5.0


def test_a_spine_gives_one_answer_per_question_in_order() -> None:
    """Duplicates, unknown and null keys stay."""
    asked = [(1, "2024-01-01T07:00"), (1, "2024-01-01T06:00"), (None, "2024-01-02"), (1, "2024-01-01T07:00")]
    spine = [{"customer_id": key, "event_timestamp": at} for key, at in asked]
    found = feature_table(spend["amount_sum_1d"], [order()], spine)
    assert [answer["amount_sum_1d"] for answer in found] == [5.0, 0.0, 0.0, 5.0]
    assert feature_table(spend, [order()], []) == []


def test_a_service_takes_rows_by_source() -> None:
    """Columns have their views' names; a source that is left out has no rows."""
    person = {"customer_id": 1, "since": "2023-01-01", "country": "NL", "age": 30}
    found = feature_values(fraud, {"orders": [order()], "people": [person]}, keys=ONE, at="2024-01-02")
    assert found == {"spend__amount_sum_1d": 5.0, "profile__country": "NL", "profile__age": 30}
    assert feature_values(fraud, {"people": [person]}, keys=ONE, at="2024-01-02")["spend__amount_sum_1d"] == 0.0
    with pytest.raises(InputError, match="2 sources"):
        feature_values(fraud, [order()], keys=ONE, at="2024-01-02")
    with pytest.raises(InputError, match="Did you mean orders"):
        feature_values(fraud, {"order": [order()]}, keys=ONE, at="2024-01-02")


def test_a_role_reads_its_own_column() -> None:
    """Under a role the columns are named after it."""
    both = [profile["age"], profile.with_role("referrer", keys={"customer_id": "referrer_id"})["age"]]
    rows = [{"customer_id": key, "since": "2023-01-01", "age": key * 10} for key in (1, 2)]
    found = feature_values(both, rows, keys={"customer_id": 1, "referrer_id": 2}, at="2024-01-01")
    assert found == {"profile__age": 10, "referrer__profile__age": 20}


def test_features_about_everything_take_no_keys() -> None:
    """Every row counts, whoever it is about."""
    market = Entity("market", join_keys=[])
    turnover = EventView("turnover", entity=market, source=orders, features=[Sum("amount", windows=["1d"])])
    rows = [order(), order(id=2, customer_id=2), order(id=3, customer_id=None)]
    assert feature_values(turnover, rows, keys={}, at="2024-01-02") == {"amount_sum_1d": 15}


def test_the_sources_roles_hold() -> None:
    """Tombstones, lateness and skew are those of the source that the rows stand for."""
    person = {"customer_id": 1, "since": "2023-01-01", "country": "NL", "age": 30}
    gone = {"customer_id": 1, "since": "2023-06-01", "gone": True}
    assert feature_values(profile, [person, gone], keys=ONE, at="2024-01-01")["country"] is None
    assert feature_values(profile, [person], keys=ONE, at="2024-01-01", now="2022-01-01")["country"] is None
    late = [order(loaded="2024-01-01T09:00")]
    assert feature_values(spend, late, keys=ONE, at="2024-01-01T08:00")["amount_sum_1d"] == 0.0
    lost = {"since": "2023-07-01", "country": "BE"}
    assert feature_values(profile, [person, lost], keys=ONE, at="2024-01-01")["country"] == "NL"


@pytest.mark.parametrize(
    ("rows", "keys", "at", "words"),
    [
        ([order(ts="yesterday", loaded=None)], ONE, "2024-01-02", "column 'ts'"),
        ([order(amount="much"), order(amount=5)], ONE, "2024-01-02", "column 'amount'"),
        ([5], ONE, "2024-01-02", "are not rows"),
        ([order()], {"customer": 1}, "2024-01-02", "no column 'customer_id'"),
        ([order()], ONE, "tomorrow", "column 'event_timestamp'"),
    ],
)
def test_what_cannot_be_read_is_refused(rows: Any, keys: Any, at: Any, words: str) -> None:
    """A slip in a test says which column it is in."""
    with pytest.raises(InputError, match=words):
        feature_values(spend, rows, keys=keys, at=at)


def test_definitions_are_checked_against_the_rows() -> None:
    """What a plan would refuse, a test refuses; so it does a sum that does not fit."""
    words = EventView("w", entity=customer, source=orders, features=[Sum("status", windows=["1d"])])
    with pytest.raises(SchemaError, match="status"):
        feature_values(words, [order()], keys=ONE, at="2024-01-02")
    whole = EventView("w", entity=customer, source=orders, features=[Sum("amount", windows=["1d"])])
    with pytest.raises(FeatureValueError):
        feature_values(whole, [order(amount=2**62), order(id=2, amount=2**62)], keys=ONE, at="2024-01-02")


def test_a_kernel_that_differs_from_the_oracle_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is given only where both agree."""
    monkeypatch.setattr(values, "agrees", lambda function, exact, given: False)
    with pytest.raises(AssertionError, match="defect of Asof"):
        feature_values(spend, [order()], keys=ONE, at="2024-01-02")
