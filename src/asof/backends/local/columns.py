"""SQL that turns columns into canonical ones: times to microseconds, values to their dtype, losing nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from asof import dtypes
from asof.backends.local.faults import LOSSY
from asof.errors import SchemaError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST, _LAST = "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"
_DUCK = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint8": "UTINYINT",
    "uint16": "USMALLINT",
    "uint32": "UINTEGER",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "string": "VARCHAR",
    "binary": "BLOB",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "time": "TIME",
}
_WIDENED = {
    "int8": {"int16", "int32", "int64"},
    "int16": {"int32", "int64"},
    "int32": {"int64"},
    "uint8": {"int16", "int32", "int64", "uint16", "uint32"},
    "uint16": {"int32", "int64", "uint32"},
    "uint32": {"int64"},
    "float32": {"float64"},
}
_DURATION_TO_US = {"s": "* 1000000", "ms": "* 1000", "us": "", "ns": "// 1000"}


@dataclass(frozen=True)
class SourceColumn:
    """A column as it is in the data.

    Attributes:
        name: Its name.
        arrow: Its Arrow type, as the file declares it.
        duck: The type DuckDB reads it as, which differs from `arrow` where Parquet has no such type.
    """

    name: str
    arrow: pa.DataType
    duck: str

    @property
    def sql(self) -> str:
        """The column's name, quoted."""
        return quoted(self.name)


@dataclass(frozen=True)
class Time:
    """SQL of a time column: microseconds since the epoch, where it is outside the years 1 to 9999, or between them."""

    us: str
    out_of_range: str
    lossy: str | None = None


def quoted(name: str) -> str:
    """Return `name` as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as a SQL string."""
    return "'" + text.replace("'", "''") + "'"


def pick(columns: Mapping[str, SourceColumn], name: str, source: str) -> SourceColumn:
    """Return a column by name.

    Raises:
        SchemaError: the source has no such column.
    """
    found = columns.get(name)
    if found is None:
        raise SchemaError(
            f"Source {source!r} has no column {name!r}",
            why=did_you_mean(name, columns),
            fix=f"Its columns are {', '.join(columns)}.",
        )
    return found


def duck_type(dtype: str) -> str:
    """Return DuckDB's name of a dtype that is no duration."""
    if dtype in _DUCK:
        return _DUCK[dtype]
    if dtypes.is_decimal(dtype):
        return dtype.upper()
    inner = dtype[dtype.index("<") + 1 : -1]
    if dtype.startswith("vector<"):
        item, size = (part.strip() for part in inner.split(","))
        return f"{_DUCK[item]}[{size}]"
    return f"{duck_type(inner)}[]"


def time_sql(column: SourceColumn, source: str, role: str) -> Time:
    """Return how a time column becomes microseconds; a naive time is UTC, a date its midnight.

    Raises:
        SchemaError: the column is not a time.
    """
    x = column.sql
    if column.duck in ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
        zone = "+00" if column.duck != "TIMESTAMP" else ""
        return Time(f"epoch_us({x})", f"{x} < {column.duck} '{_FIRST}{zone}' OR {x} > {column.duck} '{_LAST}{zone}'")
    if column.duck in ("TIMESTAMP_NS", "TIMESTAMPTZ_NS"):
        return Time(f"epoch_ns({x}) // 1000", "false", f"epoch_ns({x}) % 1000 <> 0")
    if column.duck == "DATE":
        return Time(f"epoch_us(TRY_CAST({x} AS TIMESTAMP))", f"{x} < DATE '0001-01-01' OR {x} > DATE '9999-12-31'")
    raise SchemaError(
        f"Column {column.name!r} of source {source!r} is {column.duck}, not a time",
        why=f"It is the source's {role}",
        fix="Write it as a timestamp (naive means UTC), or as ISO 8601 text in CSV and NDJSON.",
    )


