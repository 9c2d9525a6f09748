"""Seconds the kernel takes for windows over a log, by aggregate.

Run: python bench/kernel_windows.py [events] [keys] [queries] [threads]
"""

import sys
import time

import numpy as np
import pyarrow as pa

from asof._native import WindowFeature, WindowPlan, as_of

HOUR = 3_600_000_000
DAY = 24 * HOUR
WINDOWS = [(HOUR, HOUR // 60), (DAY, HOUR // 4), (7 * DAY, HOUR), (30 * DAY, 6 * HOUR), (90 * DAY, DAY)]
SPAN = 365 * DAY
SETS: dict[str, list[str]] = {
    "sum count mean": ["sum", "count", "mean"],
    "min max": ["min", "max"],
    "stddev": ["stddev"],
    "sum count mean min max stddev": ["sum", "count", "mean", "min", "max", "stddev"],
    "last last_n": ["last", "last_n"],
    "count_distinct": ["count_distinct"],
    "top_k": ["top_k"],
    "percentile": ["percentile"],
    "approx_count_distinct": ["approx_count_distinct"],
}


def zipf(rng: np.random.Generator, n: int, keys: int) -> np.ndarray:
    """Key numbers with frequencies falling as 1 / rank, ranks scattered over the key numbers."""
    weights = np.cumsum(1.0 / np.arange(1, keys + 1))
    ranks = np.searchsorted(weights, rng.random(n) * weights[-1])
    return np.random.default_rng(0).permutation(keys).astype(np.int32)[ranks]


def features(functions: list[str], lane: int) -> list[WindowFeature]:
    sized, quantile = {"last_n": 10, "top_k": 5}, {"percentile": 0.5}
    return [
        WindowFeature(f"{name}_{window}", name, lane, window, hop, sized.get(name), quantile.get(name))
        for window, hop in WINDOWS
        for name in functions
    ]


def main() -> None:
    n_events, n_keys, n_queries, threads = (
        int(given) if given else default
        for given, default in zip((sys.argv[1:] + [""] * 4)[:4], (10_000_000, 100_000, 1_000_000, 2), strict=True)
    )
    rng = np.random.default_rng(1)
    codes, query_codes = zipf(rng, n_events, n_keys), zipf(rng, n_queries, n_keys)
    times, query_times = np.sort(rng.integers(0, SPAN, n_events)), rng.integers(0, SPAN, n_queries)
    amounts = np.round(rng.lognormal(3, 1.5, n_events), 2)
    shops = rng.integers(0, 1000, n_events)
    lanes = pa.record_batch([pa.array(amounts), pa.array(shops)], names=["amount", "shop"])
    jitter = times + rng.integers(0, DAY, n_events)
    print(f"{n_events:,} events, {n_keys:,} zipf keys, {n_queries:,} queries, 5 windows, {threads} threads")

    def history(functions: list[str], available_at: np.ndarray | None) -> float:
        lane = 1 if functions[0] in ("count_distinct", "top_k", "approx_count_distinct") else 0
        plan = WindowPlan(lanes.schema, features(functions, lane))
        known = None if available_at is None else pa.array(available_at)
        arguments = (pa.array(codes), pa.array(times), known, None, lanes, n_keys)
        start = time.perf_counter()
        plan.history(*arguments, pa.array(query_codes), pa.array(query_times), threads)
        return time.perf_counter() - start

    for name, functions in SETS.items():
        on_time, late = history(functions, None), history(functions, jitter)
        print(f"{name:32} {on_time:7.2f} s   events up to a day late {late:7.2f} s", flush=True)
    start = time.perf_counter()
    sources = (pa.array(codes), pa.array(times), pa.array(jitter), None, n_keys)
    as_of(*sources, pa.array(query_codes), pa.array(query_times), None, threads)
    print(f"{'as_of':32} {'':7}     rows up to a day late   {time.perf_counter() - start:7.2f} s")


if __name__ == "__main__":
    main()
