"""A backfill that is killed leaves whole intervals, each with its record, and goes on from there."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from asof import FeatureStore

if TYPE_CHECKING:
    from pathlib import Path

DEFINITIONS = """\
from asof import BatchView, Entity, FileSource

customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="orders.csv", event_time="ts")
hourly = BatchView(
    "hourly",
    entity=customer,
    inputs=[orders],
    schedule="1h",
    sql="SELECT customer_id, count(*) AS n FROM orders WHERE ts < $end GROUP BY 1",
    features=["n"],
)
"""
WRITER = """\
import sys
from asof import FeatureStore
with FeatureStore(sys.argv[1]) as store:
    store.backfill("hourly", "2026-01-01", "2026-03-01", workers=2, progress=lambda *at: print(*at, flush=True))
"""
HOURS = 59 * 24


@pytest.mark.slow
def test_a_killed_backfill_leaves_no_rows_without_a_record(tmp_path: Path) -> None:
    """Killed after a few runs and after many, several times, then it goes on to the end."""
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    (tmp_path / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    (tmp_path / "orders.csv").write_text("customer_id,ts\n7,2025-12-31T10:00:00Z\n", encoding="utf-8")
    batch = tmp_path / ".asof/offline/batch"
    with FeatureStore(tmp_path) as store:
        store.apply()
        for runs in (1, 7, 65):
            process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            assert all(process.stdout.readline().startswith("hourly ") for _ in range(runs))
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            there = {path.name: pq.read_metadata(path).num_rows for path in batch.rglob("[0-9]*.parquet")}
            assert set(there.values()) == {1}
            assert len({run.start_us for run in store.runs(limit=10**6)}) >= len(there)
        done = store.backfill("hourly", "2026-01-01", "2026-03-01")
        assert (done.intervals, done.skipped) == (HOURS - len(there), len(there))
        assert len({run.start_us for run in store.runs(limit=10**6)}) == HOURS
        assert not list(batch.rglob("*.tmp"))
