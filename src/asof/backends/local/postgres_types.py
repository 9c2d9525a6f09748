"""PostgreSQL's types: how a column is selected so that Arrow holds it without loss, ordered, and why some cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from asof.backends.local.columns import quoted
from asof.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Collection

_TYPE, _MODIFIER = b"POSTGRESQL:type", b"POSTGRESQL:typmod"
_PLAIN: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}
_TEXTS = frozenset({"text", "varchar", "name", "bpchar", "uuid", "json", "jsonb"})
_ITEMS = {"bool": "bool", "int2": "int2", "int4": "int4", "int8": "int8", "float4": "float4", "float8": "float8"}
_CAST = "Select it in query= as something else: a number, text, or CAST(… AS numeric(18,2))"
_REFUSED = {
    "numeric": "It is numeric, and not of a precision up to 38 digits and a scale from 0: exact values may not fit",
    "interval": "It is an interval, whose months have no fixed length",
}
# The driver adds PostgreSQL's epoch to its infinities, which wraps them around to before any time that there is.
_NO_SUCH_US, _NO_SUCH_DAY = -300_000_000_000_000_000, -3_000_000


@dataclass(frozen=True)
class PostgresColumn:
    """A column of a table or query.

    Attributes:
        name: Its name.
        type: The name of its type, as pg_type has it; of a domain that of its base.
        sql: Selects it from `t` in a form that `arrive` takes.
        order: SQL that its values are ordered by, the same on every server.
        arrow: What `arrive` gives, or None where no dtype holds the column.
        refused: Why.
    """

    name: str
    type: str
    sql: str
    order: str
    arrow: pa.DataType | None
    refused: str = ""

    def arrive(self, source: str, values: pa.Array, *, refuse_infinite: bool) -> pa.Array:
        """Return values as they came from the driver in the column's Arrow type.

        Raises:
            SchemaError: an infinite time, where those are refused.
        """
        if refuse_infinite and pa.types.is_temporal(values.type) and not pa.types.is_time(values.type):
            wide = values.cast(pa.int32() if pa.types.is_date(values.type) else pa.int64())
            least = pc.min(wide).as_py()
            if least is not None and least < (_NO_SUCH_DAY if pa.types.is_date(values.type) else _NO_SUCH_US):
                raise SchemaError(
                    f"Column {self.name!r} of source {source!r} holds an infinite {self.type}",
                    why="No value of a feature is infinity, nor a time after the year 290000",
                    fix=f"Select it in query= as NULLIF({quoted(self.name)}, 'infinity').",
                )
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
        return values if values.type == self.arrow else values.cast(self.arrow)


def column_of(field: pa.Field) -> PostgresColumn:
    """Return how a column is read, of which the driver tells this."""
    metadata = field.metadata or {}
    kind = metadata.get(_TYPE, b"").decode()
    x = f"t.{quoted(field.name)}"
    as_text = f'CAST({x} AS text) COLLATE "C"'
    if kind in _PLAIN:
        return PostgresColumn(field.name, kind, x, x, _PLAIN[kind])
    if kind == "oid":
        return PostgresColumn(field.name, kind, f"CAST({x} AS int8)", x, pa.int64())
    if kind == "numeric":
        size = _decimal(int(metadata.get(_MODIFIER, b"-1")))
        if size is None:
            return PostgresColumn(field.name, kind, x, x, None, f"{_REFUSED['numeric']}. {_CAST}")
        text = f"CAST(NULLIF({x}, 'NaN') AS text)"
        return PostgresColumn(field.name, kind, text, x, pa.decimal128(*size))
    if kind in _TEXTS or pa.types.is_string(field.type):  # the driver gives enums as text
        return PostgresColumn(field.name, kind, f"CAST({x} AS text)", as_text, pa.string())
    item = _item(kind, field.type)
    if item is not None:
        sql_item, arrow_item = item
        # The driver would flatten an array of arrays without a word. That its text is no number, fails.
        flat = (
            f"CASE WHEN array_ndims({x}) > 1 THEN CAST(ARRAY[CAST(array_dims({x}) AS int4)] AS {sql_item}[]) "
            f"ELSE CAST({x} AS {sql_item}[]) END"
        )
        return PostgresColumn(field.name, kind, flat, as_text, pa.list_(arrow_item))
    why = _REFUSED.get(kind, f"It is {kind or field.type} in PostgreSQL, which no type of Asof holds")
    return PostgresColumn(field.name, kind, x, as_text, None, f"{why}. {_CAST}")


def refuse_clashes(source: str, columns: Collection[PostgresColumn]) -> None:
    """Refuse names that differ by case alone.

    Raises:
        SchemaError: names them.
    """
    seen: dict[str, str] = {}
    for column in columns:
        other = seen.setdefault(column.name.lower(), column.name)
        if other is not column.name:
            raise SchemaError(
                f"Source {source!r} has two columns, {other!r} and {column.name!r}",
                why="Names do not differ by case",
                fix="Give one of them another name in query=, with AS.",
            )


def _decimal(modifier: int) -> tuple[int, int] | None:
    if modifier < 4:
        return None
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4) & 0x7FF ^ 1024) - 1024
    return (precision, scale) if precision <= 38 and 0 <= scale <= precision else None


def _item(kind: str, arrow: pa.DataType) -> tuple[str, pa.DataType] | None:
    """Return the type of an array's items, in SQL and in Arrow."""
    if not pa.types.is_list(arrow) or not kind.startswith("_"):
        return None
    name = kind.removeprefix("_")
    if name in _ITEMS:
        return name, _PLAIN[name]
    if name in _TEXTS or pa.types.is_string(arrow.value_type):
        return "text", pa.string()
    return None
