"""Frames in memory as Arrow tables that DuckDB can read: Arrow, pandas, Polars, dicts, anything with a C stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asof.errors import SchemaError

_INFINITE = 2**63 - 1
_PER_UNIT = {"s": 1_000_000, "ms": 1_000}


def to_table(frame: Any, source: str) -> pa.Table:
    """Return a frame as an Arrow table with DuckDB's types.

    Raises:
        SchemaError: it is no frame, or a column mixes types.
    """
    try:
        if isinstance(frame, pa.RecordBatchReader):
            raise SchemaError(
                f"Source {source!r} is a RecordBatchReader, which can be read only once",
                fix="Give the table that its read_all() returns.",
            )
        if isinstance(frame, pa.Table):
            table = frame
        elif isinstance(frame, Mapping):
            table = pa.table(dict(frame))
        elif type(frame).__module__.partition(".")[0] == "pandas":
            table = pa.Table.from_pandas(frame, preserve_index=False)
        elif hasattr(frame, "__arrow_c_stream__"):
            table = pa.table(frame)
        else:
            raise SchemaError(
                f"Source {source!r} is a {type(frame).__name__}, not a frame",
                fix="Give an Arrow table, a pandas or Polars frame, or a dict of columns.",
            )
    except (pa.ArrowException, AttributeError, ValueError) as exc:
        raise SchemaError(
            f"Source {source!r} has a column that is no Arrow column",
            why=str(exc),
            fix="Give each column one type.",
        ) from exc
    return readable(table, source)


def readable(table: pa.Table, source: str) -> pa.Table:
    """Return the table with coarse times in microseconds and half floats as single ones; the rest is not copied.

    A time beyond microseconds becomes the greatest one, which DuckDB reads as infinity: such rows are set apart.

    Raises:
        SchemaError: two columns have one name.
    """
    lowered = [name.lower() for name in table.column_names]
    if len(set(lowered)) < len(lowered):
        twice = sorted({name for name in table.column_names if lowered.count(name.lower()) > 1})
        raise SchemaError(
            f"Source {source!r} has several columns named {', '.join(twice)}",
            why="Names do not differ by case",
            fix="Rename all but one.",
        )
    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit in _PER_UNIT:
            table = table.set_column(i, field.name, _in_us(table.column(i)))
        elif pa.types.is_float16(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(pa.float32()))
    return table


def _in_us(column: pa.ChunkedArray) -> pa.ChunkedArray:
    factor = _PER_UNIT[column.type.unit]
    ticks = column.cast(pa.int64())
    limit = _INFINITE // factor
    inside = pc.and_(pc.less_equal(ticks, limit), pc.greater_equal(ticks, -limit))
    us = pc.multiply(pc.if_else(inside, ticks, np.int64(0)), factor)
    return pc.if_else(inside, us, np.int64(_INFINITE)).cast(pa.timestamp("us", column.type.tz))
