"""A project, and rows of it that were just joined, stored, or of a split."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import Count, Entity, EventView, FeatureService, FeatureStore, FileSource, StateView, Sum
from asof.clock import FixedClock, to_us
from asof.services import results
from tests.frameworks.rows import GROUP, START, spine, stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a project whose features are floats, integers, bools and times, some null."""
    (tmp_path / "asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    times = [START + timedelta(hours=n) for n in range(40)]
    table = pa.table(
        {
            "customer_id": [n % 3 for n in range(40)],
            "ts": pa.array(times, pa.timestamp("us", "UTC")),
            "amount": [None if n % 5 == 0 else n / 4 for n in range(40)],
            "level": pa.array([None if n % 4 == 0 else n for n in range(40)], pa.int32()),
            "member": [n % 2 == 0 for n in range(40)],
            "since": pa.array(times, pa.timestamp("us", "UTC")),
            "note": [f"note {n}" for n in range(40)],
        }
    )
    pq.write_table(table, tmp_path / "orders.parquet")
    source = FileSource("orders", path="orders.parquet", event_time="ts")
    customer = Entity("customer", join_key="customer_id")
    sums = [Sum("amount", windows=["1d"]), Count(windows=["1d"])]
    spend = EventView("spend", entity=customer, source=source, features=sums)
    columns = ["level", "member", "since", "note"]
    profile = StateView("profile", entity=customer, source=source, features=columns)
    fraud = FeatureService("fraud", features=[spend, profile["level", "member", "since"]])
    everything = FeatureService("all", features=[spend, profile["level", "member", "note"]])
    noted = FeatureService("noted", features=[profile["note"]])
    with FeatureStore(tmp_path, clock=FixedClock(to_us(START + timedelta(days=9)))) as opened:
        opened.apply(opened.plan([spend, profile, fraud, noted, everything]), who="test")
        yield opened


@pytest.fixture(params=["joined", "stored", "split"])
def rows(request: pytest.FixtureRequest, store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return rows in groups of a few, just joined or stored, all or those of a split."""
    if request.param == "joined":
        monkeypatch.setattr(results, "BATCH_ROWS", GROUP)
        return store.get_historical_features("fraud", spine())
    return stored(store).read("train" if request.param == "split" else None)
