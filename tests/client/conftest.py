"""A project with a column of every type that features have, served; and a server that does what a test tells it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof.store import FeatureStore
from tests.client.scripted import Scripted
from tests.server.conftest import start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server.conftest import Server

DEFINITIONS = """
from asof import Count, Entity, EventView, FeatureService, FileSource, LastN, OnDemandView, RequestField, StateView
from asof import StreamSource, Sum, on_demand

customer = Entity("customer", join_key="customer_id")
day = Entity("day", join_keys={"day": "date", "part": "binary"})
columns = ["f64", "f32", "i8", "text", "flag", "money", "raw", "born", "seen", "clock", "took", "tags",
  "sums", "vector"]
wide = StateView(
    "wide", entity=customer, source=FileSource("wide", path="wide.parquet", event_time="at"), features=columns
)
old = StateView(
    "old",
    entity=customer,
    source=FileSource("older", path="wide.parquet", event_time="at"),
    features=["text"],
    ttl="30d",
)
spend = EventView(
    "spend",
    entity=customer,
    source=FileSource("orders", path="orders.parquet", event_time="at"),
    features=[
        Count(windows=["7d"]),
        Sum("money", windows=["lifetime"], default=0),
        Sum("f64", windows=["lifetime"], by="born"),
        Count(windows=["lifetime"], by="i8"),
        Sum("f64", windows=["lifetime"], by="seen"),
        Count(windows=["lifetime"], by="raw"),
        Count(windows=["lifetime"], by="flag"),
        LastN("seen", n=2, windows=["lifetime"]),
        LastN("f64", n=2, windows=["lifetime"]),
    ],
)
dated = StateView(
    "dated", entity=day, source=FileSource("days", path="days.parquet", event_time="at"), features=["rain"]
)
scaled = OnDemandView(
    "scaled",
    inputs=[wide["f64"]],
    request=[RequestField("by", "float64"), RequestField("when", "timestamp", default=datetime(2026, 1, 1))],
    features=[on_demand.ratio("ratio", "by", "wide__f64"), on_demand.elapsed("age", "when", unit="d")],
)
clicks = StreamSource(
    "clicks", schema={"customer_id": "int64", "amount": "float64", "ts": "timestamp", "id": "string"},
    event_time="ts", event_id="id",
)
clicked = EventView("clicked", entity=customer, source=clicks, features=[Sum("amount", windows=["lifetime"])])
everything = FeatureService("everything", features=[wide, spend, scaled, old])
filled = FeatureService("filled", features=[wide["f64"].with_missing(default=-1.0, indicator=True), wide["money"]])
days = FeatureService("days", features=[dated])
""".replace("from asof import Count", "from datetime import datetime\nfrom asof import Count", 1)


def _rows() -> pa.Table:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return pa.table(
        {
            "customer_id": pa.array([1, 2, 3, 1], pa.int64()),
            "at": pa.array(
                [start, start, start - timedelta(days=60), start + timedelta(days=2)], pa.timestamp("us", "UTC")
            ),
            "f64": [1.5, float("inf"), None, float("-inf")],
            "f32": pa.array([0.1, None, float("inf"), 3.0], pa.float32()),
            "i8": pa.array([1, -2, None, 3], pa.int8()),
            "text": ["Infinity", 'a"\n', None, "2026-01-01"],
            "flag": [True, False, None, True],
            "money": pa.array([Decimal("1.50"), Decimal("-0.01"), None, Decimal("7.00")], pa.decimal128(10, 2)),
            "raw": pa.array([b"\x00\xff", b"", None, b"abc"], pa.binary()),
            "born": pa.array([date(1970, 1, 1), date(2026, 2, 28), None, date(1, 1, 1)], pa.date32()),
            "seen": pa.array(
                [start, datetime(1, 1, 1, tzinfo=UTC), None, start + timedelta(microseconds=10)],
                pa.timestamp("us", "UTC"),
            ),
            "clock": pa.array([time(0), time(23, 59, 59, 999999), None, time(1, 2, 3)], pa.time64("us")),
            "took": pa.array(
                [timedelta(0), timedelta(days=-2, microseconds=5), None, timedelta(hours=1)], pa.duration("us")
            ),
            "tags": pa.array([["a", None], [], None, ["b"]], pa.list_(pa.string())),
            "sums": pa.array([[Decimal("1.5")], [None], None, []], pa.list_(pa.decimal128(5, 1))),
            "vector": pa.array([[1.0, 2.0], [0.1, float("inf")], None, [0.0, 0.0]], pa.list_(pa.float32(), 2)),
        }
    )


def make_project(root: Path) -> Path:
    """Write, apply and materialize the project."""
    (root / "asof.toml").write_text('project = "types"\n', encoding="utf-8")
    (root / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    rows = _rows()
    pq.write_table(rows, root / "wide.parquet")
    pq.write_table(rows, root / "orders.parquet")
    days = {"day": [date(2026, 1, 1)], "part": [b"\x00a"], "rain": [2.5], "at": [datetime(2026, 1, 1, tzinfo=UTC)]}
    pq.write_table(pa.table(days), root / "days.parquet")
    with FeatureStore(root) as store:
        store.apply()
        store.materialize(["wide", "spend", "dated", "old"])
    return root


@pytest.fixture(scope="session")
def types_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, which tests read and push to."""
    return make_project(tmp_path_factory.mktemp("types"))


@pytest.fixture(scope="session")
def types_server(types_project: Path) -> Iterator[Server]:
    """The project, served."""
    server = start(types_project, "--push")
    yield server
    assert server.stop() == 0, "".join(server.log)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server that answers as a test says."""
    with Scripted() as server:
        yield server
