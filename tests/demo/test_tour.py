"""The demonstration runs to its end, and its claims hold."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import polars as pl
import pytest
from rich.console import Console

from asof import FeatureStore, demo

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_the_demonstration_ends_with_equal_vectors(tmp_path: Path) -> None:
    """Every step runs on the first three months; the served values equal the training rows, which rebuild."""
    directory = tmp_path / "flights"
    text = io.StringIO()
    demo.run(directory, quick=True, console=Console(file=text, width=100))
    shown = text.getvalue()
    assert "the same bytes" in shown
    assert re.search(r"90 days, [\d,]+ rows in", shown)
    assert re.search(r"\d\d+ flights x 38 features: all \d+ values equal", shown)
    assert "181 were sent, 181 are in the log" in shown
    assert re.search(r"21:3\d, \d+ have arrived", shown)
    assert re.search(r"all \d+ x 3 x 6 = [\d,]+\s+values\s+equal what was served", shown)
    spine = pl.read_parquet(directory / "data" / "departures.parquet")
    with FeatureStore(directory) as store:
        training = store.training_set("late_flights").to_polars()
    assert training.select(spine.columns).equals(spine)
    assert len(training.columns) - len(spine.columns) == 38 + len(["split"])
    flights = pl.read_parquet(directory / "data" / "flights.parquet")
    assert_yesterday_is_what_had_landed_by_two(training, flights)
    off = training.select((pl.col("trip__miles") / pl.col("distance") - 1).abs().max()).item()
    assert off < 0.02
    unlisted = training.filter(pl.col("dest").is_in(["BQN", "PSE", "SJU", "STT"]))
    assert unlisted.height == training["trip__miles"].null_count() > 0


def assert_yesterday_is_what_had_landed_by_two(training: pl.DataFrame, flights: pl.DataFrame) -> None:
    """Compare the batch view, from two in the morning on, with the day before as another engine sums it up."""
    day = pl.col("scheduled").dt.truncate("1d") + pl.duration(days=1)
    expected = (
        flights.with_columns(day.alias("day"))
        .filter(pl.col("known_at") <= pl.col("day") + pl.duration(hours=2))
        .group_by("carrier", "day")
        .agg(pl.len().cast(pl.Int64).alias("flights"), pl.col("arr_delay").mean().alias("mean"))
    )
    later = training.filter(pl.col("event_timestamp").dt.hour() >= 2)
    both = later.with_columns(pl.col("event_timestamp").dt.truncate("1d").alias("day")).join(
        expected, on=["carrier", "day"]
    )
    assert both.height > later.height * 0.9
    assert both["carrier_yesterday__flights"].equals(both["flights"], check_names=False)
    difference = (both["carrier_yesterday__arr_delay_mean"] - both["mean"]).abs().max()
    assert isinstance(difference, float)
    assert difference < 1e-9
