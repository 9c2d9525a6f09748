"""A batch source over another one: the scheduler runs what it needs, and its rows are those of a nested loop."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given
from hypothesis import strategies as st

from asof import BatchSource, BatchView, Entity, FeatureStore, FileSource
from asof.clock import FixedClock, from_us

if TYPE_CHECKING:
    from collections.abc import Sequence

ORIGIN_US = 1_700_000_000_000_000 // 60 * 60
KEYS = (1, 2)


class Step(NamedTuple):
    """A schedule: microseconds between its runs, how late they are, and how far they look back."""

    every: int
    delay: int
    lookback: int


class Row(NamedTuple):
    """A row of the input: microseconds after the origin."""

    k: int
    ts: int
    v: int


STEPS = st.builds(Step, every=st.integers(1, 5), delay=st.integers(0, 3), lookback=st.integers(0, 6))
ROWS = st.lists(st.builds(Row, k=st.sampled_from(KEYS), ts=st.integers(0, 25), v=st.integers(1, 3)), max_size=8)


def newest_end(step: Step, now: int) -> int:
    """Return the end of the newest interval that is due, on the grid from the epoch."""
    return (ORIGIN_US + now - step.delay) // step.every * step.every - ORIGIN_US


def inner(rows: Sequence[Row], k: int, step: Step, end: int) -> int | None:
    """Return what the first source gives of a key in the interval that ends then, or None for no row."""
    values = [row.v for row in rows if row.k == k and end - step.every - step.lookback <= row.ts < end]
    return sum(values) if values else None


def outer(rows: Sequence[Row], k: int, fine: Step, coarse: Step, now: int) -> int | None:
    """Return what the newest run of the second source gives of a key: the sum of the rows of the first that it sees."""
    end = newest_end(coarse, now)
    seen = [
        inner(rows, k, fine, at)
        for at in range(end - coarse.every - coarse.lookback + 1, end + 1)
        if (ORIGIN_US + at) % fine.every == 0 and at + fine.delay <= end + coarse.delay
    ]
    values = [value for value in seen if value is not None]
    return sum(values) if values else None


@given(rows=ROWS, fine=STEPS, coarse=STEPS, now=st.integers(15, 30))
@example([Row(1, 11, 1), Row(1, 8, 2)], Step(1, 0, 0), Step(3, 0, 0), 15)
@example([Row(1, 11, 1), Row(1, 8, 2)], Step(1, 0, 0), Step(3, 0, 1), 15)
@example([Row(1, 11, 1)], Step(3, 3, 0), Step(3, 0, 0), 15)
@example([Row(1, 9, 1)], Step(5, 0, 0), Step(1, 0, 6), 15)
def test_a_fresh_scheduler_gives_the_newest_run_all_that_it_sees(
    rows: list[Row], fine: Step, coarse: Step, now: int
) -> None:
    """Whatever the two schedules, delays and lookbacks are."""
    with FeatureStore.temporary(clock=FixedClock(ORIGIN_US + now)) as store:
        ts = pa.array([ORIGIN_US + row.ts for row in rows], pa.int64()).cast(pa.timestamp("us", "UTC"))
        columns = {name: pa.array([getattr(row, name) for row in rows], pa.int64()) for name in ("k", "v")}
        pq.write_table(pa.table({**columns, "ts": ts}), store.config.root / "rows.parquet")
        first = BatchSource(
            "first",
            inputs=[FileSource("rows", path="rows.parquet", event_time="ts")],
            schedule=timedelta(microseconds=fine.every),
            delay=timedelta(microseconds=fine.delay),
            lookback=timedelta(microseconds=fine.lookback),
            sql="SELECT k, sum(v) AS v FROM rows GROUP BY k",
        )
        view = BatchView(
            "second",
            entity=Entity("entity", join_key="k"),
            inputs=[first],
            schedule=timedelta(microseconds=coarse.every),
            delay=timedelta(microseconds=coarse.delay),
            lookback=timedelta(microseconds=coarse.lookback),
            sql="SELECT k, sum(v) AS total FROM first GROUP BY k",
            features=["total"],
        )
        store.apply(store.plan([view]))
        assert [one.source for one in store.run_due().backfilled] == ["first", "second"]
        asked = {"k": list(KEYS), "event_timestamp": [from_us(ORIGIN_US + now)] * len(KEYS)}
        found = store.get_historical_features(["second:total"], asked).to_arrow()["second__total"].to_pylist()
    assert found == [outer(rows, k, fine, coarse, now) for k in KEYS]
