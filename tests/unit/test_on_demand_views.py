"""On-demand views through the facade: definitions, versions, training, serving, and what is refused before any work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from asof import (
    Count,
    Entity,
    EventView,
    FeatureService,
    FeatureStore,
    FileSource,
    OnDemandView,
    RequestField,
    Sum,
    on_demand,
)
from asof.backends.local.scanner import LocalScanner
from asof.clock import FixedClock, to_us
from asof.definitions import FrameSource
from asof.errors import DefinitionError, FeatureValueError, InputError, NotFoundError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
DISTANCE = RequestField("distance", "float64")
SEATS = RequestField("seats", "int64", default=150)


def doubled(inputs: pa.RecordBatch) -> Mapping[str, Any]:
    """Return twice the amount, and the hour as NumPy."""
    hour = inputs["event_timestamp"].cast(pa.int64()).to_numpy() // 3_600_000_000 % 24
    return {
        "twice": pc.multiply(inputs["spend__amount_sum_1d"], 2),
        "hour": hour,
        "columns": [len(inputs.schema)] * len(hour),
    }


def tripled(inputs: pa.RecordBatch) -> Mapping[str, Any]:
    """Return three times the amount."""
    return {"twice": pc.multiply(inputs["spend__amount_sum_1d"], 3)}


def failing(inputs: pa.RecordBatch) -> Mapping[str, Any]:
    """Divide by zero."""
    return {"twice": 1 // (inputs.num_columns - 1)}


def short(inputs: pa.RecordBatch) -> Mapping[str, Any]:
    """Return too few rows."""
    return {"twice": np.zeros(inputs.num_rows + 1)}


def silent(_: pa.RecordBatch) -> Mapping[str, Any]:
    """Return another output than the declared one."""
    return {"thrice": np.zeros(1)}


def texts(inputs: pa.RecordBatch) -> Mapping[str, Any]:
    """Return a wrong type."""
    return {"twice": ["x"] * inputs.num_rows}


def spend_view(*extra: Any) -> EventView:
    return EventView(
        "spend",
        entity=Entity("customer", join_key="customer_id"),
        source=FileSource("orders", "orders.parquet", event_time="ts"),
        features=[Sum("amount", windows=["1d"], default=0.0), Count(windows=["1d"]), *extra],
    )


def pressure_view(spend: EventView, **changed: Any) -> OnDemandView:
    parts: dict[str, Any] = {
        "inputs": [spend["amount_sum_1d"]],
        "request": [DISTANCE, SEATS],
        "features": [
            on_demand.ratio("per_mile", "spend__amount_sum_1d", "distance"),
            on_demand.ratio("per_seat", "spend__amount_sum_1d", "seats"),
            on_demand.calendar("hour", "hour"),
        ],
    }
    return OnDemandView("pressure", **{**parts, **changed})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a store with spend, pressure over it, load over pressure, and a service of some of each, at noon."""
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    instants = [NOON - timedelta(hours=hours) for hours in (30, 2, 1)]
    orders = {"customer_id": [1, 1, 2], "ts": instants, "amount": [5.0, 7.5, 9.0]}
    pq.write_table(pa.table(orders), tmp_path / "orders.parquet")
    with FeatureStore(tmp_path, clock=FixedClock(to_us(NOON))) as opened:
        opened.apply(opened.plan(definitions(spend_view())), who="test")
        opened.materialize()
        yield opened


def definitions(spend: EventView, **changed: Any) -> list[Any]:
    pressure = pressure_view(spend, **changed)
    load = OnDemandView(
        "load",
        inputs=[pressure["per_mile"], spend["count_1d"]],
        features=[on_demand.ratio("each", "pressure__per_mile", "spend__count_1d")],
    )
    function = OnDemandView(
        "double",
        inputs=[spend["amount_sum_1d"]],
        function=doubled,
        outputs={"twice": "float64", "hour": "int32", "columns": "int64"},
        instant=True,
    )
    return [FeatureService("all", features=[load, spend["count_1d"], pressure, function])]


def spine(**columns: Any) -> pa.Table:
    return pa.table({"customer_id": [1, 3], "event_timestamp": [NOON, NOON + timedelta(hours=1)], **columns})


VALUES: dict[str, list[Any]] = {
    "load__each": [1.875, None],
    "spend__count_1d": [1, 0],
    "pressure__per_mile": [1.875, None],
    "pressure__per_seat": [0.05, 0.0],
    "pressure__hour": [12, 13],
    "double__twice": [15.0, 0.0],
    "double__hour": [12, 13],
    "double__columns": [2, 2],
}


