"""Stored states take later arrivals in: they answer what a state built of everything answers, bit for bit."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asof import _native as native
from tests.unit.test_kernel_states import (
    ONE,
    answer_from_history,
    build,
    columns,
    compile_plan,
    events,
    features,
    lanes_of,
)

batches = st.lists(st.tuples(st.integers(0, 5), st.lists(events, max_size=5)), min_size=1, max_size=5)


def take_in(plan: native.WindowPlan, states: list[bytes | None], rows: list[Any], instant: int) -> list[bytes | None]:
    """Update both keys' states."""
    codes, at = pa.array([row[0] for row in rows], pa.int32()), pa.array([row[1] for row in rows], pa.int64())
    updated: list[bytes | None] = plan.update_states(states, codes, at, lanes_of(rows), instant, 1).to_pylist()
    return updated


@settings(deadline=None, max_examples=600)
@given(features, st.integers(-4, 4), batches, st.booleans(), st.integers(0, 12))
def test_updated_states_answer_what_history_answers(
    chosen: list[Any], instant: int, arrivals: list[tuple[int, list[Any]]], built: bool, later: int
) -> None:
    """Whatever arrives when, however late, and however long the state has aged since: nothing tells it was updated.

    Seven instants and windows of up to eight microseconds: tiles are cut, joined, aged and dropped all the time.
    """
    plan = compile_plan(chosen)
    states: list[bytes | None] = [None, None]
    seen: list[Any] = []
    for i, (gap, rows) in enumerate(arrivals):
        instant += gap
        seen += rows
        if i == 0 and built:
            codes, at = pa.array([row[0] for row in rows], pa.int32()), pa.array([row[1] for row in rows], pa.int64())
            long_ago = pa.array([-(2**60)] * len(rows), pa.int64())
            states = plan.build_states(codes, at, long_ago, None, lanes_of(rows), 2, instant, 1).to_pylist()
        else:
            states = take_in(plan, states, rows, instant)
        for ahead in {0, later}:
            expected = answer_from_history(plan, seen, instant + ahead)
            block = plan.reader().read(states, instant + ahead)
            assert columns(block.to_arrow()) == columns(expected.select(plan.output_schema.names))
            statuses = native.value_statuses(block.to_arrow(), expected.column("__status"))
            assert block.statuses().to_pydict() == statuses.to_pydict()
            assert block.event_time().cast(pa.int64()).to_pylist() == expected.column("__event_time").to_pylist()
        assert [state is None for state in states] == [all(row[0] != key for row in seen) for key in (0, 1)]


def test_a_state_of_a_later_instant_stays_one() -> None:
    """An update with an older clock keeps the instant from which on the state answers."""
    plan = native.WindowPlan(ONE, [native.WindowFeature("n", "count", None, 10, 5)])
    lanes = pa.RecordBatch.from_arrays([pa.array([1.0])], names=["x"])
    updated = plan.update_states(
        build(plan, [3], [1.0], 9), pa.array([0], pa.int32()), pa.array([4]), lanes, 7, 1
    ).to_pylist()
    assert plan.reader().read(updated, 9).to_arrow().to_pydict() == {"n": [2]}
    with pytest.raises(ValueError, match="cannot answer the earlier instant"):
        plan.reader().read(updated, 8)


def test_damaged_states_are_refused_whole() -> None:
    """A state cut short is an error, not one with fewer events."""
    plan = native.WindowPlan(
        ONE, [native.WindowFeature("total", "sum", 0, 100, 5), native.WindowFeature("n", "last_n", 0, 20, 5, 3)]
    )
    (state,) = build(plan, [3, 8, 8, 12, 30], [1.0, 2.0, 3.5, None, 4.0], 25)
    assert state is not None
    lanes = pa.RecordBatch.from_arrays([pa.array([1.0])], names=["x"])
    arrival = pa.array([0], pa.int32()), pa.array([26]), lanes, 27, 1
    assert plan.update_states([state], *arrival).null_count == 0
    for cut in range(len(state)):
        with pytest.raises(ValueError, match=r"damaged|format"):
            plan.update_states([state[:cut]], *arrival)


def test_tiles_join_as_they_age() -> None:
    """A state that is updated for long takes no more room than one built at its end."""
    plan = native.WindowPlan(
        ONE, [native.WindowFeature("total", "sum", 0, 400, 100), native.WindowFeature("n", "count", None, 40, 2)]
    )
    states: list[bytes | None] = [None]
    for at in range(400):
        lanes = pa.RecordBatch.from_arrays([pa.array([at / 2])], names=["x"])
        states = plan.update_states(states, pa.array([0], pa.int32()), pa.array([at]), lanes, at + 1, 1).to_pylist()
    (whole,) = build(plan, list(range(400)), [at / 2 for at in range(400)], 400)
    assert states[0] is not None
    assert whole is not None
    assert len(states[0]) <= len(whole)
