"""The project of the soak test: its definitions, the oracle's twins of them, and messages hard to get right."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from asof import Count, CountDistinct, Entity, EventView, FileSource, Last, Max, StateView, StreamSource, Sum
from asof.definitions.streams import ARRIVED_AT

if TYPE_CHECKING:
    from asof.definitions import FeatureView, Source

CUSTOMERS = 12
VIEWS = ("spend", "large", "latest")
SCHEMA = {
    **{"id": "string", "customer_id": "int64", "ts": "timestamp", "gone": "bool"},
    **{"amount": "float64", "items": "int64", "note": "string"},
}
ROLES: dict[str, Any] = {"event_time": "ts", "event_id": "id", "deleted": "gone"}
PREDICATES = {"amount > 50": lambda row: row["amount"] is not None and row["amount"] > 50}


def views(source: Source) -> list[FeatureView]:
    """Return the views: windows of seconds, a predicate, aggregates that cannot be taken back, and states."""
    customer = Entity("customer", join_key="customer_id")
    windows = ["5s", "30s", "lifetime"]
    spend = [Sum("amount", windows=windows), Count(windows=windows), Max("items", windows=windows)]
    spend += [CountDistinct("note", windows=["30s"]), Last("note", windows=windows)]
    large = [Sum("items", windows=windows), Count(windows=["30s"])]
    return [
        EventView("spend", entity=customer, source=source, features=spend),
        EventView("large", entity=customer, source=source, where="amount > 50", features=large),
        StateView("latest", entity=customer, source=source, features=["amount", "note"], ttl="20s"),
    ]


def stream(topic: str) -> StreamSource:
    """Return the source."""
    return StreamSource("orders", topic=topic, schema=SCHEMA, **ROLES)


def twins() -> list[FeatureView]:
    """Return the views as the oracle reads them: over rows that say when they arrived."""
    return views(FileSource("orders", path="none", available_at=ARRIVED_AT, **ROLES))


class Orders:
    """Makes messages: late ones, doubles, retractions before and after their event, and some that cannot be read."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._name = f"{seed}-{uuid.uuid4().hex[:6]}"
        self._sent: list[dict[str, Any]] = []
        self._waiting: list[dict[str, Any]] = []
        self._number = 0

    def next(self) -> bytes:
        """Return the next message."""
        chance = self._chance
        kind = chance.random()
        if kind < 0.005:
            return b"{no json"
        if kind < 0.08 and self._sent:
            return self._encoded(chance.choice(self._sent[-200:]))  # a double
        if kind < 0.12 and self._sent:
            return self._encoded(self._retraction(chance.choice(self._sent[-300:])))
        if kind < 0.15 and self._waiting:
            return self._encoded(self._waiting.pop(0))  # it was taken back before it came
        order = self._order()
        if kind > 0.99:
            self._waiting.append(order)
            return self._encoded(self._retraction(order))
        self._sent.append(order)
        return self._encoded(order)

    def _order(self) -> dict[str, Any]:
        chance = self._chance
        self._number += 1
        late_s = chance.choice([0.0, 0.0, 0.0, chance.random(), chance.expovariate(0.2), 40 * chance.random()])
        if chance.random() < 0.05:
            late_s = -3 * chance.random()  # its clock is ahead
        customer = min(int(chance.expovariate(0.4)), CUSTOMERS - 1)
        return {
            "id": f"{self._name}-{self._number}",
            "customer_id": customer if chance.random() > 0.01 else None,
            "ts": datetime.now(UTC) - timedelta(seconds=late_s),
            "gone": False,
            "amount": round(chance.expovariate(0.03), 2) if chance.random() > 0.05 else None,
            "items": chance.randrange(1, 50),
            "note": chance.choice(["a", "b", "c", "d", None]),
        }

    def _retraction(self, order: dict[str, Any]) -> dict[str, Any]:
        return {**order, "ts": datetime.now(UTC), "gone": True}

    @staticmethod
    def _encoded(order: dict[str, Any]) -> bytes:
        return json.dumps({**order, "ts": order["ts"].isoformat()}).encode()
