"""The data of all benchmarks: made once with NumPy seed 7 as Parquet under .bench/data, and projects over it."""

from __future__ import annotations

import shutil
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asof import FeatureStore
from asof.clock import FixedClock
from measure import CACHE, say

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEED = 7
KEYS = 100_000
DAY_US = 86_400_000_000
START_US = 1_735_689_600_000_000  # 2025-01-01
VIEWS = ("alpha", "beta", "gamma")
TTL_DAYS = 30
STATE_COLUMNS = [
    *[f"f{i}" for i in range(10)],
    *[f"i{i}" for i in range(3)],
    *[f"s{i}" for i in range(2)],
]
WINDOW_DAYS = {"1h": 1 / 24, "1d": 1, "7d": 7, "30d": 30, "90d": 90}
EVENT_DAYS = 180
END_US = START_US + EVENT_DAYS * DAY_US

FILE_PART_ROWS = 5_000_000


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the path of a generated file or directory, making it where it is not there yet."""
    path = CACHE / "data" / name
    if not path.exists():
        say(f"  making {name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name("partial-" + name)
        shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)
        make(partial)
        partial.rename(path)
    return path


def times(values: np.ndarray) -> pa.Array:
    """Return microseconds since the epoch as UTC timestamps."""
    return pa.array(values, pa.timestamp("us", "UTC"))


def state_rows(view: str, rows: int, keys: int = KEYS) -> Path:
    """Rows of a state view over 90 days: 10 float64, 3 int64 and 2 string columns; every key if it fits."""

    def make(path: Path) -> None:
        rng = np.random.default_rng([SEED, *view.encode()])
        every = rng.permutation(keys)[:rows]
        more = rng.integers(0, keys, rows - len(every))
        columns = {
            "customer_id": pa.array(np.concatenate([every, more])),
            "event_timestamp": times(START_US + rng.integers(0, 90 * DAY_US, rows)),
        }
        columns |= {f"f{i}": pa.array(rng.normal(size=rows)) for i in range(10)}
        columns |= {f"i{i}": pa.array(rng.integers(0, 1_000_000, rows)) for i in range(3)}
        words = pa.array([f"category-{i}" for i in range(1000)])
        columns |= {f"s{i}": words.take(pa.array(rng.integers(0, 1000, rows))) for i in range(2)}
        pq.write_table(pa.table(columns), path)

    return cached(f"{view}-{rows}-{keys}.parquet", make)


def state_spine(rows: int) -> Path:
    """Uniform keys at uniform instants of the same 90 days."""

    def make(path: Path) -> None:
        rng = np.random.default_rng([SEED, 1])
        instants = START_US + rng.integers(0, 90 * DAY_US, rows)
        pq.write_table(pa.table({"customer_id": rng.integers(0, KEYS, rows), "event_timestamp": times(instants)}), path)

    return cached(f"state-spine-{rows}.parquet", make)


@cache
def _skew(keys: int) -> tuple[np.ndarray, np.ndarray]:
    weights = 1.0 / np.arange(1, keys + 1)
    return np.cumsum(weights) / weights.sum(), np.random.default_rng([SEED, 2]).permutation(keys)


def skewed(rng: np.random.Generator, rows: int, keys: int = KEYS) -> np.ndarray:
    """Keys drawn by Zipf's law with exponent 1: the most frequent of 100,000 has a twelfth of all rows."""
    cumulative, names = _skew(keys)
    return names[np.searchsorted(cumulative, rng.random(rows))]


def events(rows: int) -> Path:
    """A directory of event files over 180 days: skewed keys, whole seconds, an amount with two decimals."""

    def make(path: Path) -> None:
        path.mkdir()
        rng = np.random.default_rng([SEED, 3])
        for part, start in enumerate(range(0, rows, FILE_PART_ROWS)):
            count = min(FILE_PART_ROWS, rows - start)
            instants = START_US + rng.integers(0, EVENT_DAYS * 86_400, count) * 1_000_000
            amounts = np.round(rng.exponential(50, count), 2)
            table = pa.table({"customer_id": skewed(rng, count), "ts": times(instants), "amount": amounts})
            pq.write_table(table, path / f"part-{part:03}.parquet")

    return cached(f"events-{rows}", make)


def event_spine(rows: int) -> Path:
    """Skewed keys at whole seconds of the last 90 of the 180 days."""

    def make(path: Path) -> None:
        rng = np.random.default_rng([SEED, 4])
        instants = START_US + rng.integers(90 * 86_400, EVENT_DAYS * 86_400, rows) * 1_000_000
        pq.write_table(pa.table({"customer_id": skewed(rng, rows), "event_timestamp": times(instants)}), path)

    return cached(f"event-spine-{rows}.parquet", make)


def project(name: str, definitions: str, *, now_us: int | None = None, online: str = "") -> FeatureStore:
    """Return a store over a new project with these definitions applied, its clock standing at `now_us` if given."""
    root = CACHE / "projects" / name
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / "asof.toml").write_text(f'project = "{name}"\n' + (f'online = "{online}"\n' if online else ""))
    (root / "features.py").write_text(definitions)
    store = FeatureStore(root, clock=None if now_us is None else FixedClock(now_us))
    store.apply()
    return store


def state_view(name: str, path: Path, *, ttl: str | None = f"{TTL_DAYS}d") -> str:
    """Return Python text that defines a state view over all 15 columns."""
    return (
        f"{name} = StateView({name!r}, entity=customer, ttl={ttl!r}, features={STATE_COLUMNS},\n"
        f"    source=FileSource({name!r}, path={str(path)!r}, event_time='event_timestamp'))\n"
    )


def event_view(name: str, directory: Path, functions: list[str]) -> str:
    """Return Python text that defines an event view: these aggregates of `amount` over all five windows."""
    windows = list(WINDOW_DAYS)
    features = ", ".join(
        f"{f}(windows={windows})" if f == "Count" else f"{f}('amount', windows={windows})" for f in functions
    )
    return (
        f"{name} = EventView({name!r}, entity=customer, features=[{features}],\n"
        f"    source=FileSource({name!r}, path={str(directory / '*.parquet')!r}, event_time='ts'))\n"
    )


HEAD = "from asof import *\ncustomer = Entity('customer', join_key='customer_id')\n"
