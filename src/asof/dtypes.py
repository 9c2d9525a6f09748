"""The types a user may name, as text, and their Arrow counterparts.

Text forms: bool, int8 … int64, uint8 … uint32, float32, float64, decimal(p,s), string, binary, date, timestamp
(microseconds, UTC), duration, time, list<T>, vector<float32, n>. Features may also be
map<K, V>, keyed as join keys are; columns and request inputs may not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asof.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"})
FLOATS = frozenset({"float32", "float64"})
KEY_TYPES = frozenset({"int64", "string", "binary", "bool", "date", "timestamp"})
_SIMPLE = INTEGERS | FLOATS | {"bool", "string", "binary", "date", "timestamp", "duration", "time"}
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_LIST = re.compile(r"list<(.+)>")
_MAP = re.compile(r"map<(\w+), (.+)>")
_VECTOR = re.compile(r"vector<(float32|float64),\s*(\d+)>")


def is_dtype(text: str) -> bool:
    """Return whether a text names a type."""
    if text in _SIMPLE or _VECTOR.fullmatch(text) or is_decimal(text):
        return True
    inner = _LIST.fullmatch(text)
    return inner is not None and is_dtype(inner[1])


def simple_dtypes() -> list[str]:
    """Return the types without parameters, sorted."""
    return sorted(_SIMPLE)


def is_decimal(dtype: str) -> bool:
    """Return whether `dtype` is decimal(p,s)."""
    return _DECIMAL.fullmatch(dtype) is not None


def is_numeric(dtype: str) -> bool:
    """Return whether sums and means make sense: integers, floats, decimals, and bool as 0 and 1."""
    return dtype in INTEGERS or dtype in FLOATS or dtype == "bool" or is_decimal(dtype)


def is_scalar(dtype: str) -> bool:
    """Return whether values are single ones, with an order: everything but lists, vectors and maps."""
    return dtype in _SIMPLE or is_decimal(dtype)


def is_map(dtype: str) -> bool:
    """Return whether `dtype` is map<K, V>: what aggregates by a secondary key give."""
    return _MAP.fullmatch(dtype) is not None


def to_arrow(dtype: str) -> pa.DataType:
    """Return the Arrow type of a dtype.

    Raises:
        SchemaError: there is no such dtype.
    """
    import pyarrow as pa

    if dtype in _SIMPLE:
        simple: dict[str, pa.DataType] = {
            "bool": pa.bool_(),
            "string": pa.string(),
            "binary": pa.binary(),
            "date": pa.date32(),
            "timestamp": pa.timestamp("us", "UTC"),
            "duration": pa.duration("us"),
            "time": pa.time64("us"),
        }
        return simple[dtype] if dtype in simple else getattr(pa, dtype)()
    if match := _DECIMAL.fullmatch(dtype):
        return pa.decimal128(int(match[1]), int(match[2]))
    if match := _VECTOR.fullmatch(dtype):
        return pa.list_(to_arrow(match[1]), int(match[2]))
    if match := _LIST.fullmatch(dtype):
        return pa.list_(to_arrow(match[1]))
    if match := _MAP.fullmatch(dtype):
        return pa.map_(to_arrow(match[1]), to_arrow(match[2]))
    raise SchemaError(f"There is no type {dtype!r}", fix=f"Use one of {', '.join(sorted(_SIMPLE))}, decimal(p,s).")


def column_type(dtype: str) -> pa.DataType:
    """Return the Arrow type of a dtype that a column may have, which a function or a query gives: all but maps.

    Raises:
        SchemaError: there is no such dtype, or it is a map.
    """
    if is_map(dtype):
        raise SchemaError(
            f"A column cannot be {dtype}",
            why="Maps are what aggregates by a secondary key give",
            fix="Give two lists, of keys and of values.",
        )
    return to_arrow(dtype)


def from_arrow(arrow: pa.DataType) -> str | None:
    """Return the dtype that holds an Arrow type without loss, or None where there is none.

    Dictionaries count as their values, large and view types as the plain ones, every timestamp as UTC
    microseconds (the scan refuses what would lose precision), uint64 as int64 (refused beyond its range).
    """
    import pyarrow as pa
    import pyarrow.types as pt

    if pt.is_dictionary(arrow):
        return from_arrow(arrow.value_type)
    for test, name in (
        (pt.is_string, "string"),
        (pt.is_large_string, "string"),
        (pt.is_string_view, "string"),
        (pt.is_binary, "binary"),
        (pt.is_large_binary, "binary"),
        (pt.is_binary_view, "binary"),
        (pt.is_fixed_size_binary, "binary"),
        (pt.is_boolean, "bool"),
        (pt.is_date, "date"),
        (pt.is_timestamp, "timestamp"),
        (pt.is_duration, "duration"),
        (pt.is_time, "time"),
        (pt.is_uint64, "int64"),
        (pt.is_float16, "float32"),
    ):
        if test(arrow):
            return name
    if str(arrow) in INTEGERS:
        return str(arrow)
    if arrow in (pa.float32(), pa.float64()):
        return "float32" if arrow == pa.float32() else "float64"
    if pt.is_decimal(arrow) and arrow.precision <= 38 and arrow.scale >= 0:
        return f"decimal({arrow.precision},{arrow.scale})"
    if pt.is_fixed_size_list(arrow) and from_arrow(arrow.value_type) in FLOATS:
        return f"vector<{from_arrow(arrow.value_type)}, {arrow.list_size}>"
    if pt.is_list(arrow) or pt.is_large_list(arrow) or pt.is_fixed_size_list(arrow):
        inner = from_arrow(arrow.value_type)
        return f"list<{inner}>" if inner is not None and is_scalar(inner) else None
    return None


def key_type(dtype: str) -> str | None:
    """Return the type a join key of `dtype` is compared as, or None where it cannot be a key."""
    widened = "int64" if dtype in INTEGERS else dtype
    return widened if widened in KEY_TYPES else None


def lane_type(dtype: str) -> str:
    """Return the type an aggregate reads a column of `dtype` as: integers are int64, floats are float64."""
    if dtype in INTEGERS:
        return "int64"
    return "float64" if dtype in FLOATS else dtype
