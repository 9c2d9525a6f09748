"""Stored rows of state views, blocks, and the answers made of them."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asof import _native as native

TYPES = pa.schema(
    [
        ("b", pa.bool_()),
        ("i8", pa.int8()),
        ("u32", pa.uint32()),
        ("f32", pa.float32()),
        ("f", pa.float64()),
        ("d", pa.decimal128(38, 2)),
        ("s", pa.string()),
        ("bin", pa.binary()),
        ("day", pa.date32()),
        ("ts", pa.timestamp("us", "UTC")),
        ("du", pa.duration("us")),
        ("t", pa.time64("us")),
        ("l", pa.list_(pa.string())),
        ("v", pa.list_(pa.float32(), 2)),
    ]
)
FULL = {
    "b": True,
    "i8": -3,
    "u32": 2**32 - 1,
    "f32": 0.5,
    "f": float("-inf"),
    "d": Decimal("-0.05"),
    "s": 'h"é',
    "bin": b"x",
    "day": dt.date(1969, 12, 31),
    "ts": dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
    "du": dt.timedelta(days=-1, microseconds=5),
    "t": dt.time(1, 2, 3, 4),
    "l": ["a", None],
    "v": [1.5, -2.0],
}


def read_full() -> native.Block:
    """Three keys: one with every value, one with nulls only, one unknown."""
    batch = pa.RecordBatch.from_pylist([FULL, dict.fromkeys(TYPES.names)], schema=TYPES)
    plan = native.RowPlan(TYPES)
    values = plan.build(pa.array([0, 1], pa.int32()), pa.array([5, 6]), None, None, batch, 3, 10)
    return plan.read(values.to_pylist(), 10)


def test_every_type_comes_back_as_it_went_in() -> None:
    """Arrow and Python values survive; nulls and unknown keys differ by status only."""
    block = read_full()
    nothing = dict.fromkeys(TYPES.names)
    assert block.to_arrow().to_pylist() == [FULL, nothing, nothing]
    assert block.to_arrow().schema.types == TYPES.types
    picks = [(0, i, name) for i, name in enumerate(TYPES.names)]
    answer = native.AnswerPlan(["v"], picks).answer([block])
    assert answer.to_dict() == {name: [value, None, None] for name, value in FULL.items()}
    assert answer.statuses() == {name: ["present", "null", "missing"] for name in TYPES.names}
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert answer.event_times() == [[epoch + dt.timedelta(microseconds=5), epoch + dt.timedelta(microseconds=6), None]]


def test_json_holds_the_picked_features_in_order() -> None:
    """Names come once, then values by key; metadata adds statuses and event times."""
    block = read_full()
    picks = [(0, TYPES.names.index(name), f'"{name}"') for name in ("ts", "d", "f", "l", "bin", "du")]
    answer = native.AnswerPlan(["profile"], picks).answer([block])
    read = json.loads(answer.to_json(b'{"at":1,', True))
    assert read["at"] == 1
    assert read["features"] == ['"ts"', '"d"', '"f"', '"l"', '"bin"', '"du"']
    micros = -86_400_000_000 + 5
    expected = ["2026-01-02T03:04:05.000006Z", "-0.05", "-Infinity", ["a", None], "eA==", micros]
    assert [row["values"] for row in read["results"]] == [expected, [None] * 6, [None] * 6]
    assert [row["statuses"][0] for row in read["results"]] == ["present", "null", "missing"]
    assert [row["event_times"]["profile"] for row in read["results"]][1:] == ["1970-01-01T00:00:00.000006Z", None]
    plain = json.loads(answer.to_json(b"{"))
    assert list(plain) == ["features", "results"]
    assert list(plain["results"][0]) == ["values"]


def test_statuses_stand_beside_their_features_in_arrow() -> None:
    """A column of status names follows each feature's."""
    answer = native.AnswerPlan(["v"], [(0, 1, "i8")]).answer([read_full()])
    assert answer.to_arrow(True).to_pydict() == {"i8": [-3, None, None], "i8__status": ["present", "null", "missing"]}
    assert answer.to_arrow().schema.names == ["i8"]


rows = st.lists(
    st.tuples(st.integers(-1, 1), st.integers(0, 6), st.integers(-2, 6), st.sampled_from([None, False, False, True])),
    max_size=8,
)


def newest(known: list[tuple[int, int, int, int, bool | None]], key: int, at: int) -> tuple[Any, int, int | None]:
    """The reference: the value (row number), the status and the event time of a key, by looking at every row."""
    visible = [row for row in known if row[0] == key and row[1] <= at and row[2] <= at]
    if not visible:
        return None, 2, None
    _, time, _, number, deleted = max(visible, key=lambda row: row[1:4])
    if deleted:
        return None, 2, None
    return (None, 3, time) if at - time > 3 else (number, 0, time)


