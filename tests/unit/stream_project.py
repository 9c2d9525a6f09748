"""A small project around one stream source, for tests of what surrounds streams."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from asof import Entity, FeatureStore, FileSource, StreamSource
from asof.clock import FixedClock, to_us

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=10)
CUSTOMER = Entity("customer", join_key="customer_id")
SCHEMA = {"customer_id": "int64", "ts": "timestamp", "amount": "int32", "payment_id": "int64"}


def open_store(root: Path, clock: FixedClock | None = None) -> FeatureStore:
    """Open a project without definitions, at ten past the start of 2026."""
    root.joinpath("asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    return FeatureStore(root, clock=clock or FixedClock(to_us(NOW)))


def payments(schema: dict[str, str] | None = None, **more: Any) -> StreamSource:
    """Return the stream source."""
    return StreamSource("payments", schema=schema or SCHEMA, event_time="ts", **more)


def archive(**more: Any) -> FileSource:
    """Return the history, in old.parquet."""
    return FileSource("old", path="old.parquet", event_time="ts", **more)


def row(number: int, amount: Any = 1, customer: int = 7, **more: Any) -> dict[str, Any]:
    """Return a payment, `number` hours after the start."""
    at = START + timedelta(hours=number)
    return {"customer_id": customer, "ts": at, "amount": amount, "payment_id": number, **more}


def write_history(root: Path, rows: list[dict[str, Any]], name: str = "old.parquet") -> None:
    """Write rows as the history."""
    table = pa.Table.from_pylist(rows)
    index = table.column_names.index("ts")
    times = table.column("ts").cast(pa.timestamp("us", "UTC"))
    pq.write_table(table.set_column(index, "ts", times), root / name)


def apply(store: FeatureStore, *objects: Any) -> int:
    """Apply definitions and return the revision."""
    return store.apply(store.plan(objects), who="ada").number


def read(store: FeatureStore, feature: str, customer: int = 7) -> Any:
    """Return one online value."""
    view, name = feature.split(":")
    found = store.get_online_features([feature], {"customer_id": [customer]}).to_dict()
    return found[f"{view.partition('@')[0]}__{name}"][0]


def train(store: FeatureStore, feature: str, at: datetime, customer: int = 7) -> Any:
    """Return one value of a training row."""
    view, name = feature.split(":")
    spine = {"customer_id": [customer], "event_timestamp": [at]}
    found = store.get_historical_features([feature], spine).to_arrow().to_pydict()
    return found[f"{view.partition('@')[0]}__{name}"][0]
