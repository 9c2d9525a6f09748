"""A temporary store, a frame of orders, and two views on it, as a notebook would define them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from asof import Count, Entity, EventView, FeatureStore, FrameSource, StateView, Sum
from asof.clock import FixedClock, parse_instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.definitions import FeatureView

ORDERS = {
    "customer_id": [1, 1, 2],
    "ts": [parse_instant(day) for day in ("2026-01-01", "2026-01-02", "2026-01-02")],
    "amount": [1.0, 2.0, 3.0],
    "country": ["NL", "BE", "DE"],
}


def orders() -> pa.Table:
    """Return three orders of two customers, in the first two days of 2026."""
    return pa.table({**ORDERS, "ts": pa.array(ORDERS["ts"], pa.timestamp("us"))})


@dataclass(frozen=True)
class Notebook:
    """What a notebook holds after its first cell."""

    store: FeatureStore
    spend: FeatureView
    profile: FeatureView

    def counts(self, spine: object, **options: str) -> list[int]:
        """Return how many orders of the last week each row of a spine sees."""
        with self.store.get_historical_features([self.spend["count_7d"]], spine, **options) as found:  # type: ignore[arg-type]
            counts: list[int] = found.to_arrow()["spend__count_7d"].to_pylist()
        return counts


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    """Return a temporary store and two views on one frame, nothing applied."""
    customer = Entity("customer", join_key="customer_id")
    source = FrameSource("orders", event_time="ts", frame=orders())
    spend = EventView(
        "spend", entity=customer, source=source, features=[Sum("amount", windows=["7d"]), Count(windows=["7d"])]
    )
    profile = StateView("profile", entity=customer, source=source, features=["country"], ttl="30d")
    with FeatureStore.temporary(clock=FixedClock(parse_instant("2026-02-01"))) as store:
        yield Notebook(store, spend, profile)
