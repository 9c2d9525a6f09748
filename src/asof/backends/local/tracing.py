"""SQL of all rows of one key with what became of each: kept, set apart, repeated, retracted or filtered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof import dtypes
from asof.backends.local import dedupe, quarantine
from asof.backends.local.columns import pick, value_sql
from asof.backends.local.predicates import condition
from asof.interfaces.scanner import (
    AVAILABLE_AT,
    DELETED,
    EVENT_ID,
    EVENT_TIME,
    FIRST,
    ORDER,
    REJECTED,
    RETRACTED_AT,
    WHERE,
)

if TYPE_CHECKING:
    from asof.backends.local.relation import Relation
    from asof.interfaces.scanner import ScanRequest


def trace_sql(
    relation: Relation, request: ScanRequest, rules: quarantine.Rules, fold: dedupe.Fold | None, available_us: str
) -> tuple[str, pa.Schema]:
    """Return the query of one key's rows, with a parameter per join key, and the schema of its answer.

    Args:
        relation: The open source.
        request: What a scan would read.
        rules: What makes a row unusable.
        fold: How the source's events are counted once; None where rows have no id.
        available_us: SQL of the microsecond when a row became known.
    """
    source, columns = request.source, relation.columns
    rejected = quarantine.reason(rules)
    gone = "false"
    if source.deleted is not None:
        gone = f"coalesce({pick(columns, source.deleted, source.name).sql}, false)"
    event_id = "NULL" if source.event_id is None else pick(columns, source.event_id, source.name).sql
    fields = [
        (ORDER, dedupe.ORDER, pa.int64()),
        (EVENT_TIME, _usable(rejected, rules.event_time.us), pa.int64()),
        (AVAILABLE_AT, _usable(rejected, available_us), pa.int64()),
        (EVENT_ID, f"CAST({event_id} AS VARCHAR)", pa.string()),
        (REJECTED, rejected, pa.string()),
        (DELETED, gone, pa.bool_()),
        (FIRST, f"coalesce({fold.keep}, false)" if fold else "true", pa.bool_()),
        (RETRACTED_AT, fold.retracted_at if fold else "CAST(NULL AS BIGINT)", pa.int64()),
        (WHERE, _true(rejected, request.where), pa.bool_()),
    ]
    for column in request.columns:
        value = "true" if column.column is None else _value(relation, request, column.column, column.dtype)
        fields.append((column.name, _usable(rejected, value), dtypes.to_arrow(column.dtype)))
        fields.append((column.name + WHERE, _true(rejected, column.where), pa.bool_()))
    listed = ", ".join(f"{sql} AS c{i}" for i, (_, sql, _) in enumerate(fields))
    numbered = fold is not None and fold.table != "src"
    table = fold.table if fold and numbered else f"(SELECT *, row_number() OVER () AS {dedupe.ORDER} FROM src) AS src"
    wanted = " AND ".join(f"{_value(relation, request, key.name, key.dtype)} = ?" for key in request.keys)
    query = f"SELECT {listed} FROM {table} WHERE {wanted or 'true'} ORDER BY {dedupe.ORDER}"
    return query, pa.schema([(name, arrow) for name, _, arrow in fields])


def _value(relation: Relation, request: ScanRequest, name: str, dtype: str) -> str:
    source = request.source.name
    return value_sql(pick(relation.columns, name, source), dtype, source)


def _usable(rejected: str, sql: str) -> str:
    """Return SQL that is not evaluated for rows that are set apart, whose values may fit nothing."""
    return f"CASE WHEN {rejected} IS NULL THEN {sql} END"


def _true(rejected: str, predicate: str | None) -> str:
    return "true" if predicate is None else f"coalesce({_usable(rejected, condition(predicate))}, false)"
