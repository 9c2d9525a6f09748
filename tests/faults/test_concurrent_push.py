"""Processes and threads that push into one source at once: every row counts once, and every read is of a moment."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from asof import Count, Entity, EventView, FeatureStore, FileSource, Sum
from asof.clock import to_us
from asof.definitions.streams import ARRIVED_AT
from asof.testing import oracle

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

FEATURES = """
from asof import Count, Entity, EventView, StreamSource, Sum

customer = Entity("customer", join_key="customer_id")
types = {"id": "string", "customer_id": "int64", "amount": "int64", "ts": "timestamp"}
orders = StreamSource("orders", schema=types, event_time="ts", event_id="id")
aggregates = [Sum("amount", windows=["lifetime"]), Count(windows=["lifetime"])]
spend = EventView("spend", entity=customer, source=orders, features=aggregates)
"""
CUSTOMERS = [0, 1, 2]
COUNT = "spend__count_lifetime"
ROWS, BATCH = 200, 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    (tmp_path / "features.py").write_text(FEATURES, encoding="utf-8")
    with FeatureStore(tmp_path) as store:
        store.apply()
        store.ingestor("orders")
    return tmp_path


def rows_of(pusher: int) -> list[dict[str, Any]]:
    """Return a pusher's rows: half of their ids are those of its neighbour, with another amount; some have none."""
    return [
        {
            "id": None if i % 10 == 9 else f"{pusher + i % 2}-{i}",
            "customer_id": i % 3,
            "amount": 10**pusher,
            "ts": "2026-01-01T00:00:00Z",
        }
        for i in range(ROWS)
    ]


def check(store: FeatureStore, pushers: int) -> None:
    """Compare with the oracle over the log, which has every row that is fine; the others are dead letters."""
    log = store.log.of("orders")
    tables = [table for _, table in log.read(0, log.head().sequence)]
    logged = list(chain.from_iterable(table.to_pylist() for table in tables))
    fine = [row for pusher in range(pushers) for row in rows_of(pusher) if row["id"] is not None]
    assert sorted((row["id"], row["amount"]) for row in logged) == sorted((row["id"], row["amount"]) for row in fine)
    assert store.dead_letters("orders").total == pushers * ROWS // 10
    source = FileSource("orders", path="-", event_time="ts", event_id="id", available_at=ARRIVED_AT)
    features = [Sum("amount", windows=["lifetime"]), Count(windows=["lifetime"])]
    twin = EventView("spend", entity=Entity("customer", join_key="customer_id"), source=source, features=features)
    read = store.get_online_features(["spend"], {"customer_id": CUSTOMERS})
    exact = oracle.history(twin, logged, [((customer,), to_us(read.at)) for customer in CUSTOMERS])
    for feature in ("amount_sum_lifetime", "count_lifetime"):
        assert read.to_dict()[f"spend__{feature}"] == [one.values[feature] for one in exact]


def test_threads_of_one_process(root: Path) -> None:
    """Reads meanwhile never see a count fall."""
    with FeatureStore(root) as store:
        seen: list[int] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                seen.append(store.get_online_features(["spend"], {"customer_id": [0]}).to_dict()[COUNT][0])

        def push(pusher: int) -> None:
            rows = rows_of(pusher)
            for start in range(0, ROWS, BATCH):
                done = store.push("orders", rows[start : start + BATCH])
                assert (done.taken, len(done.refused), done.behind) == (BATCH - 2, 2, {})

        reader = threading.Thread(target=read)
        reader.start()
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(push, pusher) for pusher in range(4)]:
                done.result()
        stop.set()
        reader.join()
        assert seen == sorted(seen)
        check(store, 4)


def test_processes_one_of_which_is_killed_and_pushes_again(root: Path) -> None:
    """What it had pushed is known by its ids, so nothing counts twice."""
    command = [sys.executable, "-m", "asof.cli", "--project", str(root), "push", "orders"]
    for pusher in range(4):
        lines = "".join(json.dumps(row) + "\n" for row in rows_of(pusher))
        (root / f"{pusher}.ndjson").write_text(lines, encoding="utf-8")

    def start(pusher: int) -> subprocess.Popen[str]:
        arguments = [*command, str(root / f"{pusher}.ndjson"), "--batch-size", str(BATCH), "--json"]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    running = [start(pusher) for pusher in range(4)]
    for process in running:
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        done = json.loads(out)
        assert (done["taken"], done["refused"]) == (ROWS * 9 // 10, ROWS // 10)
    with FeatureStore(root) as store:
        check(store, 4)
        before = store.get_online_features(["spend"], {"customer_id": CUSTOMERS}).to_dict()
        killed = start(0)
        head = store.log.of("orders").head().sequence
        while store.log.of("orders").head().sequence < head + 2 and killed.poll() is None:
            pass
        killed.kill()
        killed.communicate(timeout=60)
        again = start(0)
        out, err = again.communicate(timeout=200)
        assert again.returncode == 0, err
        assert store.get_online_features(["spend"], {"customer_id": CUSTOMERS}).to_dict() == before
