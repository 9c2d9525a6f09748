"""Processes that push are killed, run out of disk or meet each other: nothing acknowledged is lost or counted twice."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from asof import Count, Entity, EventView, FeatureStore, FileSource, LastN, Max, StateView, StreamSource, Sum
from asof.clock import to_us
from asof.definitions.streams import ARRIVED_AT
from asof.errors import StoreFullError
from asof.interfaces.log import ENTRY
from asof.testing import oracle
from asof.testing.comparison import differences
from asof.testing.oracle import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asof.definitions import FeatureView, Source

SCHEMA = {"k": "int64", "ts": "timestamp", "id": "int64", "gone": "bool", "n": "int64", "note": "string"}
ROLES: dict[str, Any] = {"event_time": "ts", "event_id": "id", "deleted": "gone"}
KEYS = range(4)

ROWS = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from asof import FeatureStore

def rows_of(batch, writer):
    "A batch: three new events, one that came before, and now and then one is taken back before or after it came."
    first = writer * 1_000_000 + batch * 3
    at = datetime.now(UTC) - timedelta(minutes=batch * 7 % 90)
    def row(id, gone=False):
        return {"k": id % 4, "ts": at, "id": id, "gone": gone, "n": id, "note": "x"}
    rows = [row(first), row(first + 1), row(first + 2), row(max(first - 4, writer * 1_000_000))]
    if batch % 4 == 1:
        rows.append(row(first - 2, gone=True))
    if batch % 4 == 2:
        rows.append(row(first + 3, gone=True))
    return rows
"""

PUSHER = (
    ROWS
    + """
from asof.backends.lmdb.store import LmdbStore
from asof.backends.local.log import LocalSourceLog

root, writer, batch, last, step, after, call = sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:7], int(sys.argv[7])

def dying(work):
    calls = 0
    def done(*arguments):
        global call
        call -= 1
        if call == 0 and after == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = work(*arguments)
        if call == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return done

store = FeatureStore(root)
store.ingestor("rows")
if step != "none":
    place = LocalSourceLog if step == "append" else LmdbStore
    setattr(place, step, dying(getattr(place, step)))
print("ready", flush=True)
while batch < last:
    store.push("rows", rows_of(batch, writer))
    print(batch, flush=True)
    batch += 1
"""
)

MATERIALIZER = (
    ROWS
    + """
store = FeatureStore(sys.argv[1])
print("ready", flush=True)
while True:
    store.materialize()
    print("done", flush=True)
"""
)


def views(source: Source) -> list[FeatureView]:
    entity = Entity("k")
    aggregates = [
        Count(windows=["1h", "lifetime"]),
        Sum("n", windows=["1h", "lifetime"]),
        Max("n", windows=["lifetime"]),
        LastN("n", n=3, windows=["lifetime"]),
    ]
    return [
        EventView("totals", entity=entity, source=source, features=aggregates),
        EventView("all", entity=Entity("world", join_keys=[]), source=source, features=aggregates),
        StateView("newest", entity=entity, source=source, features=["n"]),
    ]


