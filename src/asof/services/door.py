"""The door of a stream source: which rows can be taken in, in the source's types, and why the others cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from asof import dtypes
from asof.clock import FIRST_US, LAST_US, iso, parse_instant
from asof.errors import SchemaError
from asof.plan.streams import row_schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asof.plan.specs import SourceSpec


@dataclass(frozen=True)
class Admitted:
    """Rows that were looked at.

    Attributes:
        rows: Those that can be taken in, in order, with the source's columns in its types.
        index: int64, which row each was.
        refused: Why each other one cannot, by its position.
    """

    rows: pa.Table
    index: pa.Int64Array
    refused: dict[int, str]


def admit(
    source: SourceSpec,
    rows: pa.Table,
    now_us: int,
    refused: Mapping[int, str] | None = None,
    *,
    handover_us: int | None = None,
) -> Admitted:
    """Check rows whose columns may have other types, or be missing.

    Args:
        source: A stream source.
        rows: Columns that it does not have are ignored; one that a row lacks is null.
        now_us: The clock, for `max_skew`.
        refused: Rows that are known to be refused, and why.
        handover_us: Event times before it are history's, where a source has one of those.
    """
    refused = dict(refused or {})
    columns = []
    for field in row_schema(source):
        if field.name not in rows.column_names:
            columns.append(pa.nulls(rows.num_rows, field.type))
            continue
        parts, done = [], 0
        for chunk in rows.column(field.name).chunks:
            parts.append(_converted(field, _plain(chunk), refused, done))
            done += len(chunk)
        columns.append(pa.chunked_array(parts, field.type))
    table = pa.Table.from_arrays(columns, schema=row_schema(source))
    for bad, reason in _rules(source, table, now_us, handover_us):
        for row in pc.indices_nonzero(bad.fill_null(False)).to_pylist():
            refused.setdefault(row, reason)
    index = pa.array(range(rows.num_rows), pa.int64())
    if refused:
        kept = pc.invert(pc.is_in(index, pa.array(list(refused), pa.int64())))
        table, index = table.filter(kept), index.filter(kept)
    return Admitted(table, index, refused)


def table_of(source: SourceSpec, records: Sequence[Mapping[str, Any]]) -> tuple[pa.Table, dict[int, str]]:
    """Return records as columns, and why some of them cannot be: their values are null where they do not fit."""
    refused: dict[int, str] = {}
    columns = {}
    for field in row_schema(source):
        values = [record.get(field.name) for record in records]
        try:
            columns[field.name] = pa.array(values) if any(v is not None for v in values) else pa.nulls(len(values))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            columns[field.name] = _one_by_one(field, values, refused)
    return pa.table(columns), refused


def _one_by_one(field: pa.Field, values: list[Any], refused: dict[int, str]) -> pa.Array:
    found = []
    for row, value in enumerate(values):
        try:
            found.append(_cast(pa.array([value]), field.type))
        except (pa.ArrowException, SchemaError, TypeError, ValueError, OverflowError) as error:
            refused.setdefault(row, f"column {field.name!r} is no {dtypes.from_arrow(field.type)}: {error}")
            found.append(pa.nulls(1, field.type))
    return pa.concat_arrays(found)


def _rules(
    source: SourceSpec, rows: pa.Table, now_us: int, handover_us: int | None
) -> list[tuple[pa.ChunkedArray, str]]:
    times = rows.column(source.event_time)
    us = times.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    rules = [
        (times.is_null(), "event time is null"),
        (pc.or_(pc.less(us, FIRST_US), pc.greater(us, LAST_US)), "event time is out of range"),
    ]
    if source.max_skew_us is not None:
        rules.append((pc.greater(us, now_us + source.max_skew_us), "event time is ahead of the clock"))
    if handover_us is not None:
        why = f"event time is before the hand-over at {iso(handover_us)}: history has it"
        rules.append((pc.less(us, handover_us), why))
    if source.event_id is not None:
        rules.append((rows.column(source.event_id).is_null(), "event id is null"))
    return rules


def _plain(values: pa.Array) -> pa.Array:
    """Return the values of a dictionary, as of a categorical column, and texts and bytes in one piece."""
    if pa.types.is_dictionary(values.type):
        values = _plain(values.dictionary).take(values.indices)
    if pa.types.is_string_view(values.type):
        return values.cast(pa.string())
    return values.cast(pa.binary()) if pa.types.is_binary_view(values.type) else values


def _converted(field: pa.Field, values: pa.Array, refused: dict[int, str], first: int) -> pa.Array:
    """Return values in the type of a column, losing nothing; of those that do not fit, say why and give null.

    Where some do not, halves are tried, so few of them among many cost little. `first` is the row of the first value.
    """
    if values.type == field.type:
        return values
    try:
        return _cast(values, field.type)
    except (pa.ArrowException, SchemaError) as error:
        if len(values) == 1:
            refused.setdefault(first, f"column {field.name!r} is no {dtypes.from_arrow(field.type)}: {error}")
            return pa.nulls(1, field.type)
        if not len(values):
            return pa.nulls(0, field.type)
        half = len(values) // 2
        low = _converted(field, values.slice(0, half), refused, first)
        return pa.concat_arrays([low, _converted(field, values.slice(half), refused, first + half)])


def _cast(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    have = values.type
    if pa.types.is_null(have):
        return pa.nulls(len(values), wanted)
    if pa.types.is_timestamp(have) and have.tz is None and pa.types.is_timestamp(wanted):
        return values.cast(pa.timestamp(have.unit, "UTC")).cast(wanted)
    if pa.types.is_timestamp(wanted) and _is_text(have):
        return _times(values, wanted)
    textual = pa.types.is_string(wanted) or pa.types.is_binary(wanted)
    if textual != (_is_text(have) or _is_bytes(have)):
        raise SchemaError(f"it is {have}")
    if pa.types.is_boolean(have) != pa.types.is_boolean(wanted):
        raise SchemaError(f"it is {have}")
    if pa.types.is_integer(have) and pa.types.is_temporal(wanted):
        raise SchemaError("it is a number, not a time")
    return values.cast(wanted)


def _is_text(arrow: pa.DataType) -> bool:
    return arrow in (pa.string(), pa.large_string())


def _is_bytes(arrow: pa.DataType) -> bool:
    return arrow in (pa.binary(), pa.large_binary())


def _times(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    parsed = []
    for text in values.to_pylist():
        try:
            parsed.append(None if text is None else parse_instant(text))
        except ValueError as error:
            raise SchemaError(f"{text!r} is no ISO 8601 time") from error
    return pa.array(parsed, pa.int64()).cast(wanted)