def test_training_rows_bring_the_request(store: FeatureStore) -> None:
    """Request inputs are spine columns, defaults stand in, and the instant is the row's own."""
    table = store.get_historical_features("all", spine(distance=[4.0, 0.0])).to_arrow()
    assert table.select(list(VALUES)).to_pydict() == VALUES
    assert table.schema.names == ["customer_id", "event_timestamp", "distance", *VALUES]
    assert table.schema.field("double__hour").type == pa.int32()


def test_online_answers_are_the_same(store: FeatureStore) -> None:
    """At the row's instant, in the service's order, with statuses, in every form."""
    for row, at in enumerate([NOON, NOON + timedelta(hours=1)]):
        keys, request = {"customer_id": [[1, 3][row]]}, {"distance": [(4.0, 0.0)[row]]}
        read = store.get_online_features("all", keys, request=request, at=at)
        assert read.to_dict() == {name: [values[row]] for name, values in VALUES.items()}
        assert read.to_arrow().to_pydict() == read.to_dict()
        assert list(read.to_dict()) == list(VALUES)
        assert {name: s for name, s in read.statuses.items() if name != "spend__count_1d"} == {
            name: ["null" if values[row] is None else "present"]
            for name, values in VALUES.items()
            if name != "spend__count_1d"
        }
        assert list(read.versions) == ["spend"]


def test_statuses_of_training_rows(store: FeatureStore) -> None:
    """A computed value is present or null."""
    table = store.get_historical_features(
        ["load", "spend:count_1d"], spine(distance=[4.0, 0.0]), statuses=True
    ).to_arrow()
    assert table["load__each__status"].to_pylist() == ["present", "null"]
    assert table["spend__count_1d__status"].to_pylist() == ["present", "missing"]
    assert table.schema.names[3:5] == ["load__each", "load__each__status"]


def test_definitions_that_are_not_registered_work(store: FeatureStore) -> None:
    """Also over frames, and with functions that nothing can import."""
    source = FrameSource(
        "rows", frame={"customer_id": [1], "ts": [NOON - timedelta(hours=1)], "x": [3.0]}, event_time="ts"
    )
    view = EventView(
        "v", entity=Entity("customer", join_key="customer_id"), source=source, features=[Sum("x", windows=["1d"])]
    )
    computed = OnDemandView(
        "c", inputs=[view], request=[DISTANCE], features=[on_demand.ratio("r", "v__x_sum_1d", "distance")]
    )
    rows = spine(distance=[2, 3])
    assert store.get_historical_features([computed["r"], view], rows).to_arrow()["c__r"].to_pylist() == [1.5, None]
    double = OnDemandView("d", inputs=[spend_view()["amount_sum_1d"]], function=tripled, outputs={"twice": "float64"})
    assert store.get_historical_features(double, rows).to_arrow()["d__twice"].to_pylist() == [22.5, 0.0]


def test_a_view_of_the_request_alone_needs_no_keys(store: FeatureStore) -> None:
    """The request says how many rows there are."""
    alone = OnDemandView(
        "alone", request=[SEATS, RequestField("name", "string")], features=[on_demand.hash_text("h", "name", 10)]
    )
    store.apply(store.plan([*definitions(spend_view()), alone]), who="test")
    read = store.get_online_features(["alone"], {}, request={"name": ["a", None]})
    assert [value is None for value in read.to_dict()["alone__h"]] == [False, True]
    with pytest.raises(InputError, match="'customer_id' is not a join key"):
        store.get_online_features(["alone"], {"customer_id": [1]}, request={"name": ["a"]})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "no column 'distance', a request input"),
        ({"distanse": [1.0, 2.0]}, "Did you mean distanse"),
        ({"distance": ["1", "2"]}, "'distance' is not float64"),
        ({"distance": [2**60 + 1, 1]}, "'distance' is not float64"),
        ({"distance": [1.0, 2.0], "seats": [1.5, 2.0]}, "'seats' is not int64"),
        ({"distance": [1.0, 2.0], "seats": ["a", "b"]}, "'seats' is not int64"),
    ],
)
def test_a_spine_without_its_request_is_refused_before_any_scan(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, columns: dict[str, Any], message: str
) -> None:
    """Missing and ill-typed columns are found first; no source is touched."""
    monkeypatch.setattr(LocalScanner, "scan", touched)
    monkeypatch.setattr(LocalScanner, "size_bytes", touched)
    with pytest.raises(InputError, match=message):
        store.get_historical_features("all", spine(**columns))
    with pytest.raises(InputError, match="has no column 'distance'"):
        store.get_historical_features("all", instants=[NOON])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (None, "no field 'distance', a request input"),
        ({}, "no field 'distance'"),
        ({"distance": [1.0], "seat": [3]}, "'seat' is not a request field .* Did you mean seats"),
        ({"distance": [1.0, 2.0]}, "one value per key"),
        ({"distance": 1.0}, "one value per key"),
        ({"distance": "1"}, "one value per key"),
        ({"distance": ["1"]}, "'distance' is not float64"),
        ({"distance": [True]}, "'distance' is not float64"),
        ({"distance": [2**60 + 1]}, "'distance' is not float64"),
        ({"distance": [1.0], "seats": [1.0]}, "'seats' is not int64"),
        ({"distance": [1.0], "seats": [2**63]}, "'seats' is not int64"),
        (17, "The request is a int"),
    ],
)
def test_a_wrong_request_is_refused_before_the_store_is_read(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, request_: Any, message: str
) -> None:
    """The online store is not asked."""
    monkeypatch.setattr(type(store.online), "read", touched)
    with pytest.raises(InputError, match=message):
        store.get_online_features("all", {"customer_id": [1]}, request=request_)


