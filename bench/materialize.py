"""Materializing: a million keys x 15 features from Parquet to LMDB, a state view and an event view; Feast beside."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from feast_process import VERSION, Feast, Redis, environment
from measure import Report, Target, alternate, main
from workloads import END_US, HEAD, event_view, events, project, state_rows, state_view

if TYPE_CHECKING:
    from asof import FeatureStore


def rows_per_second(store: FeatureStore, view: str) -> float:
    """Materialize once and return keys written per second."""
    (done,) = store.materialize([view])
    return done.keys / done.seconds


def run(quick: bool, report: Report) -> None:
    """Materialize each view three times; Feast gets a tenth of the keys, its rate does not depend on them."""
    keys = 100_000 if quick else 1_000_000
    spent = events(keys * 3)
    definitions = HEAD + state_view("alpha", state_rows("alpha", keys, keys), ttl=None)
    definitions += event_view("spend", spent, ["Sum", "Count", "Mean"])
    store = project("materialize", definitions, now_us=END_US)
    rates = alternate(
        {"state": lambda: rows_per_second(store, "alpha"), "event": lambda: rows_per_second(store, "spend")}, 3
    )
    feast = feast_rate(keys // 10)
    report.add(
        f"Materialize a state view, {keys:,} keys x 15",
        "keys/s",
        rates["state"],
        peer=f"Feast {VERSION}, {keys // 10:,} keys to Redis" + ("" if feast else ": not available"),
        theirs=feast,
        target=Target(300_000, "at least"),
    )
    report.add(f"Materialize an event view, {keys * 3:,} events x 15 windows", "keys/s", rates["event"])
    store.close()
    shutil.rmtree(store.config.root)


def feast_rate(keys: int) -> float | None:
    """Return keys per second that Feast writes to Redis, measured once."""
    programs = environment()
    if programs is None or not shutil.which("redis-server"):
        return None
    with Redis() as redis, Feast(programs, {"alpha": state_rows("alpha", keys, keys)}, redis=redis.port) as feast:
        return keys / feast.ask("materialize")


if __name__ == "__main__":
    main(run)
