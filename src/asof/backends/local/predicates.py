"""Refuses predicates that are not plain, repeatable boolean expressions over one source's columns."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb

from asof.backends.local.columns import quoted
from asof.backends.local.frames import readable
from asof.errors import DefinitionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

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
_FIX = "Write one SQL condition over the source's columns, as: amount > 0 AND status = 'settled'."


def check_over_schema(source: str, schema: pa.Schema, predicate: str) -> None:
    """Check a predicate against a schema, in an engine that has no data and no way to any.

    Raises:
        DefinitionError: see `check`.
    """
    with duckdb.connect(":memory:", config={"threads": 1}) as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute("SET enable_external_access = false")
        con.register("src", readable(schema.empty_table(), source))
        check(con, schema.names, source, predicate)


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
    try:
        con.execute(f"EXPLAIN SELECT 1 FROM src WHERE (\n{predicate}\n)").fetchall()
    except duckdb.Error as exc:
        raise _refused(source, predicate, str(exc).splitlines()[0]) from exc
    if found not in ("BOOLEAN", '"NULL"'):
        raise _refused(source, predicate, f"It gives {found}, not true or false")


def check_expression(con: duckdb.DuckDBPyConnection, columns: Iterable[str], source: str, expression: str) -> str:
    """Return the SQL type of an expression over `src`; refuse what `check` refuses, but for its type.

    Raises:
        DefinitionError: see `check`.
    """
    known = {name.lower() for name in columns}
    for node in _nodes(_parse(con, source, expression)):
        _check_node(node, known, source, expression)
    try:
        described = con.execute(f"DESCRIBE SELECT (\n{expression}\n) AS p FROM src").fetchall()
    except duckdb.Error as exc:
        raise _refused(source, expression, str(exc).splitlines()[0]) from exc
    return str(described[0][1])


def condition(predicate: str) -> str:
    """Return a checked predicate ready to stand inside other SQL; a comment at its end cannot swallow what follows."""
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
        raise _refused(source, predicate, f"It holds {_NAMES.get(kind, kind.lower())}, which predicates cannot")
    if kind == "COLUMN_REF" and node["column_names"][0].lower() not in known:
        name = node["column_names"][0]
        hint = did_you_mean(name, sorted(known))
        raise _refused(source, predicate, f"There is no column {quoted(name)}. {hint}".rstrip())
    if kind == "FUNCTION":
        name = node["function_name"].lower()
        if not _repeatable(name):
            raise _refused(
                source, predicate, f"{name} is not a function whose answer depends on its arguments and nothing else"
            )


def _repeatable(name: str) -> bool:
    if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES):
        return False
    return name in _scalar_functions() or name in _MACROS


@cache
def _scalar_functions() -> frozenset[str]:
    # Those whose variants for times with a zone depend on the session's zone are fine: it is always UTC.
    with duckdb.connect(":memory:") as con:
        rows = con.execute(
            "SELECT lower(function_name) FROM duckdb_functions() WHERE function_type = 'scalar' "
            "GROUP BY 1 HAVING bool_or(stability = 'CONSISTENT') AND bool_and(stability <> 'VOLATILE')"
        ).fetchall()
    return frozenset(name for (name,) in rows)


def _refused(source: str, predicate: str, why: str) -> DefinitionError:
    return DefinitionError(f"The predicate {predicate!r} over source {source!r} cannot be used", why=why, fix=_FIX)
