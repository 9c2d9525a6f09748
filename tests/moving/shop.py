"""A project with a file view and two streams, one of which has ids, and what reads of it give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asof import FeatureStore
from asof.clock import FixedClock, from_us, parse_instant

if TYPE_CHECKING:
    from pathlib import Path

DEFINITIONS = """
from asof import Count, Entity, EventView, FeatureService, FileSource, Last, StateView, StreamSource, Sum

customer = Entity("customer", join_key="customer_id")
people = FileSource("people", path="people.csv", event_time="since")
profile = StateView("profile", entity=customer, source=people, features=["country"])
types = {"id": "int64", "customer_id": "int64", "amount": "float64", "ts": "timestamp"}
orders = StreamSource("orders", schema=types, event_time="ts", event_id="id")
features = [Sum("amount", windows=["1h", "7d"]), Count(windows=["7d"])]
spend = EventView("spend", entity=customer, source=orders, features=features)
clicks = StreamSource("clicks", schema={"customer_id": "int64", "page": "string", "at": "timestamp"}, event_time="at")
seen = EventView("seen", entity=customer, source=clicks, features=[Last("page"), Count(windows=["lifetime"])])
fraud = FeatureService("fraud", features=[spend, profile, seen])
"""
PEOPLE = "customer_id,since,country\n1,2026-01-01,NL\n2,2026-01-02,DE\n1,2026-01-10,FR\n"
NOW = parse_instant("2026-01-15T12:00:00")
READ = parse_instant("2026-01-15T13:00:00")
"""When values are asked for: after all arrivals, which come a moment after each other."""
KEYS = {"customer_id": [2, 1, 3, 17]}


def start(root: Path, settings: str = "") -> FeatureStore:
    """Write a project's files and open it."""
    root.mkdir()
    (root / "asof.toml").write_text(f'project = "shop"\n{settings}', encoding="utf-8")
    (root / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    (root / "people.csv").write_text(PEOPLE, encoding="utf-8")
    return opened(root)


def opened(root: Path) -> FeatureStore:
    """Open the project as another process would, at its fixed moment."""
    return FeatureStore(root, clock=FixedClock(NOW))


def fill(store: FeatureStore) -> None:
    """Do what a project does: apply, push, materialize, keep a training set, and set rows apart."""
    store.apply()
    push(store, 0, 30)
    store.push("orders", [{"id": None, "customer_id": 1, "amount": 1.0, "ts": "2026-01-15T11:00:00"}])
    store.materialize()
    store.create_training_set("first", "fraud", {**KEYS, "event_timestamp": [from_us(NOW)] * 4})


def push(store: FeatureStore, start: int, end: int) -> None:
    """Push orders and clicks of these numbers; an id below that comes again counts once."""
    orders = [
        {"id": n // 2, "customer_id": n % 20, "amount": n / 4, "ts": f"2026-01-{8 + n % 7:02}T10:{n % 60:02}:00"}
        for n in range(start, end)
    ]
    store.push("orders", orders)
    store.push("clicks", [{"customer_id": n % 20, "page": f"/{n}", "at": orders[0]["ts"]} for n in range(start, end)])


def read(store: FeatureStore) -> tuple[Any, ...]:
    """Return what a read gives, values and all."""
    found = store.get_online_features("fraud", KEYS, at=from_us(READ))
    return found.to_dict(), found.statuses, found.event_times


def history(store: FeatureStore) -> dict[str, list[Any]]:
    """Return the training rows of the same keys and instant, which are to equal what is read."""
    spine = {**KEYS, "event_timestamp": [from_us(READ)] * 4}
    table = store.get_historical_features("fraud", spine).to_arrow()
    return {name: table[name].to_pylist() for name in table.column_names if "__" in name}


def same(store: FeatureStore) -> bool:
    """Return whether what is read online is what history gives."""
    values = read(store)[0]
    return all(values[name] == rows for name, rows in history(store).items())
