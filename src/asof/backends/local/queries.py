"""Refuses queries of batch sources that are not one repeatable SELECT over their inputs, and tells what they give."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from asof import dtypes
from asof.backends.local.columns import quoted
from asof.backends.local.predicates import repeatable
from asof.definitions.batch import BATCH_EVENT_TIME
from asof.errors import DefinitionError, SchemaError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BOUNDS = ("start", "end")
_TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest"})
_MOMENT = frozenset(
    {"current_date", "current_timestamp", "current_time", "localtime", "localtimestamp", "current_user", "user"}
    | {"session_user", "current_catalog", "current_schema"}
)
_FIX = "Write one SELECT over the inputs by their names, with $start and $end for the interval's bounds."


def input_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns of an input as a query sees them: canonical types, and only columns that have one."""
    found = [(field.name, dtypes.from_arrow(field.type)) for field in schema]
    return pa.schema([(name, dtypes.to_arrow(dtype)) for name, dtype in found if dtype is not None])


def query_schema(source: str, sql: str, inputs: Mapping[str, pa.Schema]) -> pa.Schema:
    """Return the columns that a query over these inputs gives, by running it over empty tables.

    Raises:
        DefinitionError: it does not parse or bind, or could differ from run to run.
        SchemaError: a column has no name of its own, a reserved one, or a type that no source can have.
    """
    with duckdb.connect(":memory:", config={"threads": 1}) as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute("SET enable_external_access = false")
        con.execute("SET python_enable_replacements = false")
        for name, schema in inputs.items():
            con.register(name, schema.empty_table())
        wanted = bounds(con, source, sql, inputs)
        now = datetime(2000, 1, 1, tzinfo=UTC)
        try:
            found = con.sql(f"SELECT * FROM (\n{sql}\n) LIMIT 0", params=dict.fromkeys(wanted, now))
            huge = [str(type_) in ("HUGEINT", "UHUGEINT") for type_ in found.types]
            schema = found.to_arrow_table().schema
        except duckdb.Error as exc:
            raise _refused(source, str(exc).splitlines()[0]) from exc
    return pa.schema([_field(source, field, wide) for field, wide in zip(schema, huge, strict=True)])


def _field(source: str, field: pa.Field, huge: bool) -> pa.Field:
    if field.name.lower() == BATCH_EVENT_TIME:
        raise SchemaError(
            f"The query of batch source {source!r} gives a column {field.name!r}",
            why="That column is added to every row: the end of the row's interval",
            fix="Give it another name with AS.",
        )
    dtype = "int64" if huge else dtypes.from_arrow(field.type)
    if dtype is None:
        raise SchemaError(
            f"Column {field.name!r} of batch source {source!r} has type {field.type}, which a source cannot have",
            fix="Convert it in the query: CAST(… AS DOUBLE), BIGINT, VARCHAR, TIMESTAMP or lists of them.",
        )
    return pa.field(field.name, dtypes.to_arrow(dtype))


def bounds(con: duckdb.DuckDBPyConnection, source: str, sql: str, inputs: Mapping[str, object]) -> tuple[str, ...]:
    """Return which of the bounds a query uses, having refused what it may not do.

    Raises:
        DefinitionError: it is not one SELECT, reads another table or file, has another parameter, takes a sample, or
            calls a function whose answer depends on the moment or the machine.
    """
    try:
        parsed = json.loads(con.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0])
    except duckdb.Error as exc:
        raise _refused(source, str(exc).splitlines()[0]) from exc
    if parsed["error"]:
        raise _refused(source, f"It does not parse: {str(parsed.get('error_message')).splitlines()[0]}")
    if len(parsed["statements"]) != 1:
        raise _refused(source, "It is more than one statement")
    nodes = list(_dicts(parsed["statements"]))
    ctes = {entry["key"].lower() for node in nodes for entry in (node.get("cte_map") or {}).get("map", ())}
    ctes |= {str(node["cte_name"]).lower() for node in nodes if node.get("cte_name")}
    tables = {name.lower() for name in inputs} | ctes
    called = [node["function"]["function_name"].lower() for node in nodes if node.get("type") == "TABLE_FUNCTION"]
    for node in nodes:
        _check(source, node, tables, called)
    used = {node["identifier"] for node in nodes if node.get("class") == "PARAMETER"}
    if wrong := sorted(used - set(_BOUNDS)):
        raise _refused(source, f"It has the parameter ${wrong[0]}")
    return tuple(name for name in _BOUNDS if name in used)


def _check(source: str, node: dict[str, Any], tables: set[str], called: list[str]) -> None:
    if node.get("sample"):
        raise _refused(source, "It takes a random sample")
    kind = node.get("class") or node.get("type")
    if kind == "BASE_TABLE":
        name = node["table_name"]
        if name.lower() not in tables or node.get("schema_name") or node.get("catalog_name"):
            hint = did_you_mean(name, sorted(tables))
            raise _refused(source, f"{quoted(name)} is not one of its inputs. {hint}".rstrip())
    elif kind in ("SHOW_REF", "COLUMN_DATA"):
        raise _refused(source, "It describes tables")
    elif kind == "COLUMN_REF" and len(node["column_names"]) == 1 and node["column_names"][0].lower() in _MOMENT:
        raise _refused(source, f"{node['column_names'][0]} depends on the moment or the user")
    elif kind == "FUNCTION":
        name = node["function_name"].lower()
        fine = name in _TABLE_FUNCTIONS if name in called else repeatable(name) or name in _aggregates()
        if not fine:
            raise _refused(source, f"{name} is not a function whose answer depends on its arguments and nothing else")


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from _dicts(child)
    elif isinstance(value, list):
        for child in value:
            yield from _dicts(child)


@cache
def _aggregates() -> frozenset[str]:
    with duckdb.connect(":memory:") as con:
        rows = con.execute(
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type = 'aggregate'"
        ).fetchall()
    return frozenset(name for (name,) in rows) - {"reservoir_quantile"}


def _refused(source: str, why: str) -> DefinitionError:
    return DefinitionError(f"The query of batch source {source!r} cannot be used", why=why, fix=_FIX)
