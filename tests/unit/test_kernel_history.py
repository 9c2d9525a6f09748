"""Windows over a log: every value against a nested loop over rationals, bit for bit."""

import math
import random
import struct
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asof._native import WindowFeature, WindowPlan

WINDOWS: list[tuple[int | None, int | None]] = [(1, 1), (2, 1), (3, 2), (4, 4), (None, None)]
ORDER_FREE = ["count", "min", "max", "count_distinct", "approx_count_distinct", "top_k"]
ORDERED = ["first", "last", "first_n", "last_n"]
NUMERIC = ["sum", "mean", "variance", "stddev", "percentile"]
QUANTILE = 0.5
N = 2


@dataclass(frozen=True)
class Event:
    """One row of a log; row position in the list is its ingest order."""

    key: int
    time: int
    available_at: int
    retracted_at: int | None
    value: Any


Query = tuple[int, int]

INF = math.inf
FLOATS = [None, math.nan, INF, -INF, 0.0, -0.0, 0.1, 0.2, 0.3, 1.0, -1.0, 1e16, -1e16, 1e308, 1e-308, 5e-324, 3e200]
LANES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "float64": (pa.float64(), FLOATS),
    "int64": (pa.int64(), [None, 0, 1, -1, 7, 10**6, 2**53 + 1, -(2**60)]),
    "decimal": (
        pa.decimal128(38, 2),
        [None, *map(Decimal, ["0.10", "0.20", "-1.30", "99.99", "1" + "0" * 34 + ".01"])],
    ),
    "bool": (pa.bool_(), [None, True, False]),
    "utf8": (pa.string(), [None, "", "a", "b", "ab", "ä"]),
    "binary": (pa.binary(), [None, b"", b"a", b"\xff", b"a\x00"]),
    "timestamp": (pa.timestamp("us", "UTC"), [None, *(datetime(2020, 1, d, tzinfo=UTC) for d in (1, 2, 3))]),
    "date32": (pa.date32(), [None, date(1969, 12, 31), date(1970, 1, 1), date(2030, 1, 1)]),
}


def functions(lane: str) -> list[str]:
    return ORDER_FREE + ORDERED + (NUMERIC if lane in ("float64", "int64", "decimal", "bool") else [])


def feature(function: str, lane: int | None, window: int | None, hop: int | None) -> WindowFeature:
    n = N if function in ("first_n", "last_n", "top_k") else None
    quantile = QUANTILE if function == "percentile" else None
    return WindowFeature(f"{function}_{lane}_{window}", function, lane, window, hop, n, quantile)


def plan_of(lane: str) -> WindowPlan:
    features = [feature(function, 0, *window) for window in WINDOWS for function in functions(lane)]
    features += [feature("count", None, *window) for window in WINDOWS]
    return WindowPlan(pa.schema([("x", LANES[lane][0])]), features)


PLANS = {lane: plan_of(lane) for lane in LANES}


def run(
    plan: WindowPlan, lane: str, events: list[Event], queries: list[Query], *, late: bool = True, threads: int = 1
) -> pa.RecordBatch:
    values = pa.array([e.value for e in events], LANES[lane][0], from_pandas=False)
    return plan.history(
        pa.array([e.key for e in events], pa.int32()),
        pa.array([e.time for e in events], pa.int64()),
        pa.array([e.available_at for e in events], pa.int64()) if late else None,
        pa.array([e.retracted_at for e in events], pa.int64()) if late else None,
        pa.record_batch([values], names=["x"]),
        2,
        pa.array([key for key, _ in queries], pa.int32()),
        pa.array([t for _, t in queries], pa.int64()),
        threads,
    )


# The reference: plain loops over plain values.


def round53(x: Fraction) -> Fraction:
    """To 53 significant bits, half to even, with no bound on the exponent."""
    if x == 0:
        return x
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length() - 53
    while abs(x) / Fraction(2) ** exponent >= 2**53:
        exponent += 1
    return round(x / Fraction(2) ** exponent) * Fraction(2) ** exponent


def to_float(x: Fraction) -> float:
    try:
        return float(x)
    except OverflowError:
        return INF if x > 0 else -INF


def numeric(function: str, values: list[Any], scale: int) -> float | None:
    """The mean, variance, deviation or float sum of what is finite; infinities by their rule."""
    infinities = {v for v in values if isinstance(v, float) and math.isinf(v)}
    if infinities:
        return infinities.pop() if len(infinities) == 1 and function in ("sum", "mean") else None
    unit = 10**scale
    exact = [Fraction(v) * unit for v in values]
    n, total = len(exact), sum(exact, Fraction(0))
    if function == "sum":
        return to_float(total)
    if function == "mean":
        return to_float(round53(round53(round53(total) / unit) / n))
    if n < 2:
        return None
    spread = round53(n * sum((x * x for x in exact), Fraction(0)) - total * total)
    variance = to_float(round53(round53(spread / (n * (n - 1))) / unit**2))
    return math.sqrt(variance) if function == "stddev" else variance


