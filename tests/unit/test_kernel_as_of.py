"""The newest known row per (key, instant), against a nested loop."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asof._native import as_of

PRESENT, MISSING, EXPIRED = 0, 2, 3


@dataclass(frozen=True)
class Row:
    """One row of a state source; its position in the list is its ingest order."""

    key: int
    time: int
    available_at: int
    deleted: bool | None


def run(
    rows: list[Row], queries: list[tuple[int, int]], ttl: int | None, *, late: bool = True, threads: int = 1
) -> Any:
    return as_of(
        pa.array([r.key for r in rows], pa.int32()),
        pa.array([r.time for r in rows], pa.int64()),
        pa.array([r.available_at for r in rows], pa.int64()) if late else None,
        pa.array([r.deleted for r in rows], pa.bool_()),
        2,
        pa.array([key for key, _ in queries], pa.int32()),
        pa.array([t for _, t in queries], pa.int64()),
        ttl,
        threads,
    ).to_pylist()


def answer(rows: list[Row], query: tuple[int, int], ttl: int | None, *, late: bool = True) -> dict[str, Any]:
    key, t = query
    visible = [
        (r.time, r.available_at if late else r.time, i)
        for i, r in enumerate(rows)
        if key == r.key >= 0 and r.time <= t and (not late or r.available_at <= t)
    ]
    if not visible:
        return {"row": None, "status": MISSING, "event_time": None}
    time, _, i = max(visible)
    if rows[i].deleted:
        return {"row": None, "status": MISSING, "event_time": time}
    if ttl is not None and t - time > ttl:
        return {"row": None, "status": EXPIRED, "event_time": time}
    return {"row": i, "status": PRESENT, "event_time": time}


rows_strategy = st.lists(
    st.builds(
        Row,
        key=st.sampled_from([0, 0, 1, -1]),
        time=st.integers(0, 6),
        available_at=st.integers(-1, 9),
        deleted=st.sampled_from([False, False, None, True]),
    ),
    max_size=10,
)
queries_strategy = st.lists(st.tuples(st.sampled_from([0, 0, 1, -1]), st.integers(-1, 10)), max_size=10)


@settings(deadline=None, max_examples=400)
@given(rows=rows_strategy, queries=queries_strategy, ttl=st.none() | st.integers(0, 4), late=st.booleans())
def test_as_of_equals_the_nested_loop(
    rows: list[Row], queries: list[tuple[int, int]], ttl: int | None, late: bool
) -> None:
    """Late rows, ties, tombstones, expiry, unknown keys, duplicate queries in any order."""
    expected = [answer(rows, query, ttl, late=late) for query in queries]
    assert run(rows, queries, ttl, late=late) == expected
    assert run(rows, queries, ttl, late=late, threads=3) == expected


def test_a_value_of_exactly_its_ttl_is_still_valid() -> None:
    assert [a["status"] for a in run([Row(0, 5, 5, False)], [(0, 7), (0, 8)], 2)] == [PRESENT, EXPIRED]


def test_times_at_the_ends_of_the_range_do_not_overflow() -> None:
    low, high = -(2**63), 2**63 - 1
    assert run([Row(0, low, low, False)], [(0, high)], high)[0]["status"] == EXPIRED


def test_no_rows_and_no_queries_give_an_empty_answer() -> None:
    assert run([], [], None) == []
    assert run([], [(0, 1)], None) == [{"row": None, "status": MISSING, "event_time": None}]


def test_a_code_past_the_keys_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"query_codes\[0\] is 2; codes run from 0 to n_keys - 1 = 1"):
        run([], [(2, 1)], None)
