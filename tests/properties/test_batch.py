"""A batch view gives, at t, what the newest run published by t gave of the rows that could be known at that run."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given
from hypothesis import strategies as st

from asof import BatchView, Entity, FeatureStore, FileSource
from asof.clock import FixedClock, from_us

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EVERY_US = 3
ORIGIN_US = 1_700_000_000_000_000 // EVERY_US * EVERY_US
SQL = "SELECT k, sum(v) AS total, count(*) AS n FROM rows WHERE ts >= $start AND ts < $end GROUP BY k"
PYTHON_COLUMNS = {"k": "int64", "total": "int64", "n": "int64"}


class Row(NamedTuple):
    """A row of the input: instants in microseconds after the origin."""

    k: int
    ts: int
    known: int
    id: int
    gone: bool
    v: int


ROWS = st.lists(
    st.builds(
        Row,
        k=st.sampled_from([1, 2]),
        ts=st.integers(0, 8),
        known=st.integers(0, 13),
        id=st.integers(0, 5),
        gone=st.sampled_from([False, False, False, True]),
        v=st.integers(-2, 2),
    ),
    max_size=8,
)
SPINE = st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.integers(-1, 16)), min_size=1, max_size=6)


def in_python(inputs: dict[str, pa.Table], start: Any, end: Any) -> pa.Table:
    """Do in Python what the query does."""
    rows = [row for row in inputs["rows"].to_pylist() if start <= row["ts"] < end]
    keys = sorted({row["k"] for row in rows})
    mine = [[row["v"] for row in rows if row["k"] == k] for k in keys]
    return pa.table({"k": keys, "total": [sum(vs) for vs in mine], "n": [len(vs) for vs in mine]}).cast(
        pa.schema([(name, pa.int64()) for name in PYTHON_COLUMNS])
    )


def ran(rows: Sequence[Row], k: int, start: int, known: int, lookback: int | None = 0) -> tuple[int, int] | None:
    """Return the total and count of one key in the run of one interval, or None where it gives no row of the key."""
    values = []
    for event in {row.id for row in rows}:
        arrivals = [(row.known, i) for i, row in enumerate(rows) if row.id == event and not row.gone]
        taken_back = any(row.known <= known for row in rows if row.id == event and row.gone)
        if arrivals and min(arrivals)[0] <= known and not taken_back:
            row = rows[min(arrivals)[1]]
            first = start - lookback if lookback is not None else row.ts
            if row.k == k and first <= row.ts and (lookback is None or row.ts < start + EVERY_US):
                values.append(row.v)
    return (sum(values), len(values)) if values else None


def expected(
    rows: Sequence[Row], k: int, t: int, delay: int, lookback: int | None = 0
) -> tuple[int | None, int | None]:
    """Return what the newest run that was published by t gave of a key."""
    for start in (6, 3, 0):
        published = start + EVERY_US + delay
        if published <= t and (found := ran(rows, k, start, published, lookback)) is not None:
            return found
    return None, None


@given(rows=ROWS, spine=SPINE, delay=st.integers(0, 3), function=st.booleans())
@example([Row(1, 2, 4, 0, False, 1)], [(1, 3), (1, 4), (1, 5), (1, 16)], 1, False)
@example([Row(1, 2, 3, 0, False, 1), Row(1, 2, 4, 0, True, 0)], [(1, 4), (1, 5)], 1, False)
def test_history_of_a_batch_view_is_what_its_runs_published(
    rows: list[Row], spine: list[tuple[int, int]], delay: int, function: bool
) -> None:
    """Query or function, late rows, duplicates and retractions: the nested loop over runs gives the same."""
    body: dict[str, Any] = {"function": in_python, "columns": PYTHON_COLUMNS} if function else {"sql": SQL}
    with FeatureStore.temporary(clock=FixedClock(ORIGIN_US + 100)) as store:
        write(store.config.root / "rows.parquet", rows)
        source = FileSource(
            "rows", path="rows.parquet", event_time="ts", available_at="known", event_id="id", deleted="gone"
        )
        view = BatchView(
            "daily",
            entity=Entity("entity", join_key="k"),
            inputs=[source],
            schedule=timedelta(microseconds=EVERY_US),
            delay=timedelta(microseconds=delay),
            features=["total", "n"],
            **body,
        )
        store.backfill(view, from_us(ORIGIN_US), from_us(ORIGIN_US + 9), workers=2)
        asked = {"k": [k for k, _ in spine], "event_timestamp": [from_us(ORIGIN_US + t) for _, t in spine]}
        with store.get_historical_features(view, asked) as found:
            table = found.to_arrow()
    answers = list(zip(table["daily__total"].to_pylist(), table["daily__n"].to_pylist(), strict=True))
    assert answers == [expected(rows, k, t, delay) for k, t in spine]


@given(rows=ROWS, spine=SPINE, delay=st.integers(0, 3), lookback=st.none() | st.integers(0, 7))
@example([Row(1, 0, 0, 0, False, 1)], [(1, 7)], 0, 3)
@example([Row(1, 0, 0, 0, False, 1)], [(1, 7)], 0, 2)
@example([Row(1, 3, 3, 0, False, 1)], [(1, 4)], 1, 0)
@example([Row(1, 3, 3, 0, False, 1)], [(1, 4)], 1, None)
def test_a_run_sees_the_rows_of_its_lookback_and_no_others(
    rows: list[Row], spine: list[tuple[int, int]], delay: int, lookback: int | None
) -> None:
    """A query without a predicate sums what is there: `[start - lookback, end)`, and all that is known without one."""
    with FeatureStore.temporary(clock=FixedClock(ORIGIN_US + 100)) as store:
        write(store.config.root / "rows.parquet", rows)
        source = FileSource(
            "rows", path="rows.parquet", event_time="ts", available_at="known", event_id="id", deleted="gone"
        )
        view = BatchView(
            "daily",
            entity=Entity("entity", join_key="k"),
            inputs=[source],
            schedule=timedelta(microseconds=EVERY_US),
            delay=timedelta(microseconds=delay),
            lookback=None if lookback is None else timedelta(microseconds=lookback),
            features=["total", "n"],
            sql="SELECT k, sum(v) AS total, count(*) AS n FROM rows GROUP BY k",
        )
        store.backfill(view, from_us(ORIGIN_US + 6), from_us(ORIGIN_US + 9), workers=1)  # its own span is loaded
        store.backfill(view, from_us(ORIGIN_US), from_us(ORIGIN_US + 6), workers=2)
        asked = {"k": [k for k, _ in spine], "event_timestamp": [from_us(ORIGIN_US + t) for _, t in spine]}
        with store.get_historical_features(view, asked) as found:
            table = found.to_arrow()
    answers = list(zip(table["daily__total"].to_pylist(), table["daily__n"].to_pylist(), strict=True))
    assert answers == [expected(rows, k, t, delay, lookback) for k, t in spine]


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write the input."""
    time = pa.timestamp("us", "UTC")
    fields = {"k": pa.int64(), "ts": time, "known": time, "id": pa.int64(), "gone": pa.bool_(), "v": pa.int64()}
    columns = {
        name: pa.array([getattr(r, name) + (ORIGIN_US if kind == time else 0) for r in rows], pa.int64()).cast(kind)
        if name != "gone"
        else pa.array([r.gone for r in rows], kind)
        for name, kind in fields.items()
    }
    pq.write_table(pa.table(columns), path)
