"""Explain sorts every row of an entity by one cause, says what both paths give, and refuses what it cannot answer."""

from __future__ import annotations

import warnings
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from asof import Count, Entity, EventView, FeatureStore, FileSource, StateView, Sum
from asof.clock import FixedClock, parse_instant
from asof.errors import InputError, NotFoundError, RejectedRowsWarning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof.services.explanation import Explanation

NOW = "2026-01-01T12:00"
ORDERS = """\
id,customer_id,ts,loaded,amount,status,gone
1,7,2026-01-01T11:00:00Z,2026-01-01T11:00:00Z,2.5,settled,false
2,7,2026-01-01T11:30:00Z,2026-01-01T11:31:00Z,4.0,settled,false
2,7,2026-01-01T11:30:00Z,2026-01-01T11:40:00Z,4.0,settled,false
3,7,2026-01-01T11:40:00Z,2026-01-01T11:40:00Z,1.0,open,false
4,7,2026-01-01T11:45:00Z,2026-01-01T12:05:00Z,8.0,settled,false
5,7,2026-01-01T11:50:00Z,2026-01-01T11:50:00Z,16.0,settled,false
5,7,2026-01-01T11:50:00Z,2026-01-01T11:55:00Z,16.0,settled,true
6,7,2026-01-01T10:59:59Z,2026-01-01T10:59:59Z,32.0,settled,false
7,7,2026-01-01T12:00:00Z,2026-01-01T12:00:00Z,64.0,settled,false
8,7,2026-01-01T11:55:00Z,2026-01-01T11:55:00Z,128.0,settled,false
9,7,2026-01-01T11:56:00Z,2026-01-01T11:56:00Z,,settled,false
10,7,,2026-01-01T11:56:00Z,3.0,settled,false
11,8,2026-01-01T11:30:00Z,2026-01-01T11:31:00Z,4.0,settled,false
"""
PEOPLE = """\
customer_id,since,country,left
7,2025-12-30T00:00:00Z,NL,false
7,2025-12-29T00:00:00Z,BE,false
7,2026-01-05T00:00:00Z,FR,false
8,2025-12-30T00:00:00Z,NL,true
9,2025-12-01T00:00:00Z,DE,false
"""
TRIPS = "origin,day,ts\nJFK,2026-01-01,2026-01-01T11:00:00Z\nJFK,2026-01-02,2026-01-01T11:00:00Z\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return an applied project of three views, its clock at noon."""
    for name, text in {"orders.csv": ORDERS, "people.csv": PEOPLE, "trips.csv": TRIPS}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    customer = Entity("customer", join_key="customer_id")
    route = Entity("route", join_keys={"origin": "string", "day": "date"})
    orders = FileSource(
        "orders", path="orders.csv", event_time="ts", event_id="id", available_at="loaded", deleted="gone"
    )
    people = FileSource("people", path="people.csv", event_time="since", deleted="left")
    trips = FileSource("trips", path="trips.csv", event_time="ts")
    totals = [Sum("amount", windows=["1h"], where="amount < 100 OR amount IS NULL", default=0.0), Count(windows=["1h"])]
    views: list[Any] = [
        EventView("spend", entity=customer, source=orders, features=totals, where="status = 'settled'"),
        StateView("profile", entity=customer, source=people, features=["country"], ttl="7d"),
        EventView("trips", entity=route, source=trips, features=[Count(windows=["lifetime"])]),
    ]
    with FeatureStore(tmp_path, clock=FixedClock(parse_instant(NOW))) as opened:
        opened.apply(opened.plan(views))
        yield opened


def explain(store: FeatureStore, feature: str, keys: dict[str, Any], at: str | None = None, **kw: Any) -> Explanation:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RejectedRowsWarning)
        return store.explain(feature, keys, at, **kw)


def causes(found: Explanation) -> dict[str, list[str | None]]:
    """Return the event ids, or else the values, of the rows outside by cause."""
    return {group.cause: [row.event_id or row.value for row in group.rows] for group in found.outside}


def test_every_row_of_the_key_has_one_cause(store: FeatureStore) -> None:
    found = explain(store, "spend:amount_sum_1h", {"customer_id": 7}, NOW)
    assert [(row.event_id, row.value) for row in found.rows] == [("2", 4.0), ("1", 2.5)]
    assert causes(found) == {
        "quarantined": ["10"],
        "retraction": ["5"],
        "duplicate": ["2"],
        "filtered_by_view": ["3"],
        "in_the_future": ["7"],
        "not_yet_available": ["4"],
        "retracted": ["5"],
        "before_the_window": ["6"],
        "filtered_by_aggregate": ["8"],
        "null_input": ["9"],
    }
    assert found.outside[0].detail == "event time is null"
    retracted = next(group for group in found.outside if group.cause == "retracted").rows[0]
    assert retracted.retracted_at == datetime(2026, 1, 1, 11, 55, tzinfo=UTC)


def test_bounds_definition_and_offline_value_are_given(store: FeatureStore) -> None:
    found = explain(store, "spend:amount_sum_1h", {"customer_id": 7}, "2026-01-01T12:00:30")
    assert found.feature == "spend@1:amount_sum_1h"
    assert found.window is not None
    assert found.window.start == datetime(2026, 1, 1, 11, 0, tzinfo=UTC)
    assert found.window.end == found.at == datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
    assert found.definition.startswith("sum of amount over 1h on a grid of 1m, where amount < 100")
    assert (found.offline.value, found.offline.status) == (70.5, "present")


