"""Rows read without an engine are what a scanner gives of them, and where they might not be, a scanner is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from asof.backends.local.scanner import LocalScanner
from asof.interfaces.scanner import ColumnRequest, ScanRequest
from asof.plan.specs import Column, SourceSpec
from asof.services.plain_rows import plain_rows

if TYPE_CHECKING:
    from pathlib import Path

NAN, INF = float("nan"), float("inf")
AT = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 5)]
ROWS = pa.table(
    {
        "k": pa.array([1, None, 3, 4], pa.int32()),
        "g": pa.array(["a", "b", None, ""]),
        "ts": pa.array(AT, pa.timestamp("us", "UTC")),
        "known": pa.array(AT[::-1], pa.timestamp("us", "UTC")),
        "gone": pa.array([True, None, False, None]),
        "f": pa.array([1.5, NAN, None, INF]),
        "h": pa.array([NAN, 0.1, -0.0, NAN], pa.float32()),
        "i": pa.array([1, 2, None, -4], pa.int16()),
        "d": pa.array([Decimal("1.50"), None, Decimal("-2.25"), Decimal(0)], pa.decimal128(10, 2)),
        "b": pa.array([True, None, False, True]),
        "w": pa.array([AT[0], None, *AT[2:]], pa.timestamp("us", "UTC")),
        "l": pa.array([[1], [], None, [2]], pa.list_(pa.int64())),
    }
)
SOURCE = SourceSpec(name="rows", kind="frame", event_time="ts")
KEYS = (Column(name="k", dtype="int64"),)
VALUES = (
    *(ColumnRequest("v0", "f", "float64"), ColumnRequest("v1", "h", "float64"), ColumnRequest("v2", "h", "float32")),
    *(ColumnRequest("v3", "i", "int64"), ColumnRequest("v4", "d", "decimal(10,2)"), ColumnRequest("v5", "g", "string")),
    *(ColumnRequest("v6", "b", "bool"), ColumnRequest("v7", "w", "timestamp"), ColumnRequest("v8", None, "bool")),
)


def scanned(request: ScanRequest, rows: pa.Table, folder: Path) -> pa.Table:
    scan = LocalScanner(folder, {"rows": rows}, folder / "quarantine", 2**26, 1).scan(request)
    return pa.Table.from_batches(list(scan.batches), schema=scan.schema)


@pytest.mark.parametrize(
    ("roles", "keys", "events"),
    [
        ({}, KEYS, True),
        ({"available_at": "known"}, (*KEYS, Column(name="g", dtype="string")), True),
        ({"available_at": "known", "deleted": "gone"}, KEYS, False),
        ({}, (), False),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 4])
def test_rows_are_those_of_a_scan(
    roles: dict[str, Any], keys: tuple[Column, ...], events: bool, count: int, tmp_path: Path
) -> None:
    """Values, NaN and null, widened numbers, rows without a key, tombstones: column for column the same."""
    source = SourceSpec(name="rows", kind="frame", event_time="ts", **roles)
    request = ScanRequest(source=source, keys=keys, columns=VALUES, events=events)
    rows = ROWS.slice(0, count)
    found = plain_rows(request, rows)
    assert found is not None
    exact = scanned(request, rows, tmp_path)
    assert found.schema.equals(exact.schema)
    assert found.to_pydict() == exact.to_pydict()


@pytest.mark.parametrize(
    ("source", "rest", "rows"),
    [
        (SOURCE, {"where": "f > 0"}, ROWS),
        (SOURCE, {"columns": (ColumnRequest("v", "f", "float64", "b"),)}, ROWS),
        (SOURCE, {"columns": (ColumnRequest("v", "d", "float64"),)}, ROWS),
        (SOURCE, {"columns": (ColumnRequest("v", "i", "int8"),)}, ROWS),
        (SOURCE, {"columns": (ColumnRequest("v", "l", "list<int64>"),)}, ROWS),
        (SOURCE, {"columns": (ColumnRequest("v", "nothing", "int64"),)}, ROWS),
        (SourceSpec(name="rows", kind="frame", event_time="ts", event_id="i"), {"events": True}, ROWS),
        (SourceSpec(name="rows", kind="frame", event_time="ts", delay_us=1), {}, ROWS),
        (SourceSpec(name="rows", kind="frame", event_time="w"), {}, ROWS),
        (SOURCE, {}, ROWS.set_column(2, "ts", pa.array([2**62] * 4, pa.int64()).cast(pa.timestamp("us", "UTC")))),
    ],
)
def test_what_needs_an_engine_is_left_to_one(source: SourceSpec, rest: dict[str, Any], rows: pa.Table) -> None:
    """Predicates, conversions that could lose something, ids to fold, times that are missing or out of range."""
    request = ScanRequest(**{"source": source, "keys": KEYS, "columns": (), **rest})
    assert plain_rows(request, rows) is None
