"""Reads rows that arrived straight from their columns, where a view asks for nothing that needs an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from asof import dtypes
from asof.clock import FIRST_US, LAST_US
from asof.interfaces.scanner import AVAILABLE_AT, DELETED, EVENT_TIME

if TYPE_CHECKING:
    from asof.interfaces.scanner import ColumnRequest, ScanRequest


def plain_rows(request: ScanRequest, rows: pa.Table) -> pa.Table | None:
    """Return what a scan of these rows gives, or None where only a scanner can tell.

    A scan costs an engine some 20 ms, whatever the number of rows, and this less than one. It is for requests without
    predicates and derived columns, whose columns have the types that are asked for, or narrower ones; rows without a
    join key are left out and NaN becomes null, as in any scan.

    Args:
        request: Without events to fold: its source names no event id, or its rows are states.
        rows: As they are in the log.
    """
    source = request.source
    if request.where is not None or request.derived is not None or any(c.where is not None for c in request.columns):
        return None
    if source.delay_us or source.max_skew_us is not None or (request.events and source.event_id is not None):
        return None
    times = {EVENT_TIME: source.event_time}
    if source.available_at is not None:
        times[AVAILABLE_AT] = source.available_at
    keys = {key.name: _values(rows, key.name, key.dtype) for key in request.keys}
    fields = [
        *keys.items(),
        *((name, _instants(rows, column)) for name, column in times.items()),
        *([(DELETED, _flags(rows, source.deleted))] if source.deleted is not None else []),
        *((column.name, _column(rows, column)) for column in request.columns),
    ]
    if any(values is None for _, values in fields):
        return None
    table = pa.Table.from_arrays([values for _, values in fields], names=[name for name, _ in fields])
    for i, values in enumerate(keys.values()):
        if values is not None and values.null_count:
            table = table.filter(table.column(i).is_valid())
    return table


def _column(rows: pa.Table, column: ColumnRequest) -> pa.ChunkedArray | pa.Array | None:
    if column.column is not None:
        return _values(rows, column.column, column.dtype)
    return pa.repeat(pa.scalar(True), rows.num_rows) if column.dtype == "bool" else None


def _values(rows: pa.Table, name: str, dtype: str) -> pa.ChunkedArray | None:
    if name not in rows.column_names or not dtypes.is_scalar(dtype):
        return None
    values, wanted = rows.column(name), dtypes.to_arrow(dtype)
    if pt.is_floating(values.type):
        unknown = pc.is_nan(values)
        if pc.any(unknown).as_py():
            values = pc.if_else(unknown, pa.scalar(None, values.type), values)
    if values.type == wanted:
        return values
    wider = (pt.is_signed_integer, pt.is_unsigned_integer, pt.is_floating)
    if any(test(values.type) and test(wanted) for test in wider) and values.type.bit_width < wanted.bit_width:
        return values.cast(wanted)
    return None


def _instants(rows: pa.Table, name: str) -> pa.ChunkedArray | None:
    if name not in rows.column_names or rows.column(name).type != dtypes.to_arrow("timestamp"):
        return None
    values = rows.column(name)
    us = values.cast(pa.int64())
    if values.null_count:
        return None
    if rows.num_rows:
        ends = pc.min_max(us).as_py()
        if ends["min"] < FIRST_US or ends["max"] > LAST_US:
            return None
    return us


def _flags(rows: pa.Table, name: str) -> pa.ChunkedArray | None:
    if name not in rows.column_names or rows.column(name).type != pa.bool_():
        return None
    return rows.column(name).fill_null(False)
