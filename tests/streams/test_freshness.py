"""How old values may be before a read says so, by both clocks and in every form; the values stay."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asof import Count, Entity, EventView, FeatureService, FileSource, StateView, StreamSource
from asof.clock import FixedClock, from_us
from asof.interfaces.online import ViewKey
from asof.store import FeatureStore

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND = 1_000_000
START = 1_750_000_000 * SECOND
KEYS = {"customer_id": [1]}
SCHEMA = {"customer_id": "int64", "amount": "int64", "ts": "timestamp"}
customer = Entity("customer", join_key="customer_id")
orders = StreamSource("orders", event_time="ts", schema=SCHEMA)
spend = EventView("spend", entity=customer, source=orders, features=[Count(windows=["lifetime"])], freshness="5s")
last = StateView("last", entity=customer, source=orders, features=["amount"])
fraud = FeatureService("fraud", features=[spend, last, spend.with_role("other", keys={"customer_id": "customer_id"})])
filled = FeatureService("filled", features=[spend["count_lifetime"].with_missing(default=-1, indicator=True)])
strict = FeatureService("strict", features=[spend["count_lifetime"].with_missing(error=True)])


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


@pytest.fixture
def store(clock: FixedClock) -> Iterator[FeatureStore]:
    with FeatureStore.temporary(clock=clock) as opened:
        opened.apply(opened.plan([spend, last, fraud, filled, strict]))
        opened.push("orders", [row()])
        clock.set(START + 1)
        yield opened


def row(amount: int = 7) -> dict[str, Any]:
    return {"customer_id": 1, "amount": amount, "ts": from_us(START - SECOND)}


def statuses(store: FeatureStore, **options: Any) -> dict[str, str]:
    found = store.get_online_features("fraud", KEYS, **options)
    assert found.to_dict()["spend__count_lifetime"] == [1]
    return {name: status for name, (status,) in found.statuses.items()}


def test_values_are_stale_after_their_objective_and_stay(store: FeatureStore, clock: FixedClock) -> None:
    """At the objective they are still fresh, a microsecond later they are not; a view without one never is."""
    clock.set(START + 5 * SECOND + 1)
    assert set(statuses(store).values()) == {"present"}
    clock.set(START + 5 * SECOND + 11)
    found = statuses(store)
    assert found.pop("last__amount") == "present"
    assert set(found.values()) == {"stale"}
    assert len(found) == 2


def test_a_stale_value_is_stale_in_every_form(store: FeatureStore, clock: FixedClock) -> None:
    """JSON and Arrow say it as Python does, and have the value."""
    clock.set(START + 60 * SECOND)
    found = store.get_online_features(["spend"], KEYS)
    assert found.to_arrow(statuses=True).to_pydict() == {
        "spend__count_lifetime": [1],
        "spend__count_lifetime__status": ["stale"],
    }
    (result,) = json.loads(found.to_json(metadata=True))["results"]
    assert (result["values"], result["statuses"]) == ([1], ["stale"])


def test_an_instant_that_is_asked_for_is_the_clock_of_the_objective(store: FeatureStore, clock: FixedClock) -> None:
    """What was fresh then is fresh, however late it is asked; what will be old then is stale, however early."""
    clock.set(START + 3600 * SECOND)
    assert statuses(store, at=from_us(START + SECOND))["spend__count_lifetime"] == "present"
    clock.set(START + 2)
    assert statuses(store, at=from_us(START + 6 * SECOND))["spend__count_lifetime"] == "stale"


def test_a_view_that_is_known_to_be_caught_up_is_not_stale(store: FeatureStore, clock: FixedClock) -> None:
    """Nothing has arrived for an hour, and whoever reads the topic knows that."""
    clock.set(START + 3600 * SECOND)
    store.ingestor("orders").ingestor.note_checked()
    clock.set(START + 3605 * SECOND)
    assert statuses(store)["spend__count_lifetime"] == "present"
    clock.set(START + 3605 * SECOND + 1)
    assert statuses(store)["spend__count_lifetime"] == "stale"


def test_a_view_from_batches_is_as_old_as_its_generation(clock: FixedClock) -> None:
    """When it was written does not count, but the instant that it shows; a new generation is fresh."""
    people = FileSource("people", path="people.csv", event_time="since")
    profile = StateView("profile", entity=customer, source=people, features=["country"], freshness="1h")
    with FeatureStore.temporary(clock=clock) as store:
        (store.config.root / "people.csv").write_text("customer_id,country,since\n1,NL,2025-01-01\n", encoding="utf-8")
        store.apply(store.plan([profile]))
        store.materialize(at=from_us(START))
        for later, status in ((3600 * SECOND, "present"), (3600 * SECOND + 1, "stale")):
            clock.set(START + later)
            found = store.get_online_features(["profile"], KEYS)
            assert found.statuses == {"profile__country": [status]}
            assert found.to_dict() == {"profile__country": ["NL"]}
        store.materialize()
        assert store.get_online_features(["profile"], KEYS).statuses == {"profile__country": ["present"]}


def test_arrivals_that_are_stuck_make_any_view_stale(store: FeatureStore, clock: FixedClock) -> None:
    """For five seconds they are on their way, then whoever took them in has died; the next batch mends it."""
    store.online.announce([ViewKey(store.config.project, "last", 1)], START + 10)
    clock.set(START + 5 * SECOND + 10)
    assert statuses(store)["last__amount"] == "present"
    clock.set(START + 5 * SECOND + 11)
    assert statuses(store)["last__amount"] == "stale"
    store.push("orders", [])
    store.ingestor("orders").ingestor.note_checked()
    assert statuses(store)["last__amount"] == "present"


def test_a_stale_value_is_not_missing(store: FeatureStore, clock: FixedClock) -> None:
    """Defaults, indicators and errors of a service are for values that are not there."""
    clock.set(START + 60 * SECOND)
    found = store.get_online_features("filled", KEYS)
    assert found.to_dict() == {"spend__count_lifetime": [1], "spend__count_lifetime__missing": [False]}
    assert found.statuses["spend__count_lifetime"] == ["stale"]
    assert store.get_online_features("strict", KEYS).to_dict() == {"spend__count_lifetime": [1]}


def test_freshness_is_no_part_of_a_views_version(store: FeatureStore) -> None:
    """Another objective is a change of metadata, which the plan names, and holds at once."""
    changed = EventView("spend", entity=customer, source=orders, features=[Count(windows=["lifetime"])], freshness="1m")
    plan = store.plan([changed, last])
    (change,) = [one for one in plan.changes if one.name == "spend"]
    assert (change.action, change.details) == ("metadata", ("freshness changed: 5s -> 1m",))