def touched(*_: object, **__: object) -> None:
    raise AssertionError("data was touched")


def test_a_request_that_nothing_takes_is_refused(store: FeatureStore) -> None:
    """A misspelt service would otherwise go unnoticed."""
    with pytest.raises(InputError, match="They take none"):
        store.get_online_features(["spend"], {"customer_id": [1]}, request={"distance": [1.0]})


@pytest.mark.parametrize(
    "request_",
    [
        {"distance": [4, None]},
        {"distance": (4.0, float("nan"))},
        {"distance": np.array([4.0, np.nan])},
        {"distance": pa.array([4.0, None])},
        {"distance": pd.Series([4.0, np.nan])},
        [{"distance": 4.0}, {"distance": None}],
    ],
    ids=["list", "tuple", "numpy", "arrow", "pandas", "rows"],
)
def test_requests_come_in_any_usual_form(store: FeatureStore, request_: Any) -> None:
    """A null is null, NaN too."""
    read = store.get_online_features(["pressure:per_mile"], {"customer_id": [1, 2]}, request=request_)
    assert read.to_dict() == {"pressure__per_mile": [1.875, None]}


def test_null_takes_the_default(store: FeatureStore) -> None:
    """In both paths."""
    request = {"distance": [1.0, 1.0], "seats": [None, 3]}
    read = store.get_online_features(["pressure:per_seat"], {"customer_id": [1, 1]}, request=request)
    assert read.to_dict() == {"pressure__per_seat": [0.05, 2.5]}
    rows = pa.table({"customer_id": [1, 1], "event_timestamp": [NOON, NOON], **request})
    table = store.get_historical_features(["pressure:per_seat"], rows).to_arrow()
    assert table["pressure__per_seat"].to_pylist() == [0.05, 2.5]


def test_a_new_version_of_an_input_is_a_new_version(store: FeatureStore) -> None:
    """And of what reads that; the old service keeps reading what it pinned, and prune keeps it."""
    changed = spend_view(Sum("amount", windows=["2d"]))
    plan = store.plan(definitions(changed))
    actions = {(c.kind, c.name): (c.action, c.version) for c in plan.effective()}
    assert actions["on_demand", "pressure"] == actions["on_demand", "load"] == ("new_version", 2)
    assert actions["service", "all"] == ("new_version", 2)
    assert next(c.details for c in plan.changes if c.name == "pressure") == ("reads changed: spend@1 -> spend@2",)
    assert (("view", "spend"), ("on_demand", "pressure")) in plan.touched
    assert (("on_demand", "pressure"), ("on_demand", "load")) in plan.touched
    store.apply(plan, who="test")
    store.materialize()
    assert not store.plan_prune()
    request = {"distance": [4.0]}
    for service in ("all@1", "all@2"):
        read = store.get_online_features(service, {"customer_id": [1]}, request=request)
        assert read.to_dict()["load__each"] == [1.875]
        assert read.versions["spend"]["version"] == int(service[-1])
    pruned = {(i.kind, i.name, i.version) for i in store.plan_prune(["all@1"]).items}
    assert {("view", "spend", 1), ("on_demand", "pressure", 1), ("on_demand", "load", 1)} <= pruned
    store.prune(store.plan_prune(["all@1"]))
    assert store.get_online_features("all", {"customer_id": [1]}, request=request).to_dict()["load__each"] == [1.875]


