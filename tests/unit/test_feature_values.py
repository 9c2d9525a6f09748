"""Unit tests for users: rows and instants in, values out, in memory."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
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
    OnDemandView,
    RequestField,
    StateView,
    Sum,
    TopK,
    on_demand,
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


def test_a_lookup_finds_the_key_in_other_rows() -> None:
    """Question and answer are about the card; the oracle looks up the same owner."""
    owned = FileSource("owned", path="not/there.csv", event_time="since")
    cards = StateView("cards", entity=Entity("card"), source=owned, features=["customer_id"])
    rows: dict[str, list[dict[str, Any]]] = {
        "owned": [
            {"card": 7, "since": "2023-01-01", "customer_id": 1},
            {"card": 7, "since": "2023-06-01", "customer_id": 2},
        ],
        "people": [{"customer_id": key, "since": "2023-01-01", "country": f"C{key}"} for key in (1, 2)],
    }
    spine = [{"card": 7, "event_timestamp": at} for at in ("2022-01-01", "2023-05-01", "2024-01-01")]
    found = feature_table([profile.via(cards["customer_id"])["country"]], rows, spine, statuses=True)
    assert [tuple(row.values()) for row in found] == [(None, "missing"), ("C1", "present"), ("C2", "present")]


def share_of_limit(batch: pa.RecordBatch) -> dict[str, Any]:
    """Return what a payment and the day's spend take of a limit."""
    return {"share": pc.divide(pc.add(batch["spend__amount_sum_1d"], batch["payment"]), batch["limit"])}


PRESSURE = OnDemandView(
    "pressure",
    inputs=[spend["amount_sum_1d"], profile["age"]],
    request=[RequestField("payment", "float64"), RequestField("limit", "float64", default=100.0)],
    features=[
        on_demand.sql("share", '(spend__amount_sum_1d + payment) / "limit"'),
        on_demand.ratio("per_year", "payment", "profile__age"),
    ],
)


def test_an_on_demand_view_is_computed_from_rows_and_a_request() -> None:
    """Its inputs are those of the rows, by source; a request field may be left out where it has a default."""
    rows: dict[str, list[dict[str, Any]]] = {
        "orders": [order(amount=40)],
        "people": [{"customer_id": 1, "since": "2023-01-01", "age": 30}],
    }
    found = feature_values(PRESSURE, rows, keys=ONE, at="2024-01-02", request={"payment": 15.0}, statuses=True)
    assert found == {"share": 0.55, "share__status": "present", "per_year": 0.5, "per_year__status": "present"}
    spine = [{**ONE, "event_timestamp": "2024-01-02", "payment": 10.0, "limit": limit} for limit in (50.0, 200.0)]
    table = feature_table([spend["count_1d"], PRESSURE["share"]], rows, spine)
    assert table == [{"spend__count_1d": 0, "pressure__share": share} for share in (1.0, 0.25)]


def test_an_on_demand_view_takes_inputs_by_hand() -> None:
    """Without rows or keys, as the function alone would be tested; what is not given is read from the rows."""
    inputs = {"spend__amount_sum_1d": 40.0, "profile__age": 30}
    asked: dict[str, Any] = {"at": "2024-01-02", "request": {"payment": 15.0}}
    assert feature_values(PRESSURE, inputs=inputs, **asked) == {"share": 0.55, "per_year": 0.5}
    assert feature_values(PRESSURE["per_year"], inputs={**inputs, "profile__age": None}, **asked) == {"per_year": None}
    people_rows = {"people": [{"customer_id": 1, "since": "2023-01-01", "age": 15}]}
    one = {"spend__amount_sum_1d": 0}
    assert feature_values(PRESSURE, people_rows, keys=ONE, inputs=one, **asked) == {"share": 0.15, "per_year": 1.0}
    function = OnDemandView(
        "f",
        inputs=[spend["amount_sum_1d"], PRESSURE["share"]],
        request=[RequestField("payment", "float64"), RequestField("limit", "float64", default=100.0)],
        function=share_of_limit,
        outputs={"share": "float64"},
    )
    assert feature_values(function, inputs=inputs, **asked) == {"share": 0.55}
    table = feature_table(
        function, [], [{**inputs, "event_timestamp": "2024-01-01", "payment": one} for one in (0.0, 60.0)]
    )
    assert table == [{"share": 0.4}, {"share": 1.0}]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"request": {}}, "no column 'payment'"),
        ({"request": {"payment": 1.0, "limits": 5.0}}, "no request field 'limits'.*Did you mean limit"),
        ({"inputs": {"spend__amount_sum": 1.0}}, "no input 'spend__amount_sum'.*Did you mean spend__amount_sum_1d"),
        ({"request": {"payment": "much"}}, "'payment' is not float64"),
        ({"inputs": {"spend__amount_sum_1d": 1.0}}, "no column 'customer_id'"),
    ],
)
def test_a_slip_in_a_request_is_named(changed: dict[str, Any], words: str) -> None:
    """What is missing, unknown or of the wrong type, and a key that is needed for what is not given."""
    inputs = {"spend__amount_sum_1d": 40.0, "profile__age": 30}
    asked: dict[str, Any] = {"at": "2024-01-02", "request": {"payment": 15.0}, "inputs": inputs, **changed}
    with pytest.raises(InputError, match=words):
        feature_values(PRESSURE, **asked)


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
