"""JSON messages become typed columns: exact, with a reason for each message that does not fit."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asof.backends.formats import open_decoder
from asof.errors import ConfigError, SchemaError

UTC_US = pa.timestamp("us", "UTC")


def decode(schema: dict[str, pa.DataType], *messages: Any, framed: bool | None = None) -> tuple[list[Any], Any]:
    """Return the rows as dictionaries, each with the message it comes from, and the failures."""
    values = [message if message is None or isinstance(message, bytes) else message.encode() for message in messages]
    decoder = open_decoder("json", pa.schema(list(schema.items())), framed=framed)
    found = decoder.decode(pa.array(values, pa.binary()))
    assert found.rows.schema == decoder.schema
    return list(zip(found.index.to_pylist(), found.rows.to_pylist(), strict=True)), found.failures


def one(arrow: pa.DataType, text: str) -> Any:
    """Return what one value in JSON becomes, or why it does not."""
    rows, failures = decode({"x": arrow}, f'{{"x": {text}}}')
    if failures:
        assert rows == []
        return failures[0]
    return rows[0][1]["x"]


@pytest.mark.parametrize(
    ("arrow", "text", "value"),
    [
        (pa.bool_(), "true", True),
        (pa.int8(), "-128", -128),
        (pa.uint32(), "4294967295", 4294967295),
        (pa.int64(), "9223372036854775807", 2**63 - 1),
        (pa.float64(), "1", 1.0),
        (pa.float64(), "1.5e3", 1500.0),
        (pa.float32(), "0.5", 0.5),
        (pa.string(), '"\\u00fc\\n"', "ü\n"),
        (pa.binary(), '"AP8="', b"\x00\xff"),
        (pa.decimal128(10, 2), "1.10", Decimal("1.10")),
        (pa.decimal128(10, 2), '"1.1"', Decimal("1.10")),
        (pa.decimal128(38, 9), "12345678901234567890.123456789", Decimal("12345678901234567890.123456789")),
        (UTC_US, '"2024-01-01T02:00:00+02:00"', datetime(2024, 1, 1, tzinfo=UTC)),
        (UTC_US, '"2024-01-01T00:00:00"', datetime(2024, 1, 1, tzinfo=UTC)),
        (UTC_US, '"2024-01-01"', datetime(2024, 1, 1, tzinfo=UTC)),
        (UTC_US, '"2024-01-01T00:00:00.000001000Z"', datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        (UTC_US, "1704067200000001", datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        (pa.timestamp("ms", "UTC"), "1704067200001", datetime(2024, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)),
        (pa.timestamp("s", "UTC"), "1704067200", datetime(2024, 1, 1, tzinfo=UTC)),
        (pa.date32(), '"2024-02-29"', date(2024, 2, 29)),
        (pa.time64("us"), '"13:45:00.25"', time(13, 45, 0, 250_000)),
        (pa.duration("us"), '"P1DT1S"', timedelta(days=1, seconds=1)),
        (pa.duration("us"), "5", timedelta(microseconds=5)),
        (pa.list_(pa.int64()), "[1, null, 3]", [1, None, 3]),
        (pa.list_(UTC_US), '["2024-01-01"]', [datetime(2024, 1, 1, tzinfo=UTC)]),
        (pa.list_(pa.float32(), 2), "[1, 0.5]", [1.0, 0.5]),
        (pa.int64(), "null", None),
        (pa.list_(pa.float32(), 2), "null", None),
    ],
)
def test_a_value_becomes_its_columns_type(arrow: pa.DataType, text: str, value: Any) -> None:
    """Exactly."""
    assert one(arrow, text) == value


@pytest.mark.parametrize(
    ("arrow", "text", "reason"),
    [
        (pa.int64(), '"1"', "got str"),
        (pa.int64(), "1.0", "got float"),
        (pa.int64(), "true", "got bool"),
        (pa.int64(), "9223372036854775808", "9223372036854775808 does not fit int64"),
        (pa.int8(), "128", "int"),
        (pa.uint32(), "-1", "int"),
        (pa.bool_(), "1", "got int"),
        (pa.float64(), '"1.5"', "got str"),
        (pa.float64(), "1e999", "out of range"),
        (pa.float32(), "1e300", "too large"),
        (pa.string(), "1", "got int"),
        (pa.string(), "{}", "got object"),
        (pa.binary(), '"?"', "base64"),
        (pa.decimal128(10, 2), "1.001", "does not fit"),
        (pa.decimal128(4, 2), "100", "does not fit"),
        (pa.decimal128(10, 2), '"NaN"', "does not fit"),
        (UTC_US, '"yesterday"', "'yesterday' does not fit"),
        (UTC_US, '"2024-02-30T00:00:00Z"', "does not fit"),
        (UTC_US, '"2024-01-01T00:00:00.1234567Z"', "does not fit"),
        (UTC_US, "1.5", "got float"),
        (pa.date32(), '"2024-13-01"', "does not fit"),
        (pa.time64("us"), '"25:00:00"', "does not fit"),
        (pa.list_(pa.int64()), "[1, 2.5]", "got float"),
        (pa.list_(pa.int8()), "[1, 200]", "int"),
        (pa.list_(pa.float32(), 2), "[1]", "1 values"),
    ],
)
def test_a_value_of_another_type_fails_its_message_with_a_reason(arrow: pa.DataType, text: str, reason: str) -> None:
    """Never a silent null."""
    found = one(arrow, text)
    assert isinstance(found, str)
    assert reason in found
    assert "x" in found


def test_missing_fields_are_null_and_unknown_ones_are_ignored() -> None:
    """So a producer may add a field in the middle of a stream."""
    rows, failures = decode({"a": pa.int64(), "b": pa.string()}, '{"a": 1}', '{"b": "x", "new": {"deep": [1]}}', "{}")
    assert failures == {}
    assert rows == [(0, {"a": 1, "b": None}), (1, {"a": None, "b": "x"}), (2, {"a": None, "b": None})]


@pytest.mark.parametrize(
    "broken", ["", "{", '{"a": 1', "[1]", "1", "null", '{"a": 1}{"a": 2}', '{"a": 1},{"a": 2}', b'{"a": \xff}', b"\x00"]
)
def test_a_message_that_is_no_object_fails_and_its_neighbours_do_not(broken: str | bytes) -> None:
    """Messages cannot run into each other."""
    rows, failures = decode({"a": pa.int64()}, '{"a": 1}', broken, '{"a": 3}')
    assert rows == [(0, {"a": 1}), (2, {"a": 3})]
    assert list(failures) == [1]
    assert failures[1]


def test_failures_of_every_kind_leave_the_right_rows() -> None:
    """Undecodable, without a value, unfit: each by its own place."""
    schema = {"a": pa.int64(), "d": pa.decimal128(3, 1)}
    rows, failures = decode(
        schema, None, '{"a": 1, "d": 1.5}', "{", '{"a": 2, "d": 1.55}', '{"a": "x"}', '{"a": 3}', '{"d": 1000}', None
    )
    assert rows == [(1, {"a": 1, "d": Decimal("1.5")}), (5, {"a": 3, "d": None})]
    assert list(failures) == [0, 2, 3, 4, 6, 7]
    assert "no value" in failures[0]
    assert failures[3].startswith("d: ")


def test_no_messages_make_an_empty_table() -> None:
    """With the schema's types."""
    assert decode({"a": pa.int64(), "t": UTC_US, "v": pa.list_(pa.float32(), 3)}) == ([], {})