@pytest.mark.parametrize("features", [["load@1:each", "pressure@2:per_mile"], ["pressure@2:per_mile", "load@1:each"]])
def test_a_version_that_is_only_read_does_not_fill_the_column_of_another(
    store: FeatureStore, features: list[str]
) -> None:
    """Of two versions of one view, the one that is asked for is answered, in any order and in both paths."""
    upside_down = [on_demand.ratio("per_mile", "distance", "spend__amount_sum_1d")]
    store.apply(store.plan(definitions(spend_view(), features=upside_down)), who="test")
    wanted = {"load__each": [1.875], "pressure__per_mile": [4.0 / 7.5]}
    read = store.get_online_features(features, {"customer_id": [1]}, request={"distance": [4.0]})
    assert read.to_dict() == wanted
    table = store.get_historical_features(features, spine(distance=[4.0, 1.0]).slice(0, 1)).to_arrow()
    assert table.select(list(wanted)).to_pydict() == wanted


def test_plans_say_what_changed(store: FeatureStore) -> None:
    """A phrase per difference."""
    features = [on_demand.ratio("per_mile", "distance", "seats"), on_demand.calendar("hour", "minute")]
    plan = store.plan(definitions(spend_view(), features=features, request=[DISTANCE, RequestField("seats", "int64")]))
    details = next(c.details for c in plan.changes if c.name == "pressure")
    assert details == (
        "request field seats: default changed: 150 -> none",
        "feature per_seat removed",
        "feature per_mile: call changed: ratio(spend__amount_sum_1d, distance) -> ratio(distance, seats)",
        "feature hour: call changed: calendar(event_timestamp, part=hour) -> calendar(event_timestamp, part=minute)",
    )


def test_the_registry_lists_and_describes_them(store: FeatureStore) -> None:
    """With what they read and what reads them."""
    assert [one.name for one in store.list("on_demand")] == ["double", "load", "pressure"]
    (found,) = store.describe("pressure")
    assert (found.kind, found.version, found.used_by) == ("on_demand", 1, ("load@1", "all@1"))
    (spend,) = [one for one in store.describe("spend") if one.kind == "view"]
    assert set(spend.used_by) == {"double@1", "load@1", "pressure@1", "all@1"}
    with pytest.raises(NotFoundError, match="Did you mean per_mile"):
        store.catalog().select(["pressure:per_mil"])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (failing, "raised ZeroDivisionError"),
        (short, "gave 3 values of twice for 2 rows"),
        (silent, "gave thrice"),
        (texts, "gave twice in a form that is not double"),
    ],
)
def test_a_function_that_fails_is_named(store: FeatureStore, function: Any, message: str) -> None:
    """With what it did."""
    view = OnDemandView("d", inputs=[spend_view()["amount_sum_1d"]], function=function, outputs={"twice": "float64"})
    with pytest.raises(FeatureValueError, match=message):
        store.get_historical_features(view, spine()).to_arrow()


def test_sql_expressions_have_the_type_of_their_result(store: FeatureStore) -> None:
    """Text, numbers and conditions, over features, request inputs and the instant; wrong values are explained."""
    spend = spend_view()
    view = OnDemandView(
        "asked",
        inputs=[spend["amount_sum_1d"]],
        request=[DISTANCE, RequestField("name", "string", default="12")],
        features=[
            on_demand.sql("far", "distance > 3 -- miles"),
            on_demand.sql("label", "upper(name) || '!'"),
            on_demand.sql("per_mile", "spend__amount_sum_1d / distance"),
            on_demand.sql("whole", "CAST(name AS INTEGER)"),
            on_demand.sql("hour", "hour(event_timestamp)"),
        ],
    )
    store.apply(store.plan([*definitions(spend), view]), who="test")
    assert [f.dtype for f in store.catalog().on_demand_view("asked").features] == [
        *("bool", "string", "float64", "int32", "int64")
    ]
    table = store.get_historical_features(["asked"], spine(distance=[4.0, 0.0])).to_arrow()
    rows = [tuple(row.values())[3:] for row in table.to_pylist()]
    assert rows == [(True, "12!", 1.875, 12, 12), (False, "12!", None, 12, 13)]
    read = store.get_online_features(["asked"], {"customer_id": [1]}, request={"distance": [4.0]})
    assert tuple(values[0] for values in read.to_dict().values()) == rows[0]
    with pytest.raises(FeatureValueError, match="Could not convert string 'x' to INT32"):
        store.get_online_features(["asked"], {"customer_id": [1]}, request={"distance": [4.0], "name": ["x"]})


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("distanse + 1", "Did you mean distance"),
        ("now()", "now is not a function"),
        ("(SELECT 1)", "subquery"),
        ("sum(distance)", "sum is not a function"),
        ("distance +", "does not parse"),
        ("distance, 1", "more than one expression"),
        ("{'a': distance}", "cannot have that type"),
    ],
)
def test_wrong_expressions_are_refused_when_planned(store: FeatureStore, expression: str, why: str) -> None:
    """As predicates are."""
    view = OnDemandView("asked", request=[DISTANCE], features=[on_demand.sql("x", expression)])
    with pytest.raises(DefinitionError, match="of feature asked:x") as refused:
        store.plan([view])
    assert why in str(refused.value)


