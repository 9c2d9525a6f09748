"""State join: 1M spine rows x 3 views of 1M rows and 15 columns each, files to table; Polars and Feast beside."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from feast_process import VERSION, Feast, environment
from measure import Report, Target, alternate, main, seconds
from workloads import HEAD, STATE_COLUMNS, TTL_DAYS, VIEWS, project, state_rows, state_spine, state_view

if TYPE_CHECKING:
    from pathlib import Path


def by_hand(spine: Path, views: dict[str, Path]) -> pl.DataFrame:
    """Join with Polars: sort both sides by key and time, as-of join with the ttl as tolerance, back to spine order."""
    joined = pl.scan_parquet(spine).with_row_index("row").sort("customer_id", "event_timestamp")
    for view, path in views.items():
        names = {column: f"{view}__{column}" for column in STATE_COLUMNS}
        joined = joined.join_asof(
            pl.scan_parquet(path).rename(names).sort("customer_id", "event_timestamp"),
            on="event_timestamp",
            by="customer_id",
            strategy="backward",
            tolerance=timedelta(days=TTL_DAYS),
            check_sortedness=False,
        )
    return joined.sort("row").drop("row").collect(engine="in-memory")


def run(quick: bool, report: Report) -> None:
    """Compare the three at one size."""
    rows = 100_000 if quick else 1_000_000
    spine = state_spine(rows)
    views = {view: state_rows(view, rows) for view in VIEWS}
    store = project("state_join", HEAD + "".join(state_view(*view) for view in views.items()))

    def ours() -> pl.DataFrame:
        with store.get_historical_features(list(VIEWS), spine) as features:
            return pl.from_arrow(features.to_arrow())

    if not ours().equals(by_hand(spine, views)):
        raise RuntimeError("Polars and Asof do not agree")
    what = f"State join, {rows:,} x 3 views"
    programs = environment()
    if programs is None:
        took = alternate({"ours": lambda: seconds(ours), "polars": lambda: seconds(lambda: by_hand(spine, views))}, 3)
        report.add(what, "s", took["ours"], peer="Polars join_asof", theirs=took["polars"], target=Target(1, "ratio"))
        report.add(what, "s", took["ours"], peer=f"Feast {VERSION}, DuckDB: not available", target=Target(5, "ratio"))
        return
    with Feast(programs, views, spine=spine) as feast:
        took = alternate(
            {
                "ours": lambda: seconds(ours),
                "polars": lambda: seconds(lambda: by_hand(spine, views)),
                "feast": lambda: feast.ask("history"),
            },
            3,
        )
    report.add(what, "s", took["ours"], peer="Polars join_asof", theirs=took["polars"], target=Target(1, "ratio"))
    report.add(
        what, "s", took["ours"], peer=f"Feast {VERSION}, DuckDB", theirs=took["feast"], target=Target(5, "ratio")
    )


if __name__ == "__main__":
    main(run)