def test_a_registrys_header_is_skipped() -> None:
    """As JSON Schema serializers write it."""
    rows, failures = decode({"a": pa.int64()}, b'\x00\x00\x00\x00\x07{"a": 1}', '{"a": 2}', b"\x00", framed=True)
    assert rows == [(0, {"a": 1})]
    assert list(failures) == [1, 2]


def test_any_field_name_will_do() -> None:
    """Also one that is no Python name."""
    assert decode({"order id": pa.int64(), "class": pa.int64()}, '{"order id": 1, "class": 2}')[0] == [
        (0, {"order id": 1, "class": 2})
    ]


def test_texts_and_integers_may_mix_in_a_column_of_times() -> None:
    """Each message is read by itself."""
    rows, failures = decode({"t": UTC_US}, '{"t": 1}', '{"t": "1970-01-01T00:00:00.000002Z"}', '{"t": "x"}', "{}")
    assert [row["t"] and row["t"].microsecond for _, row in rows] == [1, 2, None]
    assert list(failures) == [2]


def test_an_unknown_format_and_an_impossible_column_are_named() -> None:
    """When the decoder is made, not with the first message."""
    with pytest.raises(ConfigError, match="Did you mean json"):
        open_decoder("jsn", pa.schema([]))
    with pytest.raises(SchemaError, match="struct"):
        open_decoder("json", pa.schema([("x", pa.struct([("y", pa.int64())]))]))


TINY = {"i": pa.int8(), "f": pa.float64(), "s": pa.string(), "b": pa.bool_(), "l": pa.list_(pa.int64())}
VALUES = st.one_of(
    st.none(), st.integers(-129, 128), st.sampled_from([0.5, 1.0]), st.sampled_from(["", "é"]), st.booleans()
)
ANY = VALUES | st.lists(VALUES, max_size=2)


def fits(name: str, value: Any) -> bool:
    """Say by hand what the contract says."""
    if value is None:
        return True
    if name == "i":
        return type(value) is int and -128 <= value <= 127
    if name == "l":
        return type(value) is list and all(item is None or type(item) is int for item in value)
    return type(value) in {"f": (float, int), "s": (str,), "b": (bool,)}[name]


@given(st.lists(st.dictionaries(st.sampled_from([*TINY, "other"]), ANY), max_size=6))
def test_rows_are_exactly_the_messages_that_fit(messages: list[dict[str, Any]]) -> None:
    """Every message is a row or a failure, in order, and a row holds what its message says."""
    rows, failures = decode(TINY, *map(json.dumps, messages))
    good = [at for at, message in enumerate(messages) if all(fits(name, message.get(name)) for name in TINY)]
    assert rows == [(at, {name: messages[at].get(name) for name in TINY}) for at in good]
    assert sorted(failures) == [at for at in range(len(messages)) if at not in good]
