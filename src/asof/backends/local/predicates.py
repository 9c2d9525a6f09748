"""Refuses SQL that is not a plain, repeatable expression over one source's columns: predicates and derived columns."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb

from asof.backends.local.columns import quoted
from asof.backends.local.frames import readable
from asof.errors import DefinitionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

_PLAIN = frozenset(
    {"COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "BETWEEN", "CASE", "CAST", "FUNCTION", "TYPE"}
)
_NAMES = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "a star",
    "PARAMETER": "a parameter",
    "LAMBDA": "a lambda",
}
_MACROS = frozenset({"nullif", "if", "split_part", "date_add", "days_in_month", "fdiv", "fmod", "array_to_string"})
_ENVIRONMENT = frozenset({"version", "ago", "age", "error", "get_block_size", "getenv", "hash", "query", "stats"})
_ENVIRONMENT_PREFIXES = ("current_", "pg_", "inet_", "has_", "txid_", "read_", "duckdb_", "which_")
_FIX = "Write one SQL expression over the source's columns, as: amount > 0 AND status = 'settled'."


def check_over_schema(source: str, schema: pa.Schema, predicate: str) -> None:
    """Check a predicate against a schema, in an engine that has no data and no way to any.

    Raises:
        DefinitionError: see `check`.
    """
    with over_schema(source, schema) as con:
        check(con, schema.names, source, predicate)


@contextmanager
def over_schema(source: str, schema: pa.Schema) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an engine whose table `src` has these columns and no rows, and which reaches nothing else."""
    with duckdb.connect(":memory:", config={"threads": 1}) as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute("SET enable_external_access = false")
        con.register("src", readable(schema.empty_table(), source))
        yield con


def check(con: duckdb.DuckDBPyConnection, columns: Iterable[str], source: str, predicate: str) -> None:
    """Refuse a predicate that `src` of this connection cannot evaluate, or that could differ from run to run.

    Args:
        con: Where the table `src` has the source's columns.
        columns: Their names.
        source: The source's name, for messages.
        predicate: SQL of the user's.

    Raises:
        DefinitionError: it does not parse, is more than an expression, reads anything but the columns, calls a
            function whose answer depends on the moment or the machine, or is not boolean.
    """
    found = check_expression(con, columns, source, predicate)
    if found not in ("BOOLEAN", '"NULL"'):
        raise _refused(source, predicate, f"It gives {found}, not true or false")


def check_expression(con: duckdb.DuckDBPyConnection, columns: Iterable[str], source: str, sql: str) -> str:
    """Refuse an expression that `src` cannot evaluate or that could differ from run to run; return its SQL type.

    Raises:
        DefinitionError: see `check`; it need not be boolean.
    """
    known = {name.lower() for name in columns}
    for node in _nodes(_parse(con, source, sql)):
        _check_node(node, known, source, sql)
    try:
        described = con.execute(f"DESCRIBE SELECT {condition(sql)} AS p FROM src").fetchall()
        con.execute(f"EXPLAIN SELECT {condition(sql)} FROM src").fetchall()
    except duckdb.Error as exc:
        raise _refused(source, sql, str(exc).splitlines()[0]) from exc
    found: str = described[0][1]
    return found


@cache
def names_in(source: str, predicate: str) -> frozenset[str]:
    """Return the names of columns that an expression uses, as they are written in it.

    Raises:
        DefinitionError: it does not parse, or is more than an expression.
    """
    with duckdb.connect(":memory:", config={"threads": 1}) as con:
        nodes = _nodes(_parse(con, source, predicate))
        return frozenset(str(node["column_names"][0]) for node in nodes if node["class"] == "COLUMN_REF")


def columns_of(source: str, columns: Iterable[str], predicate: str) -> tuple[str, ...]:
    """Return which of a source's columns a predicate names, in the source's order.

    Raises:
        DefinitionError: it does not parse.
    """
    named = {name.lower() for name in names_in(source, predicate)}
    return tuple(name for name in columns if name.lower() in named)


def condition(predicate: str) -> str:
    """Return a checked expression ready to stand inside other SQL; a comment at its end cannot swallow what follows."""
    return f"(\n{predicate}\n)"


def _parse(con: duckdb.DuckDBPyConnection, source: str, predicate: str) -> dict[str, Any]:
    try:
        answer = con.execute("SELECT json_serialize_sql(?)", [f"SELECT {predicate}"]).fetchall()
    except duckdb.Error as exc:
        raise _refused(source, predicate, str(exc).splitlines()[0]) from exc
    parsed: dict[str, Any] = json.loads(answer[0][0])
    if parsed["error"]:
        raise _refused(source, predicate, f"It does not parse: {str(parsed.get('error_message')).splitlines()[0]}")
    if len(parsed["statements"]) != 1:
        raise _refused(source, predicate, "It is more than one statement")
    node: dict[str, Any] = parsed["statements"][0]["node"]
    extras = ("where_clause", "group_expressions", "having", "sample", "qualify", "modifiers")
    alone = (
        node["type"] == "SELECT_NODE"
        and node["from_table"]["type"] == "EMPTY"
        and not any(node.get(extra) for extra in extras)
        and not (node.get("cte_map") or {}).get("map")
    )
    if not alone or len(node["select_list"]) != 1 or node["select_list"][0].get("alias"):
        raise _refused(source, predicate, "It is more than one expression")
    expression: dict[str, Any] = node["select_list"][0]
    return expression


def _nodes(value: Any) -> Iterable[dict[str, Any]]:
    if isinstance(value, dict):
        if "class" in value:
            yield value
        for child in value.values():
            yield from _nodes(child)
    elif isinstance(value, list):
        for child in value:
            yield from _nodes(child)


def _check_node(node: dict[str, Any], known: set[str], source: str, predicate: str) -> None:
    kind = node["class"]
    if kind not in _PLAIN:
        raise _refused(source, predicate, f"It holds {_NAMES.get(kind, kind.lower())}, which expressions cannot")
    if kind == "COLUMN_REF" and node["column_names"][0].lower() not in known:
        name = node["column_names"][0]
        hint = did_you_mean(name, sorted(known))
        raise _refused(source, predicate, f"There is no column {quoted(name)}. {hint}".rstrip())
    if kind == "FUNCTION":
        name = node["function_name"].lower()
        if not repeatable(name):
            raise _refused(
                source, predicate, f"{name} is not a function whose answer depends on its arguments and nothing else"
            )


def repeatable(name: str) -> bool:
    """Return whether a scalar function's answer depends on its arguments and nothing else."""
    if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES):
        return False
    return name in _scalar_functions() or name in _MACROS


@cache
def _scalar_functions() -> frozenset[str]:
    """Return the functions that answer by their arguments; some overloads ask the session's time zone, always UTC."""
    with duckdb.connect(":memory:") as con:
        rows = con.execute(
            "SELECT lower(function_name) FROM duckdb_functions() WHERE function_type = 'scalar' "
            "GROUP BY 1 HAVING bool_or(stability = 'CONSISTENT') AND NOT bool_or(stability = 'VOLATILE')"
        ).fetchall()
    return frozenset(name for (name,) in rows)


def _refused(source: str, predicate: str, why: str) -> DefinitionError:
    return DefinitionError(f"The expression {predicate!r} over source {source!r} cannot be used", why=why, fix=_FIX)
