"""Online reads through the facade: forms of keys, instants, several entities, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import Count, Entity, EventView, FeatureService, FeatureStore, FileSource, StateView, Sum
from asof.clock import FixedClock, to_us
from asof.errors import ConflictError, FeatureValueError, InputError, NotFoundError, NotMaterializedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a store with spend of customers and the capacity of shops by day, materialized at noon."""
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    instants = [NOON - timedelta(hours=hours) for hours in (30, 2, 1)]
    orders = {"customer_id": [1, 1, 2], "ts": instants, "amount": [5.0, 7.0, 9.0]}
    pq.write_table(pa.table(orders), tmp_path / "orders.parquet")
    days = {"shop": ["x", "y"], "day": [date(2026, 1, 1), date(2026, 1, 1)], "since": [NOON, NOON], "capacity": [3, 4]}
    pq.write_table(pa.table(days), tmp_path / "days.parquet")
    customer = Entity("customer", join_key="customer_id")
    spend = EventView(
        "spend",
        entity=customer,
        source=FileSource("orders", "orders.parquet", event_time="ts"),
        features=[Sum("amount", windows=["1d"], default=0.0), Count(windows=["1d"])],
    )
    capacity = StateView(
        "capacity",
        entity=Entity("shop_day", join_keys=["shop", "day"]),
        source=FileSource("days", "days.parquet", event_time="since"),
        features=["capacity"],
    )
    both = FeatureService("both", features=[capacity, spend["count_1d"]])
    with FeatureStore(tmp_path, clock=FixedClock(to_us(NOON))) as opened:
        opened.apply(opened.plan([spend, capacity, both]), who="test")
        opened.materialize()
        yield opened


@pytest.mark.parametrize(
    "keys",
    [
        {"customer_id": [1, 3, None]},
        {"customer_id": (1, 3, None)},
        {"customer_id": pa.array([1, 3, None])},
        {"customer_id": pd.Series([1, 3, None], dtype="object")},
        [{"customer_id": 1}, {"customer_id": 3}, {"customer_id": None}],
    ],
    ids=["list", "tuple", "arrow", "pandas", "rows"],
)
def test_keys_come_in_any_usual_form(store: FeatureStore, keys: Any) -> None:
    """Answers are in the keys' order; unknown and null keys are missing, with counts 0 and defaults."""
    read = store.get_online_features(["spend"], keys)
    assert read.to_dict() == {"spend__amount_sum_1d": [7.0, 0.0, 0.0], "spend__count_1d": [1, 0, 0]}
    assert read.statuses["spend__count_1d"] == ["present", "missing", "missing"]
    assert read.event_times == {"spend": [NOON - timedelta(hours=2), None, None]}


def test_numpy_keys_are_integers(store: FeatureStore) -> None:
    """A NumPy array is a column of keys."""
    read = store.get_online_features(["spend:count_1d"], {"customer_id": np.array([2, 1])})
    assert read.to_dict() == {"spend__count_1d": [1, 1]}


@pytest.mark.parametrize("day", [date(2026, 1, 1), "2026-01-01"])
def test_a_service_may_need_several_entities(store: FeatureStore, day: object) -> None:
    """Each view takes its own join keys; columns come in the service's order."""
    read = store.get_online_features("both", {"customer_id": [1], "shop": ["y"], "day": [day]})
    assert read.to_dict() == {"capacity__capacity": [4], "spend__count_1d": [1]}
    assert list(read.to_arrow().schema.names) == ["capacity__capacity", "spend__count_1d"]
    assert read.versions["spend"] == {"version": 1, "generation": 1, "instant": NOON}


def test_two_versions_of_a_view_are_told_apart(store: FeatureStore) -> None:
    """Each with its own place in versions, event times and JSON."""
    changed = EventView(
        "spend",
        entity=Entity("customer", join_key="customer_id"),
        source=FileSource("orders", "orders.parquet", event_time="ts"),
        features=[Sum("amount", windows=["1d"]), Count(windows=["1d"])],
    )
    store.apply(store.plan([changed]), who="test")
    store.materialize(["spend@2"])
    read = store.get_online_features(["spend@1:count_1d", "spend@2:amount_sum_1d"], {"customer_id": [1, 3]})
    assert read.to_dict() == {"spend__count_1d": [1, 0], "spend__amount_sum_1d": [7.0, None]}
    assert {name: one["version"] for name, one in read.versions.items()} == {"spend@1": 1, "spend@2": 2}
    assert read.event_times == {name: [NOON - timedelta(hours=2), None] for name in ("spend@1", "spend@2")}
    assert set(msgspec.json.decode(read.to_json(metadata=True))["views"]) == {"spend@1", "spend@2"}