@settings(deadline=None, max_examples=300)
@given(rows, st.integers(0, 6), st.integers(0, 6), st.integers(0, 8))
def test_reads_see_the_newest_visible_row(given_rows: list[Any], built: int, later: int, cut: int) -> None:
    """Values built at once or merged from two parts, in either order, answer every later instant."""
    plan = native.RowPlan(pa.schema([("n", pa.int64())]), 3)
    numbered = [(key, time, time + delay, i, deleted) for i, (key, time, delay, deleted) in enumerate(given_rows)]
    known = [row for row in numbered if row[2] <= built]

    def build(part: list[Any]) -> list[bytes | None]:
        batch = pa.RecordBatch.from_arrays([pa.array([row[3] for row in part], pa.int64())], names=["n"])
        key, time, available, number = (pa.array([row[i] for row in part], pa.int64()) for i in range(4))
        deleted = pa.array([row[4] for row in part], pa.bool_())
        values = plan.build(key.cast(pa.int32()), time, available, deleted, batch, 2, built, number)
        values_list: list[bytes | None] = values.to_pylist()
        return values_list

    first, second = build(numbered[:cut]), build(numbered[cut:])
    merged = [plan.merge(first, second, built), plan.merge(second, first, built)]
    for values in (build(numbered), *(m.to_pylist() for m in merged)):
        block = plan.read(values, built + later)
        found = zip(
            block.to_arrow().column("n").to_pylist(),
            block.statuses().column("n").to_pylist(),
            block.event_time().cast(pa.int64()).to_pylist(),
            strict=True,
        )
        assert list(found) == [newest(known, key, built + later) for key in (0, 1)]


def test_defaults_replace_nulls_of_any_reason_and_the_status_keeps_it() -> None:
    """Online and offline share one rule."""
    schema = pa.schema([("s", pa.string()), ("n", pa.int64())])
    defaults = pa.RecordBatch.from_pylist([{"s": "none", "n": None}], schema=schema)
    batch = pa.RecordBatch.from_pylist([{"s": "x", "n": 1}, {"s": None, "n": None}, {"s": None, "n": 3}], schema=schema)
    plan = native.RowPlan(schema, 5, defaults)
    codes, times = pa.array([0, 1, 2], pa.int32()), pa.array([9, 9, 1])
    values = plan.build(codes, times, None, None, batch, 4, 10).to_pylist()
    block = plan.read(values, 10)
    assert block.to_arrow().to_pydict() == {"s": ["x", "none", "none", "none"], "n": [1, None, None, None]}
    assert block.to_arrow(defaults=False).column("s").to_pylist() == ["x", None, None, None]
    assert block.statuses().to_pydict() == {"s": [0, 1, 3, 2], "n": [0, 1, 3, 2]}
    known = block.to_arrow(defaults=False)
    assert native.apply_defaults(known, defaults).to_pydict() == block.to_arrow().to_pydict()
    statuses = native.value_statuses(known, pa.array([0, 0, 3, 2], pa.uint8()))
    assert statuses.to_pydict() == block.statuses().to_pydict()
    assert block.stale().statuses().to_pydict() == {"s": [4, 4, 4, 4], "n": [4, 4, 4, 4]}
    assert plan.failed(1).statuses().to_pydict() == {"s": [5], "n": [5]}
    assert plan.failed(1).to_arrow().to_pydict() == {"s": ["none"], "n": [None]}


def test_computed_columns_join_an_answer() -> None:
    """A block from Arrow stands beside stored ones."""
    computed = pa.RecordBatch.from_pylist([{"y": [1, None]}, {"y": None}, {"y": []}])
    block = native.Block.from_arrow(computed, pa.array([0, 0, 2], pa.uint8()), pa.array([7, None, None]))
    answer = native.AnswerPlan(["v", "w"], [(1, 0, "y"), (0, 0, "b")]).answer([read_full(), block])
    assert answer.to_dict() == {"y": [[1, None], None, []], "b": [True, None, None]}
    assert answer.statuses()["y"] == ["present", "null", "missing"]
    with pytest.raises(ValueError, match="blocks of one length"):
        native.AnswerPlan(["w"], []).answer([block, block])


def test_what_cannot_be_stored_is_named() -> None:
    """Types, defaults and stored bytes that do not fit are errors that say which."""
    with pytest.raises(TypeError, match="'x' has type"):
        native.RowPlan(pa.schema([("x", pa.float16())]))
    schema = pa.schema([("n", pa.int64())])
    with pytest.raises(TypeError, match="default of 'n'"):
        native.RowPlan(schema, None, pa.RecordBatch.from_pylist([{"n": "x"}]))
    with pytest.raises(ValueError, match="format 7"):
        native.RowPlan(schema).read([b"\x07"], 0)
    with pytest.raises(TypeError, match="bytes"):
        native.RowPlan(schema).read(["x"], 0)  # type: ignore[list-item]
    empty = pa.RecordBatch.from_pylist([], schema=pa.schema([("m", pa.int64())]))
    with pytest.raises(ValueError, match="column 'n'"):
        native.RowPlan(schema).build(pa.array([], pa.int32()), pa.array([], pa.int64()), None, None, empty, 0, 0)


def test_times_python_cannot_hold_still_travel() -> None:
    """Years past 9999 raise from to_dict only."""
    batch = pa.RecordBatch.from_arrays([pa.array([2**60], pa.timestamp("us", "UTC"))], names=["ts"])
    answer = native.AnswerPlan(["v"], [(0, 0, "ts")]).answer([native.Block.from_arrow(batch)])
    with pytest.raises(OverflowError, match="to_arrow"):
        answer.to_dict()
    assert json.loads(answer.to_json(b"{"))["results"] == [{"values": ["+038504-08-17T21:30:06.846976Z"]}]
