"""SQL over the files of a log, whose columns may have grown and widened from entry to entry."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from asof import dtypes
from asof.backends.local.columns import SourceColumn, literal, quoted, value_sql
from asof.backends.local.faults import translated
from asof.backends.local.parquet import widened
from asof.errors import SchemaError
from asof.interfaces.log import ENTRY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb

    from asof.backends.local.log import Segment


@dataclass(frozen=True)
class Run:
    """Files of a log in a row that have the same columns."""

    segments: tuple[Segment, ...]
    schema: pa.Schema


def runs(source: str, segments: Iterable[Segment]) -> list[Run]:
    """Return the files of a log in order, those in a row with the same columns together.

    Raises:
        SourceError: a file is damaged.
    """
    schemas = []
    for segment in segments:
        with translated(source, segment.place):
            schemas.append((segment, pq.read_schema(segment.path).remove_metadata()))
    return [
        Run(tuple(segment for segment, _ in group), schema)
        for schema, group in ((s, list(g)) for s, g in groupby(schemas, key=lambda pair: pair[1]))
    ]


def types_over(source: str, declared: Mapping[str, pa.DataType], parts: Sequence[Run]) -> dict[str, pa.DataType]:
    """Return the types of a source's columns that hold what was declared and what is in its log.

    Raises:
        SchemaError: there is none that holds both.
    """
    types = dict(declared)
    for part in parts:
        for name, wanted in types.items():
            if name not in part.schema.names:
                continue
            have = part.schema.field(name).type
            wide = have if have == wanted else _common(wanted, have)
            if wide is None:
                raise _incompatible(source, name, part, have, declared[name])
            types[name] = wide
    return types


def log_sql(
    con: duckdb.DuckDBPyConnection,
    source: str,
    parts: Sequence[Run],
    types: Mapping[str, pa.DataType],
    until_entry: int | None,
) -> str:
    """Return a query of the rows of a log in the order of their arrival; columns that an entry lacks are null in it."""
    con.register("shape", pa.schema(list(types.items())).empty_table())
    queries = ["SELECT * FROM shape"]
    for part in parts:
        listed = ", ".join(literal(str(segment.path)) for segment in part.segments)
        table = f"read_parquet([{listed}])"
        described = {name: duck for name, duck, *_ in con.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}
        fields = [
            f"{_value(source, part, name, described, wanted)} AS {quoted(name)}" for name, wanted in types.items()
        ]
        until = "" if until_entry is None else f" WHERE {ENTRY} <= {until_entry}"
        queries.append(f"SELECT {', '.join(fields)} FROM {table}{until}")
    return " UNION ALL ".join(queries)


def _value(source: str, part: Run, name: str, described: Mapping[str, str], wanted: pa.DataType) -> str:
    dtype = dtypes.from_arrow(wanted) or ""
    known = name in described
    have = part.schema.field(name).type if known else pa.null()
    return value_sql(SourceColumn(name, have, described.get(name, "")), dtype, source)


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that holds both: without loss, or of integers and floats a float that is checked row by row."""
    wide = widened(one, other)
    if wide is None and {dtypes.from_arrow(one), dtypes.from_arrow(other)} <= dtypes.FLOATS | dtypes.INTEGERS:
        return pa.float64()
    return wide


def _incompatible(source: str, name: str, part: Run, have: pa.DataType, declared: pa.DataType) -> SchemaError:
    return SchemaError(
        f"Column {name!r} of stream source {source!r} is {dtypes.from_arrow(declared)}, and "
        f"{dtypes.from_arrow(have) or have} in {part.segments[0].name} of its log",
        why="No type holds both without loss, and what has arrived stays as it is",
        fix="Give the values of another type a column of their own: a new name in schema=.",
    )