def order(value: Any) -> Any:
    return (value, math.copysign(1, value)) if isinstance(value, float) else value


def bucket_midpoint(x: float) -> float:
    if abs(x) < 2.0**-1022 or math.isinf(x):
        return 0.0 if abs(x) < 1 else x
    bits = struct.unpack("<Q", struct.pack("<d", abs(x)))[0] >> 46
    middle: float = struct.unpack("<d", struct.pack("<Q", bits << 46 | 1 << 45))[0]
    return math.copysign(middle, x)


def aggregate(function: str, lane: str, values: list[Any]) -> Any:
    """The answer over the values of a window in order of (time, ingest)."""
    values = [v for v in values if v is not None and not (isinstance(v, float) and math.isnan(v))]
    canonical = [v + 0.0 if isinstance(v, float) else v for v in values]
    if function == "count":
        return len(values)
    if function in ("count_distinct", "approx_count_distinct"):
        return len(set(canonical))
    if not values:
        return None
    match function:
        case "min":
            return min(values, key=order)
        case "max":
            return max(values, key=order)
        case "first":
            return values[0]
        case "last":
            return values[-1]
        case "first_n":
            return values[:N]
        case "last_n":
            return values[-N:]
        case "top_k":
            counts = Counter(canonical)
            return sorted(counts, key=lambda v: (-counts[v], v))[:N]
        case "percentile":
            return bucket_midpoint(sorted(float(v) for v in values)[math.floor(QUANTILE * (len(values) - 1))])
        case "sum" if lane == "decimal":
            cents = int(sum(Fraction(v) for v in values) * 100)
            return Decimal((int(cents < 0), tuple(map(int, str(abs(cents)))), -2))
        case "sum" if lane in ("int64", "bool"):
            return sum(values)
        case _:
            return numeric(function, values, 2 if lane == "decimal" else 0)


def answer(lane: str, events: list[Event], query: Query, *, late: bool = True) -> dict[str, Any]:
    key, t = query
    visible = [
        (e.time, row, e.value)
        for row, e in enumerate(events)
        if key == e.key >= 0
        and e.time < t
        and (not late or (e.available_at <= t and not (e.retracted_at is not None and e.retracted_at <= t)))
    ]
    visible.sort(key=lambda item: item[:2])
    row: dict[str, Any] = {}
    for window, hop in WINDOWS:
        start = -(10**9) if window is None or hop is None else (t - window) // hop * hop
        values = [value for time, _, value in visible if time >= start]
        for function in functions(lane):
            row[f"{function}_0_{window}"] = aggregate(function, lane, values)
        row[f"count_None_{window}"] = len(values)
    row["__status"] = 0 if visible else 2
    row["__event_time"] = visible[-1][0] if visible else None
    return row


