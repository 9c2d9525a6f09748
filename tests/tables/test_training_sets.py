"""Training sets over tables elsewhere: rebuilt to the bit, or told exactly what changed."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from asof import Entity, EventView, FeatureService, IcebergSource, PostgresSource, Sum
from asof.errors import SourceError
from tests.servers.tables import open_catalog, put_into_iceberg

if TYPE_CHECKING:
    from asof import FeatureStore
    from asof.definitions import Source
    from tests.servers.postgres import PostgresServer

SPINE = {"k": [1, 2, 1], "event_timestamp": [datetime(2026, 1, day, tzinfo=UTC) for day in (10, 11, 12)]}


def orders(*days: int) -> pa.Table:
    times = [datetime(2026, 1, day, 6, tzinfo=UTC) for day in days]
    types = {"id": pa.int64(), "k": pa.int64(), "v": pa.float64(), "ts": pa.timestamp("us", "UTC")}
    columns = {"id": days, "k": [1 + day % 2 for day in days], "v": [day / 4 for day in days], "ts": times}
    return pa.table(columns, schema=pa.schema(types))


def apply(store: FeatureStore, source: Source) -> None:
    customer = Entity("customer", join_key="k")
    view = EventView("spend", entity=customer, source=source, features=[Sum("v", windows=["7d"])])
    store.apply(store.plan([view, FeatureService("fraud", features=[view])]), who="test")


def rebuild(store: FeatureStore) -> None:
    before = store.training_set("first").manifest
    after = store.rebuild_training_set("first").manifest
    assert (after.data_hash, after.data_sha256) == (before.data_hash, before.data_sha256)


def test_postgres_is_the_same_until_rows_change_that_could_matter(
    store: FeatureStore, schema: str, postgres_server: PostgresServer
) -> None:
    """Rows after the training set's last instant may come; an added, changed or removed one before is named."""

    def run(text: str) -> None:
        with postgres_server.connect() as connection:
            connection.execute(text.format(f"{schema}.orders"))

    run("CREATE TABLE {} (id int8 PRIMARY KEY, k int8, v float8, ts timestamptz)")
    for row in orders(5, 6, 7, 8).to_pylist():
        run(f"INSERT INTO {{}} VALUES ({row['id']}, {row['k']}, {row['v']}, '{row['ts']}')")
    source = PostgresSource("orders", connection="warehouse", table=f"{schema}.orders", event_time="ts", event_id="id")
    apply(store, source)
    made = store.create_training_set("first", "fraud", SPINE)
    assert made.to_arrow().column("spend__v_sum_7d").to_pylist() == [3.5, 3.0, 3.5]
    [read] = made.manifest.inputs
    assert (read.kind, read.rows) == ("postgres", 4)
    assert read.snapshot
    rebuild(store)
    run("INSERT INTO {} VALUES (20, 1, 9, '2026-01-20')")
    run("ALTER TABLE {} ADD COLUMN later text")
    rebuild(store)
    for change, back, message in (
        (
            "UPDATE {} SET v = 7 WHERE id = 6",
            "UPDATE {} SET v = 1.5 WHERE id = 6",
            "it has other values until 2026-01-15",
        ),
        ("INSERT INTO {} VALUES (9, 1, 1, '2026-01-01')", "DELETE FROM {} WHERE id = 9", "it has 5 rows until"),
    ):
        run(change)
        with pytest.raises(SourceError, match=message) as error:
            store.rebuild_training_set("first")
        assert f"source orders: {schema}.orders on warehouse changed" in error.value.why
        run(back)
        rebuild(store)
    run("DROP TABLE {}")
    with pytest.raises(SourceError, match="not there"):
        store.rebuild_training_set("first")
    assert store.training_set("first").to_arrow().num_rows == 3


def test_iceberg_is_read_at_its_recorded_snapshot(store: FeatureStore, catalog: str) -> None:
    """Commits after it change nothing; a snapshot that was expired, or another table, is named."""
    put_into_iceberg(orders(5, 6, 7, 8), name="shop.orders", parts=2)
    apply(store, IcebergSource("orders", catalog=catalog, table="shop.orders", event_time="ts"))
    made = store.create_training_set("first", "fraud", SPINE)
    [read] = made.manifest.inputs
    put_into_iceberg(orders(4, 9), name="shop.orders")
    rebuild(store)
    found: Any = store.get_historical_features("fraud", SPINE).to_arrow().column("spend__v_sum_7d").to_pylist()
    assert found != made.to_arrow().column("spend__v_sum_7d").to_pylist()
    with closing(open_catalog()) as opened:
        table = opened.load_table("shop.orders")
        table.maintenance.expire_snapshots().by_id(read.table_version).commit()
    with pytest.raises(SourceError, match=f"snapshot {read.table_version} is gone"):
        store.rebuild_training_set("first")
    with closing(open_catalog()) as opened:
        opened.drop_table("shop.orders")
    put_into_iceberg(orders(5), name="shop.orders")
    with pytest.raises(SourceError, match=r"is gone|another table"):
        store.rebuild_training_set("first")


def test_an_iceberg_table_without_a_snapshot_stays_empty(store: FeatureStore, catalog: str) -> None:
    """A training set over no rows is rebuilt over no rows, whatever was committed since."""
    put_into_iceberg(orders(), name="shop.orders")
    apply(store, IcebergSource("orders", catalog=catalog, table="shop.orders", event_time="ts"))
    made = store.create_training_set("first", "fraud", SPINE)
    assert made.to_arrow().column("spend__v_sum_7d").to_pylist() == [None] * 3
    put_into_iceberg(orders(5, 6), name="shop.orders")
    rebuild(store)
