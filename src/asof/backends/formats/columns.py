"""Turns Python values into Arrow columns without losing or guessing anything: what does not fit fails by itself."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from asof.errors import SchemaError
from asof.interfaces import Decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_UNFIT = (pa.ArrowException, ValueError, TypeError, OverflowError, InvalidOperation)
_NO_ZONE = r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?)$"
_DAY = r"^(\d{4}-\d\d-\d\d)$"
_CLOCK = re.compile(r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?")
_ZEROS = r"(\.\d{6})0+(Z|[+-]\d\d:?\d\d)?$"
_NONE = type(None)


def assemble(
    schema: pa.Schema, columns: Sequence[Sequence[Any]], index: Sequence[int], failures: dict[int, str]
) -> Decoded:
    """Return what was decoded: rows whose every value fits its column, and the others' reasons.

    Args:
        schema: The columns.
        columns: The values of each, None for null, one per row.
        index: Which message each row comes from, rising.
        failures: Why other messages have no row.
    """
    arrays = []
    unfit: dict[int, str] = {}
    for field, values in zip(schema, columns, strict=True):
        array, reasons = build(values, field.type)
        arrays.append(array)
        for row, reason in reasons.items():
            unfit.setdefault(row, f"{field.name}: {reason}")
    rows = pa.table(arrays, schema=schema)
    kept = pa.array(index, pa.int64())
    if unfit:
        good = np.ones(len(index), bool)
        good[list(unfit)] = False
        mask = pa.array(good)
        rows, kept = rows.filter(mask), kept.filter(mask)
        failures = failures | {index[row]: reason for row, reason in unfit.items()}
    return Decoded(rows, kept, dict(sorted(failures.items())))


def build(values: Sequence[Any], arrow: pa.DataType) -> tuple[pa.Array, dict[int, str]]:
    """Return a column, null where a value does not fit, and why by its index."""
    failures: dict[int, str] = {}
    if pt.is_list(arrow) or pt.is_fixed_size_list(arrow):
        return _build_lists(values, arrow)
    classes = accepted(arrow)
    found = set(map(type, values))
    if not found <= classes:
        cleaned = list(values)
        for row, value in enumerate(values):
            if type(value) not in classes:
                failures[row] = f"{_shown(value)} is no {arrow}"
                cleaned[row] = None
        values = cleaned
    return _search(values, _converter(arrow), arrow, 0, failures), failures


def accepted(arrow: pa.DataType) -> frozenset[type]:
    """Return the classes of values that may fit a column.

    Raises:
        SchemaError: no message can fill a column of that type.
    """
    for test, classes in _CLASSES:
        if test(arrow):
            return frozenset({_NONE, *classes})
    raise SchemaError(
        f"Messages cannot fill a column of type {arrow}", fix="Declare a number, text, time, decimal or a list of them."
    )


def check(schema: pa.Schema) -> None:
    """Refuse columns that no message can fill.

    Raises:
        SchemaError: there is one.
    """
    for field in schema:
        arrow = field.type
        accepted(arrow.value_type if pt.is_list(arrow) or pt.is_fixed_size_list(arrow) else arrow)


_CLASSES: tuple[tuple[Callable[[pa.DataType], bool], tuple[type, ...]], ...] = (
    (pt.is_boolean, (bool,)),
    (pt.is_integer, (int,)),
    (pt.is_floating, (float, int)),
    (pt.is_string, (str,)),
    (pt.is_binary, (bytes,)),
    (pt.is_decimal, (Decimal, int, str)),
    (pt.is_timestamp, (int, str, datetime)),
    (pt.is_date32, (date, str)),
    (pt.is_time64, (time, str)),
    (pt.is_duration, (int, timedelta)),
)


def _search(
    values: Sequence[Any], convert: Callable[[Sequence[Any]], pa.Array], arrow: pa.DataType, start: int, failures: Any
) -> pa.Array:
    """Convert all at once, or halves, down to the values that cannot be: those are rare."""
    try:
        return convert(values)
    except _UNFIT as error:
        if len(values) == 1:
            failures[start] = f"{_shown(values[0])} does not fit {arrow} ({_reason(error)})"
            return pa.nulls(1, arrow)
    middle = len(values) // 2
    halves = (
        _search(values[:middle], convert, arrow, start, failures),
        _search(values[middle:], convert, arrow, start + middle, failures),
    )
    return pa.concat_arrays(halves)


def _converter(arrow: pa.DataType) -> Callable[[Sequence[Any]], pa.Array]:
    for test, convert in _CONVERTERS:
        if test(arrow):
            return lambda values: convert(values, arrow)
    return lambda values: pa.array(values, arrow)


def _float32(values: Sequence[Any], arrow: pa.DataType) -> pa.Array:
    wide = pa.array(values, pa.float64())
    size = pc.max(pc.abs(pc.if_else(pc.is_finite(wide), wide, None))).as_py()
    if size is not None and size > _FLOAT32_MAX:
        raise ValueError("too large")
    return wide.cast(arrow, safe=False)


def _decimal(values: Sequence[Any], arrow: pa.DataType) -> pa.Array:
    exact = [Decimal(value) if type(value) in (str, int) else value for value in values]
    return pa.array(exact, arrow)


def _timestamp(values: Sequence[Any], arrow: pa.DataType) -> pa.Array:
    """Read integers in the column's unit, text as ISO 8601, and times without a zone as UTC."""
    utc = pa.timestamp(arrow.unit, "UTC")
    parts = []
    kinds = set(map(type, values)) - {_NONE}
    for kind in kinds:
        some = values if len(kinds) == 1 else [value if type(value) is kind else None for value in values]
        if kind is int:
            parts.append(pa.array(some, pa.int64()).cast(utc))
        elif kind is str:
            parts.append(_parsed(pa.array(some, pa.string()), utc))
        else:
            parts.append(pa.array(some, pa.timestamp("us", "UTC")).cast(utc))  # naive ones are read as UTC
    if not parts:
        return pa.nulls(len(values), arrow)
    whole = parts[0] if len(parts) == 1 else pc.coalesce(*parts)
    return whole.cast(arrow)


