"""What the local scanner makes of times and values of every type, and what it refuses to make."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asof.backends.local.scanner import LocalScanner
from asof.errors import SchemaError, SourceError
from asof.interfaces.scanner import ColumnRequest
from asof.plan.specs import Column, SourceSpec
from asof.testing.conformance.scanner import read, us

if TYPE_CHECKING:
    from pathlib import Path

FRAME = SourceSpec(name="events", kind="frame", event_time="ts")
DAY_US = 86_400_000_000


def over(tmp_path: Path, frame: Any) -> LocalScanner:
    return LocalScanner(tmp_path, {"events": frame}, tmp_path / "quarantine", 256 * 2**20, 2)


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
@pytest.mark.parametrize(("unit", "per_us"), [("s", 1e-6), ("ms", 1e-3), ("us", 1), ("ns", 1000)])
def test_times_of_any_unit_and_zone_are_utc_microseconds(
    tmp_path: Path, unit: str, per_us: float, zone: str | None
) -> None:
    ticks = [round(us * per_us) for us in (0, 5_000_000, -7_000_000)]
    table = pa.table({"k": [1, 2, 3], "ts": pa.array(ticks, pa.timestamp(unit, zone))})
    found, _ = read(over(tmp_path, table), FRAME, ColumnRequest("t", "ts", "timestamp"))
    assert found["__event_time"] == [0, 5_000_000, -7_000_000]
    assert found["t"][1] == datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)


def test_a_time_between_two_microseconds_is_an_error_that_names_the_column(tmp_path: Path) -> None:
    table = pa.table({"k": [1], "ts": pa.array([1001], pa.timestamp("ns"))})
    with pytest.raises(SchemaError, match=r"'ts'.*nanoseconds"):
        read(over(tmp_path, table), FRAME)


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1, 2**62], pa.timestamp("s")),
        pa.array([1, -(2**62)], pa.timestamp("ms", "UTC")),
        pa.array([1, 2**63 - 1], pa.timestamp("us")),
        pa.array([1, 2**31 - 1], pa.date32()),
    ],
)
def test_a_time_beyond_the_time_line_is_set_apart(tmp_path: Path, times: pa.Array) -> None:
    found, rejected = read(over(tmp_path, {"k": [1, 2], "ts": times}), FRAME)
    assert found["k"] == [1]
    assert rejected.counts == {"event time is out of range": 1}


def test_a_date_is_its_midnight(tmp_path: Path) -> None:
    table = pa.table({"k": [1], "ts": pa.array([1], pa.date32())})
    assert read(over(tmp_path, table), FRAME)[0]["__event_time"] == [DAY_US]


def test_a_number_is_no_event_time(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"'ts'.*not a time"):
        read(over(tmp_path, {"k": [1], "ts": [5]}), FRAME)


VALUES: list[tuple[pa.Array, str, list[Any]]] = [
    (pa.array([1.5, float("nan"), None]), "float64", [1.5, None, None]),
    (pa.array([1.5, float("inf"), None], pa.float32()), "float64", [1.5, float("inf"), None]),
    (pa.array(np.array([1, 2, np.nan], "f2")), "float32", [1.0, 2.0, None]),
    (pa.array([1, -2, None], pa.int8()), "int64", [1, -2, None]),
    (pa.array([1, 2, None], pa.uint64()), "int64", [1, 2, None]),
    (pa.array([1.0, 2.0, float("nan")]), "int64", [1, 2, None]),
    (pa.array([1, 2, None]), "float64", [1.0, 2.0, None]),
    (pa.array([1, 2, None]), "string", ["1", "2", None]),
    (pa.array([True, False, None]), "bool", [True, False, None]),
    (pa.array(["a", None, ""]).dictionary_encode(), "string", ["a", None, ""]),
    (pa.array(["a", None, ""], pa.large_string()), "string", ["a", None, ""]),
    (pa.array([b"a", None, b""]), "binary", [b"a", None, b""]),
    (pa.array([date(2024, 1, 2), None, None]), "date", [date(2024, 1, 2), None, None]),
    (pa.array([time(1, 2), None, None], pa.time64("ns")), "time", [time(1, 2), None, None]),
    (
        pa.array([1, 2, None], pa.duration("ms")),
        "duration",
        [timedelta(milliseconds=1), timedelta(milliseconds=2), None],
    ),
    (pa.array([Decimal("1.50"), None, None]), "decimal(10,2)", [Decimal("1.50"), None, None]),
    (pa.array([[1], [], None], pa.large_list(pa.int32())), "list<int32>", [[1], [], None]),
    (pa.array([[1.0, 2.0], None, None], pa.list_(pa.float32(), 2)), "vector<float32, 2>", [[1.0, 2.0], None, None]),
    (pa.nulls(3), "float64", [None, None, None]),
]


@pytest.mark.parametrize("stored", ["frame", "parquet"])
@pytest.mark.parametrize(("column", "dtype", "expected"), VALUES, ids=[f"{v[0].type} as {v[1]}" for v in VALUES])
def test_values_are_delivered_as_their_dtype(
    tmp_path: Path, column: pa.Array, dtype: str, expected: list[Any], stored: str
) -> None:
    table = pa.table({"k": [1, 2, 3], "ts": us(1, 2, 3), "v": column})
    pq.write_table(table, tmp_path / "a.parquet")
    file = SourceSpec(name="events", kind="file", path="a.parquet", format="parquet", event_time="ts")
    source = FRAME if stored == "frame" else file
    assert read(over(tmp_path, table), source, ColumnRequest("v", "v", dtype))[0]["v"] == expected


@pytest.mark.parametrize("stored", ["frame", "parquet"])
def test_nan_is_null_for_predicates_too(tmp_path: Path, stored: str) -> None:
    """Also where a file's statistics, which leave NaN out, seem to say that a comparison is always true."""
    table = pa.table({"k": [1, 2], "ts": us(1, 2), "v": [1.0, float("nan")]})
    pq.write_table(table, tmp_path / "a.parquet")
    file = SourceSpec(name="events", kind="file", path="a.parquet", format="parquet", event_time="ts")
    source = FRAME if stored == "frame" else file
    for predicate in ("v < 5", "v > 0", "v >= 1", "NOT v IS NULL"):
        assert read(over(tmp_path, table), source, where=predicate)[0]["k"] == [1]
    assert read(over(tmp_path, table), source, where="v IS NULL")[0]["k"] == [2]


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (pa.array([2**63], pa.uint64()), "int64"),
        (pa.array([300]), "int8"),
        (pa.array([1.5]), "int64"),
        (pa.array([2**53 + 1]), "float64"),
        (pa.array([0.1]), "float32"),
        (pa.array([Decimal("1.55")]), "decimal(10,1)"),
        (pa.array([[1.0, 2.0, 3.0]], pa.list_(pa.float32())), "vector<float32, 2>"),
        (pa.array([1], pa.timestamp("us")), "date"),
        (pa.array(["1"]), "int64"),
        (pa.array([True]), "int64"),
        (pa.array([{"a": 1}]), "string"),
    ],
)
def test_a_value_that_would_change_is_refused_with_its_column(tmp_path: Path, column: pa.Array, dtype: str) -> None:
    table = pa.table({"k": [1], "ts": us(1), "v": column})
    with pytest.raises(SchemaError, match="'v'") as caught:
        read(over(tmp_path, table), FRAME, ColumnRequest("v", "v", dtype))
    assert caught.value.fix


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars", "dict", "stream"])
def test_any_frame_is_read(tmp_path: Path, kind: str) -> None:
    plain = {"k": [1, 2], "ts": [datetime(2024, 1, 1), datetime(2024, 1, 2)], "s": ["a", "b"]}
    table = pa.table(plain)
    stream = pa.RecordBatchReader.from_batches(table.schema, table.to_batches()).read_all().to_batches()[0]
    frames = {
        "arrow": table,
        "pandas": pd.DataFrame(plain),
        "polars": pl.DataFrame(plain),
        "dict": plain,
        "stream": stream,
    }
    scanner = over(tmp_path, frames[kind])
    found, _ = read(scanner, FRAME, ColumnRequest("s", "s", "string"), keys=(Column(name="k", dtype="int64"),))
    assert found == {"k": [1, 2], "__event_time": [1_704_067_200_000_000, 1_704_153_600_000_000], "s": ["a", "b"]}
    assert scanner.size_bytes(FRAME) > 0