def test_windows_age_with_the_clock_of_the_read(store: FeatureStore) -> None:
    """A day later the same generation gives empty windows, and the entity is still known."""
    read = store.get_online_features(["spend"], {"customer_id": [1]}, at=NOON + timedelta(days=1))
    assert read.to_dict() == {"spend__amount_sum_1d": [0.0], "spend__count_1d": [0]}
    assert read.statuses == {"spend__amount_sum_1d": ["null"], "spend__count_1d": ["present"]}


def test_a_clock_behind_the_generation_reads_at_its_instant(store: FeatureStore) -> None:
    """Machines disagree about now; an implicit now never goes back behind what was materialized."""
    assert isinstance(store.clock, FixedClock)
    store.clock.set(to_us(NOON) - 10_000_000)
    assert store.get_online_features(["spend"], {"customer_id": [1]}).at == NOON


def test_the_past_is_refused_when_it_is_asked_for(store: FeatureStore) -> None:
    """An explicit instant before the generation's cannot be answered from what is stored."""
    with pytest.raises(NotMaterializedError, match="get_historical_features"):
        store.get_online_features(["spend"], {"customer_id": [1]}, at=NOON - timedelta(seconds=1))


def test_an_older_materialization_never_replaces_a_newer_one(store: FeatureStore) -> None:
    """The generation in place stays."""
    with pytest.raises(ConflictError):
        store.materialize(["spend"], at=NOON - timedelta(days=1))
    assert store.get_online_features(["spend:count_1d"], {"customer_id": [1]}).to_dict() == {"spend__count_1d": [1]}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"customer": [1]}, "'customer_id' is missing"),
        ({"customer_id": [1], "costumer": [1]}, "'costumer' is not a join key"),
        ({"customer_id": ["1"]}, "expected an int"),
        ({"customer_id": [True]}, "expected an int"),
        ({"customer_id": [2**63]}, "64 bits"),
        ({"customer_id": "17"}, "not columns of one length"),
        ({}, "'customer_id' is missing"),
        ([], "Keys are a list"),
        (17, "Keys are a int"),
    ],
)
def test_wrong_keys_are_refused(store: FeatureStore, keys: Any, message: str) -> None:
    """The error names the key and what it takes."""
    with pytest.raises(InputError, match=message):
        store.get_online_features(["spend"], keys)


@pytest.mark.parametrize(("shop", "day"), [("x", 3), ("x", datetime(2026, 1, 1, tzinfo=UTC)), ("x", "soon"), (5, None)])
def test_wrong_parts_of_a_composite_key_are_refused(store: FeatureStore, shop: object, day: object) -> None:
    """A date is no number, no datetime and no word."""
    with pytest.raises(InputError, match="is not a key"):
        store.get_online_features(["capacity"], {"shop": [shop], "day": [day]})


def test_columns_of_different_lengths_are_refused(store: FeatureStore) -> None:
    """Each row of the answer needs all its keys."""
    with pytest.raises(InputError, match="one length"):
        store.get_online_features("both", {"customer_id": [1, 2], "shop": ["y"], "day": ["2026-01-01"]})


def test_unknown_names_say_what_is_near(store: FeatureStore) -> None:
    """As everywhere else."""
    with pytest.raises(NotFoundError, match="Did you mean both"):
        store.get_online_features("bot", {"customer_id": [1]})
    with pytest.raises(NotFoundError, match="Did you mean count_1d"):
        store.get_online_features(["spend:count_2d"], {"customer_id": [1]})


def test_a_view_that_was_never_materialized_says_what_to_run(store: FeatureStore) -> None:
    """Rather than answering nulls."""
    view = EventView(
        "visits",
        entity=Entity("customer", join_key="customer_id"),
        source=FileSource("orders", "orders.parquet", event_time="ts"),
        features=[Count(windows=["1h"])],
    )
    store.apply(store.plan([view]), who="test")
    with pytest.raises(NotMaterializedError, match="asof materialize visits"):
        store.get_online_features(["visits"], {"customer_id": [1]})


def test_a_sum_that_does_not_fit_is_no_matter_of_its_siblings(tmp_path: Path) -> None:
    """The features that are asked for are served; the sum itself is refused, as in training."""
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    most = 2**63 - 1
    table = pa.table({"customer_id": [1, 1], "ts": [NOON - timedelta(hours=1)] * 2, "points": [most, most]})
    pq.write_table(table, tmp_path / "points.parquet")
    view = EventView(
        "points",
        entity=Entity("customer", join_key="customer_id"),
        source=FileSource("points", "points.parquet", event_time="ts"),
        features=[Sum("points", windows=["1d"]), Count(windows=["1d"])],
    )
    with FeatureStore(tmp_path, clock=FixedClock(to_us(NOON))) as store:
        store.apply(store.plan([view]), who="test")
        store.materialize()
        keys = {"customer_id": [1]}
        assert store.get_online_features(["points:count_1d"], keys).to_dict() == {"points__count_1d": [2]}
        with pytest.raises(FeatureValueError, match="points_sum_1d"):
            store.get_online_features(["points"], keys)
