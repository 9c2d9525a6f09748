"""Memory: 50M events x 1M spine rows in a budget of 2 GB: the peak of a process of its own, by the system's count."""

from __future__ import annotations

import os
import sys
import time

from measure import CACHE, Report, Target, main
from workloads import HEAD, event_spine, event_view, events, project

BUDGET = "2GB"
LIMIT_MB = 2500
FUNCTIONS = ["Sum", "Count", "Mean", "Min", "Max", "Stddev"]


def join(root: str, spine: str) -> None:
    """Join and write to a file: what the measured process does."""
    from asof import FeatureStore

    with FeatureStore(root) as store, store.get_historical_features(["spend"], spine, memory_budget=BUDGET) as features:
        features.write(CACHE / "memory.parquet")


def run(quick: bool, report: Report) -> None:
    """Run the join in a child and read its peak resident memory from the system when it has ended."""
    rows, asked = (5_000_000, 100_000) if quick else (50_000_000, 1_000_000)
    directory, spine = events(rows), event_spine(asked)
    store = project("memory", HEAD + event_view("spend", directory, FUNCTIONS))
    root = str(store.config.root)
    store.close()
    started = time.perf_counter()
    child = os.posix_spawn(sys.executable, [sys.executable, __file__, "join", root, str(spine)], os.environ)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise RuntimeError("The join failed")
    took = time.perf_counter() - started
    what = f"{rows:,} events x {asked:,} in {BUDGET}"
    peak_mb = usage.ru_maxrss / 1000 * 1.024
    report.add(f"{what}: peak memory", "MB", peak_mb, target=Target(LIMIT_MB, "at most"))
    report.add(f"{what}: time to file", "s", took)


if __name__ == "__main__":
    if sys.argv[1:2] == ["join"]:
        join(*sys.argv[2:])
    else:
        main(run)