def bound_sql(column: SourceColumn, us: int, operator: str) -> str | None:
    """Return the comparison of a time column with an instant in the column's own type, which lets files be skipped."""
    if column.duck in ("TIMESTAMP", "DATE"):
        return f"{column.sql} {operator} make_timestamp({us})"
    if column.duck == "TIMESTAMP WITH TIME ZONE":
        return f"{column.sql} {operator} make_timestamptz({us})"
    return None


def value_sql(column: SourceColumn, dtype: str, source: str) -> str:
    """Return SQL for a column's values as `dtype`; a value that would change fails the query.

    Raises:
        SchemaError: values of the column's type can never be `dtype`.
    """
    x = column.sql
    have = dtypes.from_arrow(column.arrow)
    if have == dtype:
        return _same(column, x, dtype)
    if have is not None and dtype in _WIDENED.get(have, ()):
        return f"CAST({x} AS {duck_type(dtype)})"
    if pa.types.is_null(column.arrow):
        return f"CAST(NULL AS {'BIGINT' if dtype == 'duration' else duck_type(dtype)})"
    if have is not None and _convertible(have, dtype):
        return _checked(column, x, have, dtype)
    raise SchemaError(
        f"Column {column.name!r} of source {source!r} is {have or column.arrow} and cannot be read as {dtype}",
        why="No conversion keeps every value as it is",
        fix=f"Write the column as {dtype}, or apply the definitions again to use its new type.",
    )


def _same(column: SourceColumn, x: str, dtype: str) -> str:
    if dtype == "timestamp" and column.duck.endswith("_NS"):
        return _or_fail(column, f"epoch_ns({x}) % 1000 = 0", f"make_timestamp(epoch_ns({x}) // 1000)", dtype)
    if dtype == "duration":
        if column.duck == "INTERVAL":
            return f"epoch_us({x})"
        unit = column.arrow.unit
        scaled = f"{x} {_DURATION_TO_US[unit]}"
        return _or_fail(column, f"{x} % 1000 = 0", scaled, dtype) if unit == "ns" else scaled
    if dtype == "timestamp" or column.duck == duck_type(dtype):
        return x
    if dtype == "time" or dtype.startswith("vector<") or column.duck in ("UBIGINT", "HUGEINT"):
        return _checked(column, x, None, dtype)
    return f"CAST({x} AS {duck_type(dtype)})"


def _convertible(have: str, dtype: str) -> bool:
    if dtypes.is_numeric(have) and dtypes.is_numeric(dtype):
        return "bool" not in (have, dtype)
    if have.startswith("list<") and dtype.startswith("list<"):
        return dtype[5:-1] in _WIDENED.get(have[5:-1], ())
    if have.startswith("list<") and dtype.startswith("vector<"):
        return have[5:-1] in dtypes.FLOATS
    return (have, dtype) in {("date", "timestamp"), ("timestamp", "date")} or (
        have in dtypes.INTEGERS and dtype == "string"
    )


def _checked(column: SourceColumn, x: str, have: str | None, dtype: str) -> str:
    cast = f"TRY_CAST({x} AS {duck_type(dtype)})"
    kept = f"{cast} IS NOT NULL"
    if have is not None and not dtype.startswith(("list<", "vector<")) and dtype != "string":
        kept = f"TRY_CAST({cast} AS {column.duck}) IS NOT DISTINCT FROM {x}"
    return _or_fail(column, kept, cast, dtype)


def _or_fail(column: SourceColumn, kept: str, sql: str, dtype: str) -> str:
    plain = str(column.arrow) != dtype and not pa.types.is_timestamp(column.arrow)
    shown = column.arrow if plain else column.duck.lower()
    message = literal(f"{LOSSY}|{column.name}|{shown}|{dtype}|")
    return (
        f"CASE WHEN {column.sql} IS NULL THEN NULL WHEN {kept} THEN {sql} "
        f"ELSE error({message} || CAST({column.sql} AS VARCHAR)) END"
    )
