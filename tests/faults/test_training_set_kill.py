"""A training set whose writer is killed is there whole or not at all, and its remains go with the next one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import FeatureStore

if TYPE_CHECKING:
    from pathlib import Path

DEFINITIONS = """\
from asof import Count, Entity, EventView, FeatureService, FileSource, Sum

customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="orders.parquet", event_time="ts")
features = [Sum("amount", windows=["7d"]), Count(windows=["7d"])]
spend = EventView("spend", entity=customer, source=orders, features=features)
fraud = FeatureService("fraud", features=[spend])
"""
ROWS = 200_000
WRITER = """\
import sys
from asof import FeatureStore, RandomSplit
with FeatureStore(sys.argv[1]) as store:
    print("ready", flush=True)
    spine = sys.argv[1] + "/orders.parquet"
    for number in range(1000):
        store.create_training_set(f"{sys.argv[2]}_{number}", "fraud", spine, split=RandomSplit())
"""


@pytest.mark.slow
def test_a_killed_writer_leaves_whole_sets_only(tmp_path: Path) -> None:
    """Killed at several moments; every set that is listed can be rebuilt, and no remains outlive the next write."""
    chance = np.random.default_rng(1)
    times = pa.array(1_700_000_000_000_000 + np.sort(chance.integers(0, 30 * 86_400_000_000, ROWS)), pa.timestamp("us"))
    table = pa.table({"customer_id": chance.integers(0, 5000, ROWS), "ts": times, "amount": chance.random(ROWS)})
    pq.write_table(table, tmp_path / "orders.parquet")
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    (tmp_path / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    sets = tmp_path / ".asof/offline/training_sets"
    with FeatureStore(tmp_path) as store:
        store.apply()
        caught = 0
        for number, after_s in enumerate((0.03, 0.1, 0.2, 0.4, 0.8)):
            process = subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path), f"set{number}"], stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(after_s)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            caught += bool(list(sets.glob(".*")))
            for found in store.training_sets():
                assert len(found) == found.to_arrow().num_rows == ROWS
        assert caught
        made = store.create_training_set("last", "fraud", tmp_path / "orders.parquet")
        assert not list(sets.glob(".*"))
        assert store.rebuild_training_set("last").manifest == made.manifest
