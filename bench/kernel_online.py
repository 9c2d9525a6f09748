"""Prints what packing and reading stored values costs: microseconds per read, keys per second per build."""

import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from asof import _native as native

NOW = 1_763_800_000_000_000
HOUR = 3_600_000_000
WINDOWS = [(HOUR, HOUR // 60), (24 * HOUR, HOUR // 4), (720 * HOUR, 6 * HOUR)]


def best_us(run: Callable[[], object], rounds: int = 200) -> float:
    """The fastest of some runs, in microseconds."""
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - started)
    return best * 1e6


def report(name: str, read: Callable[[list[bytes | None], int], native.Block], values: list[bytes | None]) -> None:
    """Times reading and writing JSON for 1, 100 and 1000 keys."""
    names = read(values[:1], NOW).to_arrow().schema.names
    shape = native.AnswerPlan([name], [(0, i, column) for i, column in enumerate(names)])
    for n in (1, 100, 1000):
        some = values[:n]
        answer = shape.answer([read(some, NOW)])
        reading = best_us(lambda some=some: read(some, NOW))
        writing = best_us(lambda answer=answer: answer.to_json(b"{"))
        print(f"{name}: {n} keys x {len(names)}: read {reading:.1f} us, to_json {writing:.1f} us")


def bench_rows(n: int = 100_000) -> None:
    """A state view of 10 floats, 3 integers and 2 strings."""
    rng = np.random.default_rng(0)
    columns = [pa.array(rng.normal(size=n) * 100) for _ in range(10)]
    columns += [pa.array(rng.integers(0, 10**9, n)) for _ in range(3)]
    columns += [pa.array([f"name{i % 1000}" for i in range(n)]) for _ in range(2)]
    batch = pa.RecordBatch.from_arrays(columns, names=[f"f{i}" for i in range(15)])
    plan = native.RowPlan(batch.schema, HOUR * 24)
    codes, times = pa.array(range(n), pa.int32()), pa.array(range(NOW - n, NOW))
    started = time.perf_counter()
    values = plan.build(codes, times, None, None, batch, n, NOW)
    print(f"rows: build {n / (time.perf_counter() - started):,.0f} keys/s, {values.nbytes / n - 4:.0f} bytes each")
    report("rows", plan.read, values.to_pylist())


def bench_states(n_keys: int, events_per_key: int) -> None:
    """An event view of 5 aggregates over 3 windows."""
    rng = np.random.default_rng(0)
    n = n_keys * events_per_key
    features = [
        native.WindowFeature(f"{function}_{window}", function, 0, window, hop)
        for window, hop in WINDOWS
        for function in ("sum", "count", "mean", "max", "stddev")
    ]
    plan = native.WindowPlan(pa.schema([("x", pa.float64())]), features)
    codes = pa.array(rng.integers(0, n_keys, n), pa.int32())
    times = pa.array(NOW - (rng.random(n) ** 3 * 720 * HOUR).astype(np.int64) - 1)
    lanes = pa.RecordBatch.from_arrays([pa.array(np.round(rng.gamma(2, 20, n), 2))], names=["x"])
    started = time.perf_counter()
    values = plan.build_states(codes, times, None, None, lanes, n_keys, NOW, 2)
    seconds = time.perf_counter() - started
    size = values.nbytes / n_keys
    print(f"states: build {n_keys / seconds:,.0f} keys/s, {n / seconds:,.0f} events/s, {size:.0f} bytes each")
    report("states", plan.reader().read, values.slice(0, 1000).to_pylist())


def bench_keys(n: int = 10_000_000) -> None:
    """Codes of integer keys."""
    keys = np.random.default_rng(0).integers(0, n // 10, n)
    for name, column in (("dense", pa.array(keys)), ("sparse", pa.array(keys * 7_919_000_001))):
        started = time.perf_counter()
        index = native.KeyIndex([column])
        built = time.perf_counter()
        index.lookup([column])
        print(f"keys: {n} {name} int64: index {built - started:.2f} s, lookup {time.perf_counter() - built:.2f} s")


if __name__ == "__main__":
    bench_rows()
    bench_states(2_000, 200)
    bench_states(200_000, 5)
    bench_keys()
