"""The demonstration's data says when things could have been known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest

from asof.demo import data, project_files
from asof.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("flights")
    data.prepare(directory)
    return directory


def flight(directory: Path, flight_id: int) -> dict[str, object]:
    return pl.read_parquet(directory / "flights.parquet").row(flight_id, named=True)


def test_every_flight_is_there_once_and_in_order(prepared: Path) -> None:
    """The event log and the spine both hold all 336,776 flights, numbered as they come."""
    for name in ("flights", "departures"):
        ids = pl.read_parquet(prepared / f"{name}.parquet")["flight_id"]
        assert ids.to_list() == list(range(336_776))


def test_clock_times_become_instants_of_the_right_zone(prepared: Path) -> None:
    """UA 1545 left Newark at 5:15 in New York and landed at 8:30 in Houston, an hour behind."""
    row = flight(prepared, 0)
    assert str(row["scheduled"]) == "2013-01-01 10:15:00+00:00"
    assert str(row["known_at"]) == "2013-01-01 14:30:00+00:00"


def test_a_delay_is_known_no_earlier_than_departure_and_within_a_day_and_a_half(prepared: Path) -> None:
    """Landing lies after the scheduled departure, plus what the delay itself adds."""
    flights = pl.read_parquet(prepared / "flights.parquet")
    wait_minutes = sorted((flights["known_at"] - flights["scheduled"]).dt.total_minutes().to_list())
    assert wait_minutes[0] > 0
    assert wait_minutes[-1] < 36 * 60


def test_arrival_agrees_with_the_recorded_air_time(prepared: Path) -> None:
    """A landing after midnight, in another zone, or on the night the clocks change is never a day or an hour off."""
    raw = data._csv(data._package_data() / "flights.csv.zip")
    flights = pl.read_parquet(prepared / "flights.parquet").with_columns(raw["air_time"], raw["dep_delay"])
    departed = pl.col("scheduled") + pl.duration(minutes="dep_delay")
    ground = (pl.col("known_at") - departed).dt.total_minutes() - pl.col("air_time")
    minutes = sorted(flights.filter(pl.col("air_time").is_not_null()).select(ground).to_series().to_list())
    assert minutes[0] > 0
    assert minutes[-1] < 4 * 60


def test_a_cancellation_is_known_an_hour_after_the_scheduled_departure(prepared: Path) -> None:
    """Nobody recorded when it became known; the delay is stated instead."""
    cancelled = pl.read_parquet(prepared / "flights.parquet").filter("cancelled")
    assert cancelled.height == 8_255
    assert (cancelled["known_at"] - cancelled["scheduled"]).dt.total_minutes().unique().to_list() == [60]


def test_four_destinations_are_unlisted_and_every_origin_is_listed(prepared: Path) -> None:
    """Where an airport lies held before the first flight; what is not in the list stays unknown."""
    airports = pl.read_parquet(prepared / "airports.parquet")
    flights = pl.read_parquet(prepared / "departures.parquet")
    known = set(airports["faa"].to_list())
    assert set(flights["dest"].to_list()) - known == {"BQN", "PSE", "SJU", "STT"}
    assert set(flights["origin"].to_list()) <= known
    assert airports["opened_at"].unique().to_list() == [datetime(2000, 1, 1, tzinfo=UTC)]


def test_an_edited_project_is_not_overwritten(tmp_path: Path) -> None:
    """Somebody who changed features.py to see what happens does not lose it to the next run."""
    project_files.start(tmp_path)
    project_files.start(tmp_path)
    edited = tmp_path / "features.py"
    edited.write_text(edited.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    with pytest.raises(InputError, match="in use"):
        project_files.start(tmp_path)
    assert edited.read_text(encoding="utf-8").endswith("# mine\n")
