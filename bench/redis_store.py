"""Redis as the online store: HTTP reads, materializing and taking arrivals in; Feast on the same server beside.

HTTP figures are answers per second of the serving process's own processor time, as in `online_http`.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feast_process import ENVIRONMENT, VERSION, Feast, Redis, environment, free_port
from measure import Report, Target, alternate, main, pin
from online_http import FEAST_KEYS, Side, serving
from workloads import END_US, HEAD, STATE_COLUMNS, VIEWS, project, state_rows, state_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof import FeatureStore

ROUNDS = 3
READS = {1: (VIEWS[:1], 20), 100: (VIEWS, 50)}
EVENTS = """
schema = {"customer_id": "int64", "amount": "float64", "ts": "timestamp"}
orders = StreamSource("orders", event_time="ts", schema=schema)
windows = ["1h", "1d", "30d"]
aggregates = [function("amount", windows=windows) for function in (Sum, Mean, Min, Max)]
spend = EventView("spend", entity=customer, source=orders, features=[*aggregates, Count(windows=windows)])
"""


@contextlib.contextmanager
def our_sides(port: int, keys: int) -> Iterator[dict[int, Side]]:
    """Serve services of one view and of three with one worker, from Redis."""
    path = {view: state_rows(view, keys, keys) for view in VIEWS}
    definitions = HEAD + "".join(state_view(view, path[view], ttl=None) for view in VIEWS)
    definitions += "".join(
        f"s{count} = FeatureService('s{count}', features=[{', '.join(views)}])\n" for count, (views, _) in READS.items()
    )
    with project("redis_http", definitions, online=f"redis://127.0.0.1:{port}/0") as store:
        store.materialize()
        root = str(store.config.root)
    http = free_port()
    command = [sys.executable, "-m", "asof.cli", "--project", root, "serve", "--port", str(http)]
    with serving(command, http) as server:
        sides = {
            count: Side(http, server, "/v1/online-features", lambda k, s=f"s{count}": {"service": s, "keys": k})
            for count in READS
        }
        sides[1].wait_until_it_answers()
        yield sides


@contextlib.contextmanager
def feast_sides(port: int) -> Iterator[dict[int, Side] | None]:
    """Serve the same columns with Feast from the same Redis, or nothing where it is not available."""
    programs = environment()
    if programs is None:
        yield None
        return
    paths = {view: state_rows(view, FEAST_KEYS, FEAST_KEYS) for view in VIEWS}
    with Feast(programs, paths, redis=port) as feast:
        feast.ask("materialize")
        http = free_port()
        options = ["-h", "127.0.0.1", "-p", str(http), "-w", "1", "--no-access-log", "--max-requests", "0"]
        command = [str(programs / "feast"), "-c", str(feast.directory), "serve", *options]
        with serving(command, http, ENVIRONMENT) as server:
            sides = {}
            for count, (views, _) in READS.items():
                names = [f"{view}:{column}" for view in views for column in STATE_COLUMNS]
                sides[count] = Side(
                    http,
                    server,
                    "/get-online-features",
                    lambda k, names=names: {"features": names, "entities": k, "full_feature_names": True},
                )
            sides[1].wait_until_it_answers()
            yield sides


def loaded(side: Side, count: int, duration_s: float) -> Callable[[], float]:
    """Return what measures a server with requests for so many keys."""
    messages = side.messages(count)
    return lambda: side.measure(messages, duration_s)


def reads(report: Report, port: int, quick: bool) -> None:
    """Load both servers in turn."""
    duration_s = 3 if quick else 6
    with our_sides(port, FEAST_KEYS) as ours, feast_sides(port) as feast:
        for count, (views, ratio) in READS.items():
            sides = {"ours": ours[count], "feast": feast[count] if feast else None}
            rates = alternate(
                {name: loaded(side, count, duration_s) if side else None for name, side in sides.items()}, ROUNDS
            )
            walls = ", ".join(f"{name} {side.loads[-1].per_second:,.0f}" for name, side in sides.items() if side)
            report.add(
                f"HTTP from Redis, {count} {'key' if count == 1 else 'keys'} x {15 * len(views)}",
                "requests/s",
                rates["ours"],
                peer=f"Feast {VERSION}, the same Redis" + ("" if feast else ": not available"),
                theirs=rates["feast"],
                target=Target(ratio, "ratio"),
                note=f"requests per second of wall time, client included: {walls}",
            )


def materializing(report: Report, port: int, quick: bool) -> None:
    """Write a state view of 15 columns; Feast gets a tenth of the keys, its rate does not depend on them."""
    keys = 100_000 if quick else 1_000_000
    definitions = HEAD + state_view("alpha", state_rows("alpha", keys, keys), ttl=None)
    store = project("redis_materialize", definitions, now_us=END_US, online=f"redis://127.0.0.1:{port}/0")

    def rate() -> float:
        (done,) = store.materialize(["alpha"])
        return done.keys / done.seconds

    ours = alternate({"ours": rate}, ROUNDS)["ours"]
    store.close()
    feast, programs = None, environment()
    if programs is not None:
        with Feast(programs, {"alpha": state_rows("alpha", keys // 10, keys // 10)}, redis=port) as peer:
            feast = keys / 10 / peer.ask("materialize")
    report.add(
        f"Materialize to Redis, {keys:,} keys x 15",
        "keys/s",
        ours,
        peer=f"Feast {VERSION}, {keys // 10:,} keys to the same Redis" + ("" if feast else ": not available"),
        theirs=feast,
        target=Target(40, "ratio"),
    )


def arrivals(report: Report, port: int, quick: bool) -> None:
    """Push batches of 10,000 events of 100,000 keys into 15 windows, to Redis and to LMDB."""
    rng = np.random.default_rng(7)
    rows, batches = 10_000, 4 if quick else 20

    def batch(number: int) -> pa.Table:
        seconds = END_US // 1_000_000 + number * 60 + rng.integers(0, 60, rows)
        times = pa.array(seconds * 1_000_000, pa.timestamp("us", "UTC"))
        return pa.table(
            {"customer_id": rng.integers(0, 100_000, rows), "amount": rng.exponential(50, rows), "ts": times}
        )

    tables = [batch(number) for number in range(batches * (ROUNDS + 1))]

    def side(name: str, online: str) -> tuple[FeatureStore, Iterator[pa.Table]]:
        return project(name, HEAD + EVENTS, online=online), iter(tables)

    def rate(store: FeatureStore, turn: Iterator[pa.Table]) -> float:
        started = time.perf_counter()
        for _ in range(batches):
            store.push("orders", next(turn))
        return rows * batches / (time.perf_counter() - started)

    sides = {"redis": side("redis_push", f"redis://127.0.0.1:{port}/0"), "lmdb": side("lmdb_push", "")}
    for store, turn in sides.values():
        rate(store, turn)
    rates = alternate({name: lambda found=found: rate(*found) for name, found in sides.items()}, ROUNDS)
    for store, _ in sides.values():
        store.close()
    report.add(
        f"Push into Redis, {rows:,} events at a time, 15 windows",
        "events/s",
        rates["redis"],
        peer="the same into LMDB",
        theirs=rates["lmdb"],
        target=Target(0.5, "ratio"),
    )


def run(quick: bool, report: Report) -> None:
    """One server for all; nothing where Redis is not installed."""
    if not shutil.which("redis-server"):
        report.add("Redis", "requests/s", None, note="redis-server is not on the PATH")
        return
    random.seed(7)
    with Redis() as redis:
        arrivals(report, redis.port, quick)
        materializing(report, redis.port, quick)
        pin(1)()
        reads(report, redis.port, quick)


if __name__ == "__main__":
    main(run)
