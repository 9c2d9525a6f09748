"""Stored states of event views: at any later instant they answer what history answers, bit for bit."""

import struct
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asof import _native as native

LANES = pa.schema([("x", pa.float64()), ("n", pa.int64()), ("s", pa.string()), ("b", pa.bool_())])
WINDOWS: list[tuple[int | None, int | None]] = [(2, 1), (4, 2), (6, 3), (3, 3), (8, 1), (None, None)]
FUNCTIONS: list[tuple[str, int | None, dict[str, Any]]] = [
    ("count", None, {}),
    ("count", 2, {}),
    ("sum", 0, {}),
    ("sum", 1, {}),
    ("sum", 3, {}),
    ("mean", 0, {}),
    ("stddev", 0, {}),
    ("variance", 1, {}),
    ("min", 0, {}),
    ("max", 2, {}),
    ("min", 3, {}),
    ("first", 1, {}),
    ("last", 0, {}),
    ("last", 3, {}),
    ("first_n", 2, {"n": 2}),
    ("last_n", 1, {"n": 3}),
    ("last_n", 3, {"n": 2}),
    ("count_distinct", 2, {}),
    ("approx_count_distinct", 1, {}),
    ("percentile", 0, {"quantile": 0.5}),
    ("top_k", 2, {"n": 2}),
    ("count", None, {"by": 3}),
    ("count", 0, {"by": 2}),
    ("sum", 0, {"by": 2}),
    ("stddev", 1, {"by": 2}),
    ("min", 0, {"by": 2}),
    ("max", 2, {"by": 1}),
    ("first", 0, {"by": 3}),
    ("last", 2, {"by": 2}),
]

times = st.integers(-3, 9)
events = st.tuples(
    st.integers(-1, 1),
    times,
    st.integers(-1, 4),
    st.one_of(st.none(), st.integers(0, 6)),
    st.sampled_from([None, 0.1, -0.0, 0.0, 2.5, 1e300, float("nan"), float("inf"), float("-inf")]),
    st.sampled_from([None, -2, 0, 3]),
    st.sampled_from([None, "", "a", "bb"]),
    st.sampled_from([None, True, False]),
)
features = st.lists(
    st.tuples(st.sampled_from(FUNCTIONS), st.sampled_from(WINDOWS)), min_size=1, max_size=8, unique_by=str
)


def compile_plan(chosen: list[Any]) -> native.WindowPlan:
    return native.WindowPlan(
        LANES,
        [
            native.WindowFeature(f"f{i}", function, lane=lane, window_us=window, hop_us=hop, **more)
            for i, ((function, lane, more), (window, hop)) in enumerate(chosen)
        ],
    )


def bits(value: object) -> object:
    """A value in a form in which equal means the same bits."""
    if isinstance(value, list | tuple):
        return [bits(item) for item in value]
    return struct.pack("<d", value) if isinstance(value, float) else value


def columns(batch: pa.RecordBatch) -> dict[str, list[object]]:
    return {name: [bits(value) for value in batch.column(name).to_pylist()] for name in batch.schema.names}


def lanes_of(rows: list[Any]) -> pa.RecordBatch:
    arrays = [pa.array([row[4 + i] for row in rows], field.type, from_pandas=False) for i, field in enumerate(LANES)]
    return pa.RecordBatch.from_arrays(arrays, schema=LANES)


def answer_from_history(plan: native.WindowPlan, rows: list[Any], at: int) -> pa.RecordBatch:
    long_ago = pa.array([-(2**60)] * len(rows), pa.int64())
    return plan.history(
        pa.array([row[0] for row in rows], pa.int32()),
        pa.array([row[1] for row in rows], pa.int64()),
        long_ago,
        None,
        lanes_of(rows),
        2,
        pa.array([0, 1], pa.int32()),
        pa.array([at, at], pa.int64()),
        1,
    )


@settings(deadline=None, max_examples=400)
@given(features, st.lists(events, max_size=9), st.integers(-2, 8), st.integers(0, 12))
def test_states_answer_what_history_answers(chosen: list[Any], rows: list[Any], built: int, later: int) -> None:
    """All columns, statuses and event times are equal in every bit, however much later the state is read."""
    plan = compile_plan(chosen)
    available = [row[1] + row[2] for row in rows]
    retracted = [None if row[3] is None else row[1] + row[3] for row in rows]
    values = plan.build_states(
        pa.array([row[0] for row in rows], pa.int32()),
        pa.array([row[1] for row in rows], pa.int64()),
        pa.array(available, pa.int64()),
        pa.array(retracted, pa.int64()),
        lanes_of(rows),
        2,
        built,
        1,
    )
    known = [
        row
        for row, since, until in zip(rows, available, retracted, strict=True)
        if since <= built and not (until is not None and until <= built)
    ]
    expected = answer_from_history(plan, known, built + later)
    block = plan.reader().read(values.to_pylist(), built + later)
    assert columns(block.to_arrow()) == columns(expected.select(plan.output_schema.names))
    statuses = native.value_statuses(block.to_arrow(), expected.column("__status"))
    assert block.statuses().to_pydict() == statuses.to_pydict()
    assert block.event_time().cast(pa.int64()).to_pylist() == expected.column("__event_time").to_pylist()
    assert [value is None for value in values.to_pylist()] == [all(row[0] != key for row in known) for key in (0, 1)]


