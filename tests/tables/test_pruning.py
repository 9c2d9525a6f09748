"""Only the columns and the times that a scan needs leave PostgreSQL and Iceberg."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from asof.backends.local import elsewhere
from asof.backends.local.elsewhere import Wanted
from asof.clock import to_us
from asof.plan.specs import SourceSpec
from tests.servers.tables import put_into_iceberg, put_into_postgres

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.postgres import PostgresServer

DAYS = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 11)]
BOUNDS: dict[str, Any] = {"event_time_from_us": to_us(DAYS[2]), "event_time_until_us": to_us(DAYS[4])}


def events(zone: str | None) -> pa.Table:
    """Return ten days, of which the ids repeat after five, one day without an event time, and one without an id."""
    times = [*DAYS, None, DAYS[3]]
    schema = pa.schema({"id": pa.int64(), "ts": pa.timestamp("us", zone), "v": pa.float64(), "filler": pa.string()})
    ids = [*(number % 5 for number in range(10)), 77, None]
    values = [float(number) for number in range(12)]
    shown = [None if one is None else one if zone else one.replace(tzinfo=None) for one in times]
    return pa.table({"id": ids, "ts": shown, "v": values, "filler": ["x" * 9] * 12}, schema=schema)


@pytest.fixture(params=["postgres", "iceberg"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, schema: str, catalog: str, postgres_server: PostgresServer
) -> Any:
    """Return what reads columns of those rows, with and without a zone, by what is wanted of them."""

    def read(wanted: Wanted, zone: str | None = "UTC") -> pa.Table:
        name = f"{schema}_{zone}".lower()
        roles: dict[str, Any] = {"name": "events", "kind": request.param, "event_time": "ts", "event_id": "id"}
        if request.param == "postgres":
            put = put_into_postgres(postgres_server, name, events(zone))
            spec = SourceSpec(connection="warehouse", table=put, order_by=("v",), **roles)
        else:
            spec = SourceSpec(connection=catalog, table=put_into_iceberg(events(zone), parts=12), **roles)
        try:
            with elsewhere.read(tmp_path, spec, wanted) as rows:
                return pa.Table.from_batches(list(rows.batches), rows.schema)
        finally:
            postgres_server.forget(name)

    return read


def test_only_named_columns_are_read(place: Any) -> None:
    """By their names, or as an expression spells them; one that is no column is for others to refuse."""
    found = place(Wanted(frozenset({"ts", "id"}), named=frozenset({"v", "nowhere"})))
    assert found.column_names == ["id", "ts", "v"]
    assert found.num_rows == 12


@pytest.mark.parametrize("zone", ["UTC", None])
def test_only_times_in_bounds_and_rows_without_one_are_read(place: Any, zone: str | None) -> None:
    """Both ends belong to the bounds; what cannot be used has to be seen to be set apart."""
    found = place(Wanted(frozenset({"ts", "v"}), **BOUNDS), zone)
    assert found.column("v").to_pylist() == [2.0, 3.0, 4.0, 10.0, 11.0]


def test_rows_ahead_of_the_clock_are_read_to_be_set_apart(place: Any) -> None:
    """Those beyond the horizon, exclusive."""
    horizon = to_us(DAYS[8])
    found = place(Wanted(frozenset({"ts", "v"}), horizon_us=horizon, **BOUNDS))
    assert found.column("v").to_pylist() == [2.0, 3.0, 4.0, 9.0, 10.0, 11.0]
    assert to_us(DAYS[9]) > horizon + timedelta(hours=23) // timedelta(microseconds=1)


def test_an_event_is_read_whole(place: Any) -> None:
    """All rows of an id that has one in bounds, whenever they happened; PostgreSQL gives no others."""
    found = place(Wanted(frozenset({"ts", "v"}), whole_events=True, **BOUNDS)).column("v").to_pylist()
    assert {2.0, 3.0, 4.0, 7.0, 8.0, 9.0, 10.0, 11.0} <= set(found)
    assert found == sorted(found)
    assert len(found) in (8, 12)