def bits(value: Any) -> Any:
    """A form in which equal means the same bits."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    return [bits(v) for v in value] if isinstance(value, list) else value


def assert_same(batch: pa.RecordBatch, expected: list[dict[str, Any]]) -> None:
    for got, want in zip(batch.to_pylist(), expected, strict=True):
        for name, value in want.items():
            assert bits(got[name]) == bits(value), f"{name}: {got[name]!r} instead of {value!r}"


def events_of(lane: str) -> st.SearchStrategy[list[Event]]:
    time = st.integers(-2, 6)
    event = st.builds(
        Event,
        key=st.sampled_from([0, 0, 0, 1, -1]),
        time=time,
        available_at=st.integers(-2, 9),
        retracted_at=st.none() | st.integers(-2, 9),
        value=st.sampled_from(LANES[lane][1]),
    )
    return st.lists(event, max_size=12)


queries_strategy = st.lists(st.tuples(st.sampled_from([0, 0, 1, -1]), st.integers(-2, 10)), max_size=10)


@pytest.mark.parametrize("lane", LANES)
def test_history_equals_the_nested_loop(lane: str) -> None:
    """Late, retracted, tied, null and duplicate rows and queries: every function and window, the same bits."""

    @settings(deadline=None, max_examples=150)
    @given(events=events_of(lane), queries=queries_strategy)
    def check(events: list[Event], queries: list[Query]) -> None:
        batch = run(PLANS[lane], lane, events, queries)
        assert_same(batch, [answer(lane, events, query) for query in queries])

    check()


@pytest.mark.parametrize("lane", ["float64", "utf8"])
def test_history_without_knowledge_time_equals_the_nested_loop(lane: str) -> None:
    """With neither availability nor retraction an event is known when it happens."""

    @settings(deadline=None, max_examples=100)
    @given(events=events_of(lane), queries=queries_strategy)
    def check(events: list[Event], queries: list[Query]) -> None:
        batch = run(PLANS[lane], lane, events, queries, late=False)
        assert_same(batch, [answer(lane, events, query, late=False) for query in queries])

    check()


@settings(deadline=None, max_examples=100)
@given(events=events_of("float64"), queries=queries_strategy, delay=st.integers(0, 3))
def test_a_constant_delay_equals_the_nested_loop(events: list[Event], queries: list[Query], delay: int) -> None:
    events = [Event(e.key, e.time, e.time + delay, None, e.value) for e in events]
    batch = run(PLANS["float64"], "float64", events, queries)
    assert_same(batch, [answer("float64", events, query) for query in queries])


@settings(deadline=None, max_examples=100)
@given(events=events_of("float64"), queries=queries_strategy, seed=st.randoms(use_true_random=False))
def test_order_of_arrival_never_matters(events: list[Event], queries: list[Query], seed: random.Random) -> None:
    """Shuffled rows give identical bits in everything but first and last, where ingest order breaks ties."""
    shuffled = list(events)
    seed.shuffle(shuffled)
    before, after = (run(PLANS["float64"], "float64", rows, queries) for rows in (events, shuffled))
    for name in before.schema.names:
        if name.rsplit("_", 2)[0] not in ORDERED:
            assert bits(before[name].to_pylist()) == bits(after[name].to_pylist()), name


def large_log(n: int) -> tuple[list[Event], list[Query]]:
    rng = random.Random(7)
    events = [
        Event(
            0, time := rng.randrange(n), time + rng.choice([0, 0, 0, 5, 500]), rng.choice([None] * 9 + [n // 2]), value
        )
        for value in (rng.choice([None, rng.lognormvariate(0, 9), rng.randrange(9)]) for _ in range(n))
    ]
    events = [
        Event(e.key, e.time, e.available_at, e.retracted_at, None if e.value is None else float(e.value))
        for e in events
    ]
    return events, [(0, rng.randrange(n)) for _ in range(60)]


def test_one_long_history_equals_the_nested_loop() -> None:
    """Thousands of events of one key cross every block and word boundary inside the kernel."""
    events, queries = large_log(1500)
    windows = [(10, 1), (700, 50), (None, None)]
    names = [n for n in functions("float64") if n != "approx_count_distinct"]
    features = [feature(name, 0, *window) for window in windows for name in names]
    plan = WindowPlan(pa.schema([("x", pa.float64())]), features)
    batch = run(plan, "float64", events, queries).to_pylist()
    for got, (_, t) in zip(batch, queries, strict=True):
        visible = [
            (e.time, row, e.value)
            for row, e in enumerate(events)
            if e.time < t and e.available_at <= t and (e.retracted_at is None or e.retracted_at > t)
        ]
        visible.sort(key=lambda item: item[:2])
        for window, hop in windows:
            start = -1 if window is None or hop is None else (t - window) // hop * hop
            values = [value for time, _, value in visible if time >= start]
            for name in names:
                assert bits(got[f"{name}_0_{window}"]) == bits(aggregate(name, "float64", values)), name


def test_threads_change_nothing() -> None:
    rng = random.Random(3)
    events = [Event(rng.randrange(2), rng.randrange(50), rng.randrange(60), None, rng.random()) for _ in range(200)]
    queries = [(rng.randrange(-1, 2), rng.randrange(70)) for _ in range(100)]
    one, many = (run(PLANS["float64"], "float64", events, queries, threads=threads) for threads in (1, 4))
    assert one.equals(many)


def test_approximate_counts_stay_within_four_standard_errors_while_sliding() -> None:
    n = 20_000
    plan = WindowPlan(pa.schema([("x", pa.int64())]), [feature("approx_count_distinct", 0, n // 2, 1)])
    batch = plan.history(
        pa.array([0] * n, pa.int32()),
        pa.array(range(n), pa.int64()),
        None,
        None,
        pa.record_batch([pa.array(range(n), pa.int64())], names=["x"]),
        1,
        pa.array([0, 0, 0], pa.int32()),
        pa.array([n // 4, n // 2, n], pa.int64()),
        1,
    )
    for got, want in zip(batch.column(0).to_pylist(), [n // 4, n // 2, n // 2], strict=True):
        assert abs(got - want) <= 4 * 0.01625 * want


def test_times_at_the_ends_of_the_range_do_not_overflow() -> None:
    low, high = -(2**63), 2**63 - 1
    events = [Event(0, low, low, None, 1.0), Event(0, high, high, None, 2.0)]
    batch = run(PLANS["float64"], "float64", events, [(0, low), (0, low + 1), (0, high)])
    assert batch["count_None_None"].to_pylist() == [0, 1, 1]
    assert batch["count_None_4"].to_pylist() == [0, 1, 0]


def test_a_sum_that_leaves_int64_is_an_error_that_names_the_feature() -> None:
    events = [Event(0, 1, 1, None, 2**63 - 1), Event(0, 2, 2, None, 1)]
    with pytest.raises(OverflowError, match="'sum_0_2' is a sum too large for int64"):
        run(PLANS["int64"], "int64", events, [(0, 3)])
    assert run(PLANS["int64"], "int64", events, [(0, 2)])["sum_0_None"].to_pylist() == [2**63 - 1]


def test_a_sum_may_pass_its_range_on_the_way() -> None:
    """Only the result has to fit."""
    values = [2**63 - 1, 2**63 - 1, -(2**63) + 1, -(2**63) + 1]
    events = [Event(0, time, time, None, value) for time, value in enumerate(values)]
    assert run(PLANS["int64"], "int64", events, [(0, 9)])["sum_0_None"].to_pylist() == [0]


def test_no_events_no_queries_no_features() -> None:
    empty = run(PLANS["float64"], "float64", [], [])
    assert empty.num_rows == 0
    assert empty.schema.names[-2:] == ["__status", "__event_time"]
    assert [empty.schema.field(f.name).type for f in PLANS["float64"].output_schema] == PLANS[
        "float64"
    ].output_schema.types
    bare = run(
        WindowPlan(pa.schema([("x", pa.float64())]), []), "float64", [Event(0, 1, 1, None, 1.0)], [(0, 5), (1, 5)]
    )
    assert bare.to_pydict() == {"__status": [0, 2], "__event_time": [1, None]}


def test_result_types_follow_the_lane() -> None:
    types = {f.name: f.type for lane in ("bool", "int64", "decimal") for f in PLANS[lane].output_schema}
    assert types["count_distinct_0_1"] == pa.int64()
    for lane, total in (
        ("bool", pa.int64()),
        ("int64", pa.int64()),
        ("float64", pa.float64()),
        ("decimal", pa.decimal128(38, 2)),
    ):
        schema = PLANS[lane].output_schema
        assert schema.field("sum_0_1").type == total
        assert schema.field("max_0_1").type == LANES[lane][0]
        assert schema.field("top_k_0_1").type == pa.list_(LANES[lane][0])
        assert schema.field("mean_0_1").type == schema.field("percentile_0_1").type == pa.float64()


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"event_codes": pa.array([2], pa.int32())}, ValueError, r"event_codes\[0\] is 2"),
        ({"event_codes": pa.array([0], pa.int64())}, TypeError, "event_codes must be int32"),
        ({"event_time": pa.array([None], pa.int64())}, ValueError, "event_time has 1 nulls"),
        ({"event_time": pa.array([1, 2], pa.int64())}, ValueError, "event_time has 2 rows where 1"),
        ({"lanes": pa.record_batch([pa.array([1], pa.int64())], names=["x"])}, TypeError, "'x' has type Int64"),
        ({"lanes": pa.record_batch([], names=[])}, ValueError, "lanes has 0 rows|reads 1 input columns"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change: dict[str, Any], error: type[Exception], match: str) -> None:
    arguments: dict[str, Any] = {
        "event_codes": pa.array([0], pa.int32()),
        "event_time": pa.array([1], pa.int64()),
        "available_at": None,
        "retracted_at": None,
        "lanes": pa.record_batch([pa.array([1.0])], names=["x"]),
        "n_keys": 2,
        "query_codes": pa.array([0], pa.int32()),
        "query_time": pa.array([5], pa.int64()),
        "threads": 1,
    }
    with pytest.raises(error, match=match):
        PLANS["float64"].history(**{**arguments, **change})


def test_the_hop_grid_starts_at_the_epoch_and_rounds_down() -> None:
    day = int(timedelta(days=1) / timedelta(microseconds=1))
    plan = WindowPlan(pa.schema([("x", pa.float64())]), [feature("count", None, 7 * day, day)])
    times = [-7 * day - 1, -7 * day, -6 * day, -1]
    batch = run(plan, "float64", [Event(0, time, time, None, 1.0) for time in times], [(0, 0), (0, day - 1), (0, day)])
    assert batch.column(0).to_pylist() == [3, 3, 2]
