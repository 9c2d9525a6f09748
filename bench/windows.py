"""Windows: aggregates over 1h, 1d, 7d, 30d and 90d of skewed events; DuckDB frames and Polars prefix sums beside.

All three compute windows with the same boundaries and their answers are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import polars as pl

from measure import Report, Target, alternate, main, seconds
from workloads import HEAD, event_spine, event_view, events, project

if TYPE_CHECKING:
    from pathlib import Path

SECOND_US = 1_000_000
WINDOWS_S = {
    "1h": (3600, 60),
    "1d": (86400, 900),
    "7d": (604800, 3600),
    "30d": (2592000, 21600),
    "90d": (7776000, 86400),
}
ALL = ["Sum", "Count", "Mean", "Min", "Max", "Stddev"]
INVERTIBLE = ["Sum", "Count", "Mean"]
SQL = {"sum": "sum", "count": "count", "mean": "avg", "min": "min", "max": "max", "stddev": "stddev"}


def frames(directory: Path, spine: Path) -> pl.DataFrame:
    """DuckDB: events and spine in one relation, a RANGE frame per window that ends just before the row."""
    windows = ", ".join(
        f"w{label} AS (PARTITION BY customer_id ORDER BY t RANGE BETWEEN"
        f" (t - (t - {length * SECOND_US}) // {hop * SECOND_US} * {hop * SECOND_US}) PRECEDING AND 1 PRECEDING)"
        for label, (length, hop) in WINDOWS_S.items()
    )
    columns = ", ".join(
        f"{function}(amount) OVER w{label} AS {name}_{label}" for name, function in SQL.items() for label in WINDOWS_S
    )
    with duckdb.connect() as connection:
        found = connection.sql(f"""
            WITH both_sides AS (
                SELECT customer_id, epoch_us(ts) AS t, amount, NULL AS spine_row FROM '{directory}/*.parquet'
                UNION ALL
                SELECT customer_id, epoch_us(event_timestamp), NULL, file_row_number
                FROM read_parquet('{spine}', file_row_number = true)),
            framed AS (SELECT spine_row, {columns} FROM both_sides WINDOW {windows})
            SELECT * EXCLUDE (spine_row) FROM framed WHERE spine_row IS NOT NULL ORDER BY spine_row""")
        return pl.from_arrow(found.to_arrow_table())


def prefix_sums(directory: Path, spine: Path) -> pl.DataFrame:
    """Polars: running sums per key, an as-of join for the windows' head and one for each tail, differences."""
    key = "customer_id"
    running = (
        pl.scan_parquet(f"{directory}/*.parquet")
        .sort(key, "ts")
        .select(key, "ts", sum=pl.col("amount").cum_sum().over(key), count=pl.col("amount").cum_count().over(key))
        .collect(engine="in-memory")
        .lazy()
    )

    def before(rows: pl.LazyFrame, instant: str, name: str) -> pl.LazyFrame:
        names = {"sum": f"sum_{name}", "count": f"count_{name}"}
        return (
            rows.join_asof(
                running.rename(names),
                left_on=instant,
                right_on="ts",
                by=key,
                strategy="backward",
                allow_exact_matches=False,
                coalesce=False,
                check_sortedness=False,
            )
            .drop("ts")
            .with_columns(pl.col(*names.values()).fill_null(0))
        )

    found = pl.scan_parquet(spine).with_row_index("row").sort(key, "event_timestamp")
    found = before(found, "event_timestamp", "head")
    for label, (length, hop) in WINDOWS_S.items():
        length_us, hop_us = length * SECOND_US, hop * SECOND_US
        tail = (pl.col("event_timestamp").dt.epoch("us") - length_us) // hop_us * hop_us
        found = before(found.with_columns(tail=tail.cast(pl.Datetime("us", "UTC"))), "tail", label)
    columns: list[pl.Expr] = []
    for label in WINDOWS_S:
        count = pl.col("count_head") - pl.col(f"count_{label}")
        total = pl.when(count > 0).then(pl.col("sum_head") - pl.col(f"sum_{label}"))
        columns += [total.alias(f"s_{label}"), count.alias(f"c_{label}"), (total / count).alias(f"m_{label}")]
    names = {f"{name[0]}_{label}": f"{name}_{label}" for name in ("sum", "count", "mean") for label in WINDOWS_S}
    return found.select("row", *columns).sort("row").drop("row").rename(names).collect(engine="in-memory")


def agree(ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
    """Stop where answers differ by more than plain running sums drift."""
    for column in theirs.columns:
        name = f"spend__{column}" if column.startswith("count") else f"spend__amount_{column}"
        far = (ours[name] - theirs[column]).abs() > 1e-6 * (1 + theirs[column].abs() + theirs[column].max())
        if far.any() or (ours[name].is_null() != theirs[column].is_null()).any():
            raise RuntimeError(f"The answers for {column} differ")


def run(quick: bool, report: Report) -> None:
    """Compare with frames at a size that they can do, with prefix sums at full size."""
    compare(quick, report, "frames")
    compare(quick, report, "prefix sums")


def compare(quick: bool, report: Report, peer: str) -> None:
    """Compare with one peer, alternating; frames run once, because they take minutes."""
    against_frames = peer == "frames"
    rows, asked = (1_000_000, 100_000) if against_frames else (10_000_000, 1_000_000)
    if quick:
        rows, asked = rows // 10, asked // 10
    directory, spine = events(rows), event_spine(asked)
    functions = ALL if against_frames else INVERTIBLE
    store = project("windows", HEAD + event_view("spend", directory, functions))

    def ours() -> pl.DataFrame:
        with store.get_historical_features(["spend"], spine) as features:
            return pl.from_arrow(features.to_arrow())

    def theirs() -> pl.DataFrame:
        return frames(directory, spine) if against_frames else prefix_sums(directory, spine)

    checked: list[pl.DataFrame] = []
    found = ours()
    agree(found, theirs()) if not against_frames else checked.append(found)

    def timed() -> float:
        answers: list[pl.DataFrame] = []
        took = seconds(lambda: answers.append(theirs()))
        if checked:
            agree(checked.pop(), answers[0])
        return took

    took = alternate({"ours": lambda: seconds(ours), "theirs": timed}, 1 if against_frames and not quick else 3)
    what = f"{len(functions)} aggregates x 5 windows, {rows:,} events x {asked:,}"
    name, target = ("DuckDB window frames", 20) if against_frames else ("Polars prefix sums", 0.5)
    report.add(what, "s", took["ours"], peer=name, theirs=took["theirs"], target=Target(target, "ratio"))
    if against_frames:
        full_size(quick, report)


def full_size(quick: bool, report: Report) -> None:
    """All six aggregates at full size, without a peer: frames take many minutes there."""
    rows, asked = (1_000_000, 100_000) if quick else (10_000_000, 1_000_000)
    spine = event_spine(asked)
    store = project("windows", HEAD + event_view("spend", events(rows), ALL))

    def ours() -> None:
        with store.get_historical_features(["spend"], spine) as features:
            features.to_arrow()

    took = alternate({"ours": lambda: seconds(ours)}, 3)
    report.add(f"6 aggregates x 5 windows, {rows:,} events x {asked:,}", "s", took["ours"])


if __name__ == "__main__":
    main(run)