def test_what_is_no_frame_or_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="int, not a frame"):
        read(over(tmp_path, 3), FRAME)
    with pytest.raises(SchemaError, match="no Arrow column"):
        read(over(tmp_path, pd.DataFrame({"k": [1, "a"], "ts": [1, 2]})), FRAME)
    with pytest.raises(SchemaError, match="several columns named"):
        read(over(tmp_path, pa.table([us(1), [1], [2]], ["ts", "k", "K"])), FRAME)
    with pytest.raises(SourceError, match="does not have"):
        read(LocalScanner(tmp_path, {}, tmp_path, 2**28, 1), FRAME)


ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from([None, "a", "b", "c"]),
        st.sampled_from([None, 1, 2, 3]),
        st.sampled_from([None, 1, 2, 3]),
        st.sampled_from([None, False, True]),
    ),
    max_size=8,
)


@given(rows=ARRIVALS)
@settings(max_examples=50, deadline=None)
def test_dedupe_and_retraction_agree_with_a_plain_reading_of_the_rule(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str | None, int | None, int | None, bool | None]]
) -> None:
    """The first arrival of an id wins; the earliest retraction counts; unusable rows do neither."""
    usable = [
        (n, id_, at, known, bool(gone))
        for n, (id_, at, known, gone) in enumerate(rows)
        if id_ is not None and at is not None and known is not None
    ]
    expected = []
    for n, id_, at, known, gone in usable:
        same = [row for row in usable if row[1] == id_]
        winner = min(((row[3], row[0]) for row in same if not row[4]), default=None)
        if not gone and winner == (known, n):
            expected.append((n, at, known, min((row[3] for row in same if row[4]), default=None)))
    ids, times, known_at, deleted = zip(*rows, strict=True) if rows else ((), (), (), ())
    table = pa.table(
        {
            "k": pa.array(range(len(rows)), pa.int64()),
            "id": pa.array(ids, pa.string()),
            "ts": us(*times),
            "known": us(*known_at),
            "gone": pa.array(deleted, pa.bool_()),
        }
    )
    source = SourceSpec(
        name="events", kind="frame", event_time="ts", available_at="known", event_id="id", deleted="gone"
    )
    found, rejected = read(over(tmp_path_factory.mktemp("s"), table), source, events=True)
    assert (
        list(zip(found["k"], found["__event_time"], found["__available_at"], found["__retracted_at"], strict=True))
        == expected
    )
    assert sum(rejected.counts.values()) == len(rows) - len(usable)