def build(plan: native.WindowPlan, at: list[int], values: list[float | None], instant: int) -> list[bytes | None]:
    lanes = pa.RecordBatch.from_arrays([pa.array(values, pa.float64())], names=["x"])
    codes = pa.array([0] * len(at), pa.int32())
    states: list[bytes | None] = plan.build_states(
        codes, pa.array(at, pa.int64()), None, None, lanes, 1, instant, 1
    ).to_pylist()
    return states


ONE = pa.schema([("x", pa.float64())])


def test_values_age_with_the_clock_of_the_read() -> None:
    """A window empties as time passes without any write; the entity stays known, with its event time."""
    plan = native.WindowPlan(
        ONE, [native.WindowFeature("total", "sum", 0, 10, 5), native.WindowFeature("n", "count", None, 10, 5)]
    )
    state = build(plan, [3, 8], [1.0, 2.0], 9)
    read = [plan.reader().read(state, at) for at in (9, 15, 19, 20, 1000)]
    assert [block.to_arrow().column("total")[0].as_py() for block in read] == [3.0, 2.0, 2.0, None, None]
    assert [block.statuses().column("total")[0].as_py() for block in read] == [0, 0, 0, 1, 1]
    assert read[-1].event_time().cast(pa.int64()).to_pylist() == [8]


def test_defaults_replace_nulls_and_statuses_keep_the_reason() -> None:
    """A missing entity counts 0 and sums to the default."""
    plan = native.WindowPlan(
        ONE, [native.WindowFeature("total", "sum", 0, 10, 5), native.WindowFeature("n", "count", None, 10, 5)]
    )
    defaults = pa.RecordBatch.from_pylist([{"total": -1.0}], schema=pa.schema([("total", pa.float64())]))
    block = plan.reader(defaults).read([None, *build(plan, [3], [None], 9)], 9)
    assert block.to_arrow().to_pydict() == {"total": [-1.0, -1.0], "n": [0, 1]}
    assert block.to_arrow(defaults=False).to_pydict() == {"total": [None, None], "n": [0, 1]}
    assert block.statuses().to_pydict() == {"total": [2, 1], "n": [2, 0]}


def test_a_state_refuses_instants_before_it_was_built_and_other_plans() -> None:
    """What a state forgot cannot be read; bytes of other features are not misread."""
    plan = native.WindowPlan(ONE, [native.WindowFeature("n", "count", None, 10, 5)])
    other = native.WindowPlan(ONE, [native.WindowFeature("n", "count", None, 10, 2)])
    state = build(plan, [3], [1.0], 9)
    with pytest.raises(ValueError, match="cannot answer the earlier instant"):
        plan.reader().read(state, 8)
    with pytest.raises(ValueError, match="other features"):
        other.reader().read(state, 9)
    assert state[0] is not None
    with pytest.raises(ValueError, match="format 9"):
        plan.reader().read([b"\x09" + state[0][1:]], 9)


def test_a_sum_that_overflows_names_its_feature() -> None:
    """Integers never wrap."""
    plan = native.WindowPlan(pa.schema([("x", pa.int64())]), [native.WindowFeature("total", "sum", 0, None, None)])
    lanes = pa.RecordBatch.from_arrays([pa.array([2**63 - 1, 1])], names=["x"])
    codes, at = pa.array([0, 0], pa.int32()), pa.array([1, 2])
    states = plan.build_states(codes, at, None, None, lanes, 1, 9, 1).to_pylist()
    with pytest.raises(OverflowError, match="'total'"):
        plan.reader().read(states, 9)


def test_threads_change_nothing() -> None:
    """Keys shared out to threads give the same bytes."""
    plan = native.WindowPlan(ONE, [native.WindowFeature("total", "sum", 0, 10, 5)])
    n = 2000
    codes = pa.array([i * i % 97 for i in range(n)], pa.int32())
    at = pa.array([i * 7919 % 31 for i in range(n)], pa.int64())
    lanes = pa.RecordBatch.from_arrays([pa.array([float(i) for i in range(n)])], names=["x"])
    one, three = (plan.build_states(codes, at, None, None, lanes, 100, 25, threads) for threads in (1, 3))
    assert one.equals(three)
    assert one.null_count == 100 - len(set(codes.to_pylist()))