def test_rows_are_counted_where_an_aggregate_has_no_column(store: FeatureStore) -> None:
    found = explain(store, "spend@1:count_1h", {"customer_id": 7}, NOW)
    assert (found.column, found.inside, found.offline.value) == (None, 4, 4)
    assert "null_input" not in causes(found)


def test_only_the_newest_rows_are_listed_and_all_are_counted(store: FeatureStore) -> None:
    found = explain(store, "spend:count_1h", {"customer_id": 7}, NOW, rows=1)
    assert (found.inside, [row.event_id for row in found.rows]) == (4, ["9"])
    assert explain(store, "spend:count_1h", {"customer_id": 7}, NOW, rows=0).rows == ()
    with pytest.raises(InputError, match="-1 rows"):
        explain(store, "spend:count_1h", {"customer_id": 7}, NOW, rows=-1)


def test_the_partial_states_online_are_those_of_the_window_and_add_up(store: FeatureStore) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RejectedRowsWarning)
        store.materialize(["spend"], at=NOW)
    for feature in ("spend:count_1h", "spend:amount_sum_1h"):
        found = explain(store, feature, {"customer_id": 7}, NOW)
        assert found.agree
        assert found.window is not None
        starts = [tile.start for tile in found.online.tiles]
        assert starts == sorted(starts, reverse=True)
        assert found.window.start is not None
        assert all(found.window.start <= start < found.window.end for start in starts)
        assert sum(tile.value or 0 for tile in found.online.tiles) == found.online.value
    assert explain(store, "profile:country", {"customer_id": 7}).online.tiles == ()


def test_a_state_is_explained_by_the_row_that_wins(store: FeatureStore) -> None:
    found = explain(store, "profile:country", {"customer_id": 7})
    assert [row.value for row in found.rows] == ["NL"]
    assert causes(found) == {"in_the_future": ["FR"], "older": ["BE"]}
    assert (found.window, found.offline.value) == (None, "NL")


@pytest.mark.parametrize(("key", "cause", "status"), [(8, "tombstone", "missing"), (9, "expired", "expired")])
def test_a_winner_that_gives_no_value_says_why(store: FeatureStore, key: int, cause: str, status: str) -> None:
    found = explain(store, "profile:country", {"customer_id": key})
    assert (found.inside, list(causes(found)), found.offline.status) == (0, [cause], status)


def test_an_unknown_entity_has_no_rows(store: FeatureStore) -> None:
    found = explain(store, "spend:amount_sum_1h", {"customer_id": 99}, NOW)
    assert (found.inside, found.outside, found.offline.value, found.offline.status) == (0, (), 0.0, "missing")


def test_composite_keys_take_dates_as_text_or_as_dates(store: FeatureStore) -> None:
    for day in ("2026-01-02", date(2026, 1, 2)):
        found = explain(store, "trips:count_lifetime", {"origin": "JFK", "day": day})
        assert (found.inside, found.offline.value) == (1, 1)
        assert found.window is not None
        assert found.window.start is None


def test_online_is_compared_once_it_is_materialized(store: FeatureStore) -> None:
    """Before, and for an instant before the generation's, it says why there is no value."""
    never = explain(store, "profile:country", {"customer_id": 7}, NOW)
    assert (never.agree, never.online.status, never.online.code) == (None, "unavailable", "not_materialized")
    assert (never.online.generation, never.online.size_bytes) == (None, None)
    store.materialize("profile", at=NOW)
    now = explain(store, "profile:country", {"customer_id": 7}, NOW)
    assert (now.agree, now.online.value, now.online.status, now.online.generation) == (True, "NL", "present", 1)
    assert (now.online.size_bytes or 0) > 0
    early = explain(store, "profile:country", {"customer_id": 7}, "2026-01-01T11:00")
    assert (early.agree, early.online.code, early.online.generation) == (None, "not_materialized", 1)
    unseen = explain(store, "profile:country", {"customer_id": 99}, NOW)
    assert (unseen.agree, unseen.online.status, unseen.online.size_bytes) == (True, "missing", None)


def test_a_difference_is_explained_by_rows_that_became_known_after_the_generation(store: FeatureStore) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RejectedRowsWarning)
        store.materialize("spend", at="2026-01-01T11:10")
    found = explain(store, "spend:amount_sum_1h", {"customer_id": 7}, NOW)
    assert (found.agree, found.offline.value, found.online.value) == (False, 6.5, 2.5)
    assert [(row.event_id, row.known_online) for row in found.rows] == [("2", False), ("1", True)]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "join key 'customer_id' is missing"),
        ({"custmer_id": 7}, "'custmer_id' is not a join key"),
        ({"customer_id": [7, 8]}, r"join key 'customer_id' is \[7, 8\]"),
        ({"customer_id": None}, "join key 'customer_id' is None"),
        ({"customer_id": "seven"}, "customer_id"),
        ({"customer_id": object()}, "cannot be read"),
        ([7], "Keys are a list"),
    ],
)
def test_keys_that_name_no_entity_are_refused(store: FeatureStore, keys: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        explain(store, "spend:count_1h", keys)


def test_a_date_that_is_none_is_refused(store: FeatureStore) -> None:
    with pytest.raises(InputError, match="not a date"):
        explain(store, "trips:count_lifetime", {"origin": "JFK", "day": "tomorrow"})


@pytest.mark.parametrize("reference", ["spend", 7])
def test_only_one_feature_is_explained(store: FeatureStore, reference: Any) -> None:
    with pytest.raises(InputError, match="feature"):
        explain(store, reference, {"customer_id": 7})
    with pytest.raises(NotFoundError, match="count_2h"):
        explain(store, "spend:count_2h", {"customer_id": 7})
