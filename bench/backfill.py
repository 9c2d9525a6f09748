"""Backfill: a year of daily intervals beside one query that groups the whole year by day."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from measure import CACHE, Report, Target, alternate, main, seconds
from workloads import DAY_US, SEED, START_US, cached, project, skewed, times

if TYPE_CHECKING:
    from pathlib import Path

DAYS = 365
MOST = 1.5
DEFINITIONS = """
from asof import *
customer = Entity("customer", join_key="customer_id")
log = FileSource("log", path={path!r}, event_time="ts")
daily = BatchSource("daily", inputs=[log], schedule="1d", sql='''
    SELECT customer_id, count(*) AS events, sum(amount) AS amount FROM log WHERE ts >= $start AND ts < $end GROUP BY 1
''')
yesterday = StateView("yesterday", entity=customer, source=daily, features=["events", "amount"])
"""
QUERY = """
    COPY (SELECT customer_id, date_trunc('day', ts) AS day, count(*) AS events, sum(amount) AS amount
          FROM read_parquet('{path}') GROUP BY ALL ORDER BY day) TO '{target}' (FORMAT parquet)
"""


def year(rows: int) -> Path:
    """A year of events, a file per month, in the order of their time, as logs are."""

    def make(path: Path) -> None:
        path.mkdir()
        rng = np.random.default_rng([SEED, 5])
        instants = np.sort(rng.integers(0, DAYS * 86_400, rows)) * 1_000_000
        table = pa.table(
            {
                "customer_id": skewed(rng, rows),
                "ts": times(START_US + instants),
                "amount": np.round(rng.exponential(50, rows), 2),
            }
        )
        for month in range(12):
            first, last = np.searchsorted(instants, [month * DAYS * DAY_US // 12, (month + 1) * DAYS * DAY_US // 12])
            pq.write_table(table.slice(first, last - first), path / f"{month:02}.parquet", row_group_size=100_000)

    return cached(f"year-{rows}", make)


def run(quick: bool, report: Report) -> None:
    """Backfill into an empty store each time, with as many workers as there are cores."""
    rows = 1_000_000 if quick else 10_000_000
    path = str(year(rows) / "*.parquet")
    end_us = START_US + DAYS * DAY_US
    found: dict[str, int] = {}

    def ours() -> float:
        with project("backfill", DEFINITIONS.format(path=path), now_us=end_us) as store:
            return seconds(
                lambda: found.update(rows=store.backfill("daily", _iso(START_US), _iso(end_us), workers=2).rows)
            )

    def query() -> float:
        target = CACHE / "projects" / "year.parquet"
        with duckdb.connect(config={"threads": 2}) as con:
            con.execute("SET TimeZone = 'UTC'")
            took = seconds(lambda: con.execute(QUERY.format(path=path, target=target)).fetchall())
        found["theirs"] = pq.read_metadata(target).num_rows
        return took

    took = alternate({"ours": ours, "query": query}, 3)
    if found["rows"] != found["theirs"]:
        raise AssertionError(f"the backfill published {found['rows']} rows, the query {found['theirs']}")
    shutil.rmtree(CACHE / "projects" / "backfill", ignore_errors=True)
    report.add(
        f"Backfill of {DAYS} days, {rows:,} events",
        "s",
        took["ours"],
        peer="One DuckDB query",
        theirs=took["query"],
        target=Target(1 / MOST, "ratio"),
    )


def _iso(us: int) -> str:
    return str(np.datetime64(us, "us")) + "Z"


if __name__ == "__main__":
    main(run)
