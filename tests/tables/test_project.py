"""Tables elsewhere through the rest of a project: batch sources, streams' history, plans, explanations and lineage."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from click.testing import CliRunner

from asof import BatchSource, Count, Entity, EventView, IcebergSource, PostgresSource, StateView, StreamSource, Sum
from asof.cli import cli
from asof.errors import ConfigError, DefinitionError, SchemaError, SourceError
from asof.plan.specs import address_of
from tests.servers.tables import put_into_iceberg, put_into_postgres

if TYPE_CHECKING:
    from pathlib import Path

    from asof import FeatureStore
    from tests.servers.postgres import PostgresServer

CUSTOMER = Entity("customer", join_key="k")
SPINE = {"k": [1, 2], "event_timestamp": [datetime(2026, 1, 15, tzinfo=UTC)] * 2}


def orders() -> pa.Table:
    times = [datetime(2026, 1, day, 6, tzinfo=UTC) for day in (10, 11, 12, 13)]
    schema = pa.schema(
        {"id": pa.int64(), "k": pa.int64(), "v": pa.float64(), "ts": pa.timestamp("us", "UTC"), "n": pa.int64()}
    )
    return pa.table(
        {"id": [1, 2, 3, 4], "k": [1, 2, 1, 2], "v": [1.0, 2, 4, 8], "ts": times, "n": [0, 1, 2, 3]}, schema
    )


@pytest.fixture(params=["postgres", "iceberg"])
def source(
    request: pytest.FixtureRequest, schema: str, catalog: str, postgres_server: PostgresServer
) -> PostgresSource | IcebergSource:
    """Return four orders, in either place."""
    if request.param == "postgres":
        put = put_into_postgres(postgres_server, schema, orders())
        return PostgresSource("orders", connection="warehouse", table=put, event_time="ts", event_id="id")
    return IcebergSource("orders", catalog=catalog, table=put_into_iceberg(orders()), event_time="ts", event_id="id")


def test_it_is_applied_materialized_explained_and_traced_to_its_columns(
    store: FeatureStore, source: PostgresSource | IcebergSource
) -> None:
    """As any other source."""
    spend = EventView("spend", entity=CUSTOMER, source=source, where="n < 3", features=[Sum("v", windows=["7d"])])
    store.apply(store.plan([spend]), who="test")
    assert {change.action for change in store.plan([spend]).changes} == {"unchanged"}
    store.materialize()
    assert store.get_online_features(["spend"], {"k": [1, 2]}).to_dict()["spend__v_sum_7d"] == [5.0, 2.0]
    found = store.explain("spend:v_sum_7d", {"k": 2})
    assert (found.inside, found.agree) == (1, True)
    assert "orders" in str(store.lineage("spend:v_sum_7d"))
    changed = EventView("spend", entity=CUSTOMER, source=source, features=[Sum("v", windows=["7d"])])
    [kept] = store.catalog().sources()
    assert address_of(kept) == f"{source.table} on {'lake' if isinstance(source, IcebergSource) else 'warehouse'}"
    shown = CliRunner().invoke(cli, ["--project", str(store.config.root), "describe", "orders"])
    assert address_of(kept) in shown.output
    assert "new_version" in {change.action for change in store.plan([changed]).changes}


def test_it_is_the_input_of_a_batch_source(store: FeatureStore, source: PostgresSource | IcebergSource) -> None:
    """And a run records what it held."""
    sql = "SELECT k, sum(v) AS total FROM orders WHERE ts >= $start AND ts < $end GROUP BY 1"
    daily = BatchSource("daily", inputs=[source], schedule="1d", sql=sql)
    totals = EventView("totals", entity=CUSTOMER, source=daily, features=[Sum("total", windows=["7d"])])
    store.apply(store.plan([source, daily, totals]), who="test")
    store.backfill("daily", datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 1, 14, tzinfo=UTC))
    found = store.get_historical_features(["totals"], SPINE).to_arrow()
    assert found.column("totals__total_sum_7d").to_pylist() == [5.0, 10.0]


def test_it_is_the_history_of_a_stream(store: FeatureStore, source: PostgresSource | IcebergSource) -> None:
    """Up to the hand-over; from there on, rows are pushed."""
    stream = StreamSource(
        "live",
        history=source,
        handover="2026-01-13T00:00:00",
        event_time="ts",
        event_id="id",
    )
    counts = EventView("counts", entity=CUSTOMER, source=stream, features=[Count(windows=["7d"])])
    store.apply(store.plan([counts]), who="test")
    store.push("live", [{"id": 9, "k": 2, "v": 1.0, "n": 0, "ts": "2026-01-14T00:00:00"}])
    store.materialize()
    assert store.get_online_features(["counts"], {"k": [1, 2]}).to_dict()["counts__count_7d"] == [2, 2]


def test_the_library_loads_neither_driver() -> None:
    """Not before a source of its kind is read."""
    check = "import sys, asof, asof.store; assert not {'pyiceberg', 'adbc_driver_postgresql'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def iceberg(table: str = "shop.rows", catalog: str = "lake", **options: int) -> StateView:
    source = IcebergSource("orders", catalog=catalog, table=table, event_time="ts", **options)  # type: ignore[arg-type]
    return StateView("last", entity=CUSTOMER, source=source, features=["v"])


def test_what_iceberg_has_not_is_told(store: FeatureStore, catalog: str) -> None:
    """A table, a snapshot, a catalog, a column type, a file."""
    with pytest.raises(SourceError, match="not there"):
        store.plan([iceberg()])
    nested = pa.table({"k": [1], "ts": [datetime(2026, 1, 1, tzinfo=UTC)], "v": [{"a": 1}]})
    put_into_iceberg(nested)
    with pytest.raises(SchemaError, match="'v'") as error:
        store.plan([iceberg()])
    assert "struct" in error.value.why
    with pytest.raises(SourceError, match="no snapshot 12"):
        store.plan([iceberg(snapshot=12)])
    with pytest.raises(ConfigError, match="PYICEBERG_CATALOG__ELSEWHERE"):
        store.plan([iceberg(catalog="elsewhere")])
    with pytest.raises(DefinitionError, match="namespace"):
        iceberg(table="rows")
    with pytest.raises(DefinitionError, match="exactly one"):
        IcebergSource("orders", event_time="ts")


def test_a_file_of_a_table_that_is_gone_is_told(store: FeatureStore, catalog: str, tmp_path: Path) -> None:
    """Rows that are left are never taken for all."""
    put_into_iceberg(orders(), parts=2)
    next(tmp_path.rglob("warehouse/**/data/*.parquet")).unlink()
    with pytest.raises(SourceError, match="not all of it"):
        store.get_historical_features([iceberg()], SPINE).to_arrow()


def test_a_table_is_read_by_its_metadata_file(store: FeatureStore, catalog: str, tmp_path: Path) -> None:
    """Without any catalog, as it was when that file was written."""
    put_into_iceberg(orders(), parts=1)
    newest = max(tmp_path.rglob("warehouse/**/metadata/*.metadata.json"))
    source = IcebergSource("orders", metadata=str(newest), event_time="ts")
    put_into_iceberg(orders())
    last = EventView("all", entity=CUSTOMER, source=source, features=[Count(windows=["30d"])])
    assert store.get_historical_features([last], SPINE).to_arrow().column("all__count_30d").to_pylist() == [2, 2]