TWINS = views(FileSource("rows", path="rows.parquet", available_at=ARRIVED_AT, **ROLES))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project with views over one stream source."""
    (tmp_path / "asof.toml").write_text('project = "shop"\nmemory_budget = "500MB"\n', encoding="utf-8")
    with FeatureStore(tmp_path) as store:
        store.apply(store.plan(views(StreamSource("rows", schema=SCHEMA, **ROLES))), who="test")
        store.ingestor("rows")
    return tmp_path


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts a Python process and waits until it is ready; it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def push_until_killed(start: Callable[..., subprocess.Popen[str]], root: Path, batch: int, after_s: float) -> int:
    """Push from a batch on, kill after a while, and return the next batch to push."""
    process = start(PUSHER, root, 0, batch, 1_000_000, "none", "after", 0)
    time.sleep(after_s)  # the point of death is random on purpose
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    return max([batch - 1, *map(int, said.split())]) + 1


def logged(store: FeatureStore) -> list[dict[str, Any]]:
    """Return the rows of the log in the order of their arrival."""
    log = store.log.of("rows")
    return [row for _, rows in log.read(0, log.head().sequence) for row in rows.to_pylist()]


def check(root: Path, batches: int, writer: int = 0) -> None:
    """Assert that every batch before a number is in the log, whole, and that reads equal the oracle over the log."""
    with FeatureStore(root) as store:
        store.ingestor("rows").ingestor.catch_up()
        rows = logged(store)
        entries: dict[int, list[int]] = {}
        for row in rows:
            entries.setdefault(row[ENTRY], []).append(row["id"])
        held = {ids[0] - writer * 1_000_000 for ids in entries.values()}
        assert held >= {batch * 3 for batch in range(batches)}, "an acknowledged batch was lost"
        assert all(len(ids) >= 4 for ids in entries.values()), "a batch was torn"
        compare(store, rows)


def compare(store: FeatureStore, rows: list[dict[str, Any]]) -> None:
    read = store.get_online_features([view.name for view in TWINS], {"k": list(KEYS)})
    values, statuses, times = read.to_dict(), read.statuses, read.event_times
    at_us = to_us(read.at)
    for view in TWINS:
        asked = [(key,) if view.entity.join_keys else () for key in KEYS]
        exact = oracle.history(view, rows, [(key, at_us) for key in asked])
        for i, right in enumerate(exact):
            columns = {name: f"{view.name}__{name}" for name in view.feature_names()}
            time = times[view.name][i]
            given = Answer(
                {name: values[column][i] for name, column in columns.items()},
                {name: statuses[column][i] for name, column in columns.items()},
                None if time is None else to_us(time),
            )
            assert differences(view, right, given) == [], (view.name, i)


@pytest.mark.slow
def test_a_process_killed_at_any_moment_loses_and_doubles_nothing(
    root: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """What was not acknowledged is pushed again, as clients do."""
    chance = random.Random(3)
    batch = 0
    for _ in range(5):
        batch = push_until_killed(start, root, batch, chance.random() * 0.7)
        check(root, batch)
    process = start(PUSHER, root, 0, batch, batch + 3, "none", "after", 0)
    process.communicate(timeout=60)
    check(root, batch + 3)


def test_a_process_killed_at_each_step_loses_and_doubles_nothing(
    root: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Before and after arrivals are announced, the log is written, and the values are."""
    batch = 0
    for step in ("announce", "append", "update"):
        for after in ("before", "after"):
            process = start(PUSHER, root, 0, batch, batch + 3, step, after, 2)
            said, _ = process.communicate(timeout=60)
            assert process.returncode == -signal.SIGKILL
            assert said.split() == [str(batch)], "it died in its second push"
            with FeatureStore(root) as store:
                compare(store, logged(store))
            batch += 1
            check(root, batch)
    process = start(PUSHER, root, 0, batch, batch + 2, "none", "after", 0)
    process.communicate(timeout=60)
    check(root, batch + 2)


@pytest.mark.slow
def test_processes_that_push_and_materialize_at_once_agree_with_the_oracle(
    root: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Two push different events, one materializes in a loop and is killed and started again."""
    writers = [start(PUSHER, root, writer, 0, 25, "none", "after", 0) for writer in (0, 1)]
    chance = random.Random(5)
    while any(process.poll() is None for process in writers):
        process = start(MATERIALIZER, root)
        time.sleep(chance.random())  # the point of death is random on purpose
        process.send_signal(signal.SIGKILL)
        _, problem = process.communicate(timeout=60)
        assert problem == ""
    for process in writers:
        said, problem = process.communicate(timeout=120)
        assert (process.returncode, problem) == (0, "")
        assert said.split() == [str(batch) for batch in range(25)]
    with FeatureStore(root) as store:
        rows = logged(store)
        assert len({row["id"] for row in rows if not row["gone"]}) == 2 * 75
        compare(store, rows)
        store.materialize()
        compare(store, rows)


def big_rows(kind: str) -> list[dict[str, Any]]:
    """Return rows that need much room in the log, as notes, or in the store, as keys."""
    if kind == "log":
        chance = random.Random(1)
        return [{"k": 1, "ts": "2026-01-01", "id": -1, "n": 1, "note": chance.randbytes(2_000_000).hex()}]
    return [{"k": n + 10, "ts": "2026-01-01", "id": -n - 1, "n": n, "note": ""} for n in range(15_000)]


def push_under_limit(root: Path, kind: str, limit: int) -> int:
    """Push in a child whose files may not grow beyond a limit; return its exit status: 0 where the store is full."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            with FeatureStore(root) as store:
                try:
                    store.push("rows", big_rows(kind))
                    status = 3
                except StoreFullError:
                    status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(("kind", "limit", "entries"), [("log", 2**20, 0), ("store", 2**20, 1), ("log", 40_000, 0)])
def test_a_full_disk_keeps_what_was_there(root: Path, kind: str, limit: int, entries: int) -> None:
    """The log, the store after the log, or the store before it: all of the push is kept, or nothing of it."""
    with FeatureStore(root) as store:
        store.push("rows", [{"k": k, "ts": "2026-01-01", "id": k, "n": k} for k in KEYS])
        before = store.log.of("rows").head().sequence
    assert push_under_limit(root, kind, limit) == 0
    with FeatureStore(root) as store:
        assert store.log.of("rows").head().sequence == before + entries
        compare(store, logged(store))
        if not entries:
            statuses = store.get_online_features(["totals"], {"k": [1]}).statuses
            assert not any("stale" in found for found in statuses.values())
        store.push("rows", big_rows(kind))
        rows = logged(store)
        assert len({row["id"] for row in rows}) == len(KEYS) + len(big_rows(kind))
        compare(store, rows)