def _parsed(texts: pa.Array, utc: pa.DataType) -> pa.Array:
    try:
        return texts.cast(utc)
    except pa.ArrowInvalid:
        shorter = pc.replace_substring_regex(texts, _ZEROS, r"\1\2")
        zoned = pc.replace_substring_regex(shorter, _NO_ZONE, r"\1Z")
        return pc.replace_substring_regex(zoned, _DAY, r"\1T00:00:00Z").cast(utc)


def _date(values: Sequence[Any], arrow: pa.DataType) -> pa.Array:
    texts = pa.array([value if type(value) is str else None for value in values], pa.string()).cast(arrow)
    return pc.coalesce(texts, pa.array([None if type(value) is str else value for value in values], arrow))


def _time(values: Sequence[Any], arrow: pa.DataType) -> pa.Array:
    return pa.array([_clock(value) if type(value) is str else value for value in values], pa.time64("us")).cast(arrow)


def _clock(text: str) -> time:
    if not _CLOCK.fullmatch(text):
        raise ValueError("no time of day such as 13:45:00.25")
    return time.fromisoformat(text)


def _duration(values: Sequence[Any], arrow: pa.DataType) -> pa.Array:
    counts = pa.array([value if type(value) is int else None for value in values], pa.int64()).cast(arrow)
    spans = pa.array([None if type(value) is int else value for value in values], pa.duration("us")).cast(arrow)
    return pc.coalesce(counts, spans)


_CONVERTERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Sequence[Any], pa.DataType], pa.Array]], ...] = (
    (pt.is_float32, _float32),
    (pt.is_decimal, _decimal),
    (pt.is_timestamp, _timestamp),
    (pt.is_date32, _date),
    (pt.is_time64, _time),
    (pt.is_duration, _duration),
)


def _build_lists(values: Sequence[Any], arrow: pa.DataType) -> tuple[pa.Array, dict[int, str]]:
    size = arrow.list_size if pt.is_fixed_size_list(arrow) else None
    failures: dict[int, str] = {}
    lists: list[list[Any] | None] = []
    for row, value in enumerate(values):
        if value is not None and type(value) is not list:
            failures[row] = f"{_shown(value)} is no {arrow}"
        elif value is not None and size is not None and len(value) != size:
            failures[row] = f"{len(value)} values are no {arrow}"
        lists.append(None if row in failures else value)
    lengths = [size if size is not None else 0 if found is None else len(found) for found in lists]
    flat = list(chain.from_iterable([None] * (size or 0) if found is None else found for found in lists))
    ends = np.cumsum([0, *lengths])
    child, unfit = build(flat, arrow.value_type)
    for position, reason in unfit.items():
        row = int(np.searchsorted(ends, position, side="right")) - 1
        failures.setdefault(row, reason)
    mask = pa.array([found is None for found in lists], pa.bool_())
    if size is None:
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), child, type=arrow, mask=mask), failures
    return pa.FixedSizeListArray.from_arrays(child, type=arrow, mask=mask), failures


def _reason(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error) or type(error).__name__).split(": ")[0][:200]


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text[:60]}…" if len(text) > 60 else text


def present(values: pa.BinaryArray, *, skip: int = 0) -> tuple[Iterable[int], list[bytes], dict[int, str]]:
    """Return the messages that have a value, which ones they are, and why others cannot be read.

    Args:
        values: All of them.
        skip: The length of a header that each begins with.
    """
    found = values.to_pylist()
    failures: dict[int, str] = {}
    if values.null_count:
        failures = {number: "The message has no value" for number, value in enumerate(found) if value is None}
    if skip:
        for number, value in enumerate(found):
            if value is not None and (len(value) < skip or value[0] != 0):
                failures[number] = "The message does not begin with a schema registry's header"
    if not failures:
        return range(len(found)), [value[skip:] for value in found] if skip else found, failures
    index = [number for number in range(len(found)) if number not in failures]
    return index, [found[number][skip:] for number in index], failures