SPEND = spend_view()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": []}, "does not say how it is computed"),
        ({"function": doubled}, "does not say how it is computed"),
        ({"features": [], "function": doubled}, "does not say how it is computed"),
        ({"features": [on_demand.ratio("x", "distance", "spend__amount_sum_2d")]}, "Did you mean spend__amount_sum_1d"),
        ({"features": [on_demand.ratio("x", "distance", "seats")] * 2}, "two features named 'x'"),
        ({"request": [DISTANCE, DISTANCE]}, "two inputs named 'distance'"),
        ({"inputs": ["spend"]}, "has input 'spend'"),
        ({"request": ["distance"]}, "has request field 'distance'"),
        ({"features": ["distance"]}, "has feature 'distance'"),
        ({"inputs": [], "request": [], "features": [on_demand.calendar("h", "hour")]}, "has no inputs"),
    ],
)
def test_wrong_definitions_are_refused(changed: dict[str, Any], message: str) -> None:
    """When they are made."""
    with pytest.raises(DefinitionError, match=message):
        pressure_view(SPEND, **changed)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RequestField("x", "int65"),
        lambda: RequestField("x", "decimal(3,1)"),
        lambda: RequestField("event_timestamp", "int64"),
        lambda: on_demand.calendar("x", "fortnight"),
        lambda: on_demand.elapsed("x", "a", unit="y"),
        lambda: on_demand.haversine("x", "a", "b", "c", "d", unit="ly"),
        lambda: on_demand.bucketize("x", "a", []),
        lambda: on_demand.bucketize("x", "a", [2, 1]),
        lambda: on_demand.bucketize("x", "a", [float("nan")]),
        lambda: on_demand.hash_text("x", "a", 0),
        lambda: on_demand.sql("x", " "),
        lambda: on_demand.ratio("x", "a", 3),  # type: ignore[arg-type]
    ],
)
def test_wrong_parts_are_refused(make: Any) -> None:
    """A type, part, unit or boundary that there is not."""
    with pytest.raises(DefinitionError):
        make()


def test_inputs_of_the_wrong_type_are_refused_when_planned(store: FeatureStore) -> None:
    """Text has no ratio."""
    view = OnDemandView(
        "wrong",
        inputs=[SPEND["count_1d"]],
        request=[RequestField("t", "string")],
        features=[on_demand.ratio("r", "spend__count_1d", "t")],
    )
    with pytest.raises(
        SchemaError, match="ratio of on-demand view 'wrong' cannot take spend__count_1d int64, t string"
    ):
        store.plan([view])


def test_a_name_is_that_of_one_view(store: FeatureStore) -> None:
    """Their columns would be the same."""
    view = OnDemandView("spend", request=[SEATS], features=[on_demand.ratio("r", "seats", "seats")])
    with pytest.raises(DefinitionError, match="two definitions of view 'spend'"):
        store.plan([view, spend_view()])


def test_a_request_field_has_one_type_in_a_read(store: FeatureStore) -> None:
    """One column of the spine serves all views."""
    other = OnDemandView(
        "other", request=[RequestField("distance", "int64")], features=[on_demand.ratio("r", "distance", "distance")]
    )
    with pytest.raises(InputError, match="float64 in pressure@0 and int64 in other@0"):
        store.get_historical_features([pressure_view(spend_view()), other], spine(distance=[1, 2]))
