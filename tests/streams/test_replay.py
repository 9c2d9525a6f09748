"""A recorded run, replayed at its real arrival times: what was served then is what training rows built later hold."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from asof import (
    Count,
    CountDistinct,
    Entity,
    EventView,
    FeatureService,
    FeatureStore,
    Last,
    LastN,
    Max,
    Mean,
    StateView,
    Stddev,
    StreamSource,
    Sum,
)
from asof.clock import FixedClock, from_us, to_us
from asof.testing.comparison import identical

if TYPE_CHECKING:
    from pathlib import Path

START_US = to_us(datetime(2026, 3, 1, tzinfo=UTC))
SECOND_US = 1_000_000
CARDS = 6
SCHEMA = {
    **{"id": "int64", "card": "int64", "ts": "timestamp", "gone": "bool"},
    **{"amount": "float64", "shop": "string"},
}


@dataclass
class Recording:
    """A run: what arrived and when, and which cards were scored and when, in the order of time.

    Attributes:
        steps: Of each step its time, the rows that arrived, and the cards that were read.
    """

    steps: list[tuple[int, list[dict[str, Any]], list[int]]] = field(default_factory=list)


def record(seed: int, steps: int) -> Recording:
    """Return payments that arrive late, in bursts, doubled and taken back, and readings between and with them."""
    chance = random.Random(seed)
    found = Recording()
    now_us = START_US
    sent: list[dict[str, Any]] = []
    for _ in range(steps):
        now_us += chance.choice([1, 2, 20_000, 3 * SECOND_US, 40 * SECOND_US])
        rows = []
        for _ in range(chance.choice([0, 1, 1, 2, 7])):
            late_us = chance.choice([0, 0, 1, chance.randrange(SECOND_US), chance.randrange(900 * SECOND_US)])
            row = {
                **{"id": len(sent), "card": chance.randrange(CARDS), "ts": from_us(now_us - late_us), "gone": False},
                **{"amount": chance.choice([0.1, 0.7, 12.35, -3.0, 1e9, None]), "shop": chance.choice("abc")},
            }
            sent.append(row)
            rows.append(row)
        if sent and chance.random() < 0.2:
            rows.append(chance.choice(sent))
        if sent and chance.random() < 0.2:
            rows.append({**chance.choice(sent), "ts": from_us(now_us), "gone": True})
        found.steps.append((now_us, rows, [chance.randrange(CARDS + 1) for _ in range(chance.randrange(3))]))
    return found


def definitions() -> list[Any]:
    """Return windows of every kind of aggregate, states with a ttl, and the service that reads both."""
    card = Entity("card", join_key="card")
    payments = StreamSource("payments", event_time="ts", event_id="id", deleted="gone", schema=SCHEMA)
    windows = ["30s", "10m", "lifetime"]
    features = [Sum("amount", windows=windows), Mean("amount", windows=windows), Stddev("amount", windows=windows)]
    more = [Count(windows=windows), Max("amount", windows=windows), Last("shop", windows=windows)]
    more += [CountDistinct("shop", windows=windows), LastN("amount", 3, windows=windows)]
    spend = EventView("spend", entity=card, source=payments, features=[*features, *more])
    large = EventView(
        "large", entity=card, source=payments, where="amount > 10", features=[Sum("amount", windows=windows)]
    )
    latest = StateView("latest", entity=card, source=payments, features=["amount", "shop"], ttl="1m")
    return [spend, large, latest, FeatureService("fraud", features=[spend, large, latest])]


@dataclass(frozen=True)
class Served:
    """One vector, as a model was given it."""

    card: int
    at: datetime
    values: dict[str, Any]
    statuses: dict[str, str]


def replay(store: FeatureStore, clock: FixedClock, run: Recording) -> list[Served]:
    """Play a recording, some of it before the views are materialized anew, and return what was served."""
    served = []
    for number, (at_us, rows, cards) in enumerate(run.steps):
        clock.set(at_us)
        if rows:
            assert store.push("payments", rows).taken == len(rows)
        if number == len(run.steps) // 2:
            store.materialize()
        for card in cards:
            read = store.get_online_features("fraud", {"card": [card]})
            values = {name: column[0] for name, column in read.to_dict().items()}
            statuses = {name: column[0] for name, column in read.statuses.items()}
            served.append(Served(card, read.at, values, statuses))
    return served


def check(store: FeatureStore, served: list[Served]) -> None:
    """Build training rows at the instants of all vectors, and compare them bit for bit."""
    spine = {"card": [one.card for one in served], "event_timestamp": [one.at for one in served]}
    table = store.get_historical_features("fraud", spine, statuses=True).to_arrow()
    found = table.to_pydict(maps_as_pydicts="strict")
    for row, one in enumerate(served):
        for name, value in one.values.items():
            assert identical(found[name][row], value), (one.card, one.at, name, found[name][row], value)
            assert found[f"{name}__status"][row] == one.statuses[name]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_training_rows_are_the_vectors_that_were_served(seed: int, tmp_path: Path) -> None:
    """At once, after the log's files were joined, after the views were rebuilt, and from another process's view."""
    (tmp_path / "asof.toml").write_text('project = "bank"\n', encoding="utf-8")
    clock = FixedClock(START_US)
    with FeatureStore(tmp_path, clock=clock) as store:
        store.apply(store.plan(definitions()), who="test")
        served = replay(store, clock, record(seed, 110))
        assert len(served) > 50
        assert {"present", "missing", "expired"} <= {status for one in served for status in one.statuses.values()}
        check(store, served)
        log = store.log.of("payments")
        before = log.head()
        assert before.sequence >= 64
        log.compact()
        assert log.head() == before
        check(store, served)
        clock.set(clock.now_us() + SECOND_US)
        store.materialize()
        check(store, served)
    with FeatureStore(tmp_path, clock=clock) as again:
        check(again, served)


def test_a_view_that_lacks_what_another_one_holds_is_stale(tmp_path: Path) -> None:
    """A crash cuts arrivals off before the values are written, and one view is rebuilt: the other one says so."""
    (tmp_path / "asof.toml").write_text('project = "bank"\n', encoding="utf-8")
    clock = FixedClock(START_US)
    row = {"id": 1, "card": 1, "ts": from_us(START_US - 5), "gone": False, "amount": 2.0, "shop": "a"}
    with FeatureStore(tmp_path, clock=clock) as store:
        store.apply(store.plan(definitions()), who="test")
        store.push("payments", [row])
        clock.set(START_US + SECOND_US)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store.online, "update", _cut)
            with pytest.raises(KeyboardInterrupt):
                store.push("payments", [{**row, "id": 2}])
        clock.set(START_US + 2 * SECOND_US)
        store.materialize("spend")
        names = ["spend:count_lifetime", "latest:amount"]
        read = store.get_online_features(names, {"card": [1]})
        assert read.to_dict()["spend__count_lifetime"] == [2]
        assert {name: status for name, [status] in read.statuses.items()} == {
            "spend__count_lifetime": "present",
            "latest__amount": "stale",
        }
        store.push("payments", [{**row, "id": 3}])
        read = store.get_online_features(names, {"card": [1]})
        assert read.to_dict()["spend__count_lifetime"] == [3]
        assert {status for [status] in read.statuses.values()} == {"present"}


def _cut(_: Any) -> None:
    raise KeyboardInterrupt
