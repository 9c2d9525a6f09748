"""Rows that batch sources published go along, and training sets that were made of them can be rebuilt."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from asof import FeatureStore
from asof.clock import FixedClock, from_us, parse_instant

if TYPE_CHECKING:
    from pathlib import Path

DEFINITIONS = """
from asof import BatchSource, Entity, FeatureService, FileSource, StateView

customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="orders.csv", event_time="ts")
query = "SELECT customer_id, sum(amount) AS total FROM orders GROUP BY 1"
daily = BatchSource("daily", inputs=[orders], schedule="1d", sql=query)
totals = StateView("totals", entity=customer, source=daily, features=["total"])
score = FeatureService("score", features=[totals])
"""
ORDERS = "customer_id,ts,amount\n7,2026-01-01T03:00:00,2.5\n7,2026-01-02T03:00:00,4.5\n8,2026-01-02T05:00:00,1\n"
NOW = parse_instant("2026-01-04T00:00:00")


SPINE = {"customer_id": [7, 8, 9], "event_timestamp": [from_us(NOW)] * 3}


def started(root: Path) -> FeatureStore:
    """Write a project's files and open it."""
    (root / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    (root / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    (root / "orders.csv").write_text(ORDERS, encoding="utf-8")
    return FeatureStore(root, clock=FixedClock(NOW))


def test_a_training_set_over_a_batch_source_is_rebuilt_elsewhere(tmp_path: Path) -> None:
    """With the old directory gone; and nothing is run again."""
    with started(tmp_path) as store:
        store.apply()
        done = store.backfill("daily", "2026-01-01")
        made = store.create_training_set("first", "score", SPINE).to_arrow()
        assert made["totals__total"].to_pylist()[2] is None
        runs = store.runs()
        store.copy(registry="sqlite:///two.db", offline="two", switch=True)
        shutil.rmtree(tmp_path / ".asof/offline")
        assert store.runs() == runs
        assert store.rebuild_training_set("first").to_arrow() == made
        assert store.backfill("daily", "2026-01-01").skipped == done.intervals
