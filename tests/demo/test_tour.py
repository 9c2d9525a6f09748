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
    spine = pl.read_parquet(directory / "data" / "departures.parquet")
    with FeatureStore(directory) as store:
        training = store.training_set("late_flights").to_polars()
    assert training.select(spine.columns).equals(spine)
    assert len(training.columns) - len(spine.columns) == 38 + len(["split"])
