"""Reads PostgreSQL tables and queries by ADBC: only the columns and times that are wanted, in a settled order."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof.backends.local.columns import literal, quoted
from asof.backends.local.elsewhere import Rows, Wanted
from asof.backends.local.postgres_connection import snapshot, table_sql
from asof.backends.local.postgres_failures import translated
from asof.backends.local.postgres_types import column_of, refuse_clashes
from asof.clock import FIRST_US, LAST_US, from_us
from asof.errors import SchemaError, did_you_mean
from asof.kernel.content_hash import ContentHash
from asof.plan.resolve import REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from asof.backends.local.postgres_types import PostgresColumn
    from asof.plan.specs import SourceSpec

    Columns = Mapping[str, PostgresColumn]

_INFINITE = "('infinity', '-infinity')"


@dataclass(frozen=True)
class Content:
    """What a table or query held.

    Attributes:
        rows: How many rows.
        hash: Of all values of the source's columns, in order, in hex.
        snapshot: The server's name of the snapshot that was read.
    """

    rows: int
    hash: str
    snapshot: str


def schema(source: SourceSpec) -> pa.Schema:
    """Return all columns; one that no dtype holds has the reason in its metadata."""
    with snapshot(source) as (cursor, _):
        columns = _columns(cursor, source)
    return pa.schema(
        [
            pa.field(one.name, one.arrow)
            if one.arrow is not None
            # A type that no dtype holds, whatever the driver makes of it.
            else pa.field(one.name, pa.month_day_nano_interval(), metadata={REFUSED: one.refused})
            for one in columns.values()
        ]
    )


def size_bytes(source: SourceSpec) -> int:
    """Return the bytes that a table takes on the server, with its TOAST; 0 for a view or a query."""
    if source.query:
        return 0
    with snapshot(source) as (cursor, _):
        cursor.execute(f"SELECT coalesce(pg_table_size(to_regclass({literal(table_sql(source))})), 0)")
        return int(cursor.fetchone()[0])


@contextmanager
def read(source: SourceSpec, wanted: Wanted) -> Iterator[Rows]:
    """Open the rows that are wanted, as of one snapshot, in ingest order."""
    with snapshot(source) as (cursor, where):
        yield _rows(cursor, where, source, wanted)


def content(source: SourceSpec, until_us: int | None) -> Content:
    """Read all values of the source's columns, of rows that happened and were known by an instant, and hash them."""
    names = frozenset(column.name for column in source.columns if column.dtype != "unsupported") or None
    wanted = Wanted(names, event_time_until_us=until_us, known_until_us=until_us, refuse_infinite=False)
    with snapshot(source) as (cursor, where):
        cursor.execute("SELECT CAST(pg_current_snapshot() AS text)")
        name = str(cursor.fetchone()[0])
        rows = _rows(cursor, where, source, wanted)
        found, count = ContentHash(rows.schema), 0
        for batch in rows.batches:
            found.update(batch)
            count += batch.num_rows
    return Content(count, found.hexdigest(), name)


def _rows(cursor: Any, where: str, source: SourceSpec, wanted: Wanted) -> Rows:
    columns = _columns(cursor, source)
    names = wanted.chosen(source.name, columns)
    for name in names:
        if columns[name].arrow is None and name in (wanted.columns or ()):
            raise SchemaError(
                f"Column {name!r} of source {source.name!r} has a type that features cannot have",
                why=columns[name].refused,
                fix="Leave the column out, or give it another type, then apply the definitions again.",
            )
    picked = [columns[name] for name in names if columns[name].arrow is not None]
    cursor.execute(_sql(source, columns, picked, wanted))
    schema = pa.schema([(one.name, one.arrow) for one in picked])
    return Rows(schema, _batches(cursor, where, source, picked, wanted))


def _columns(cursor: Any, source: SourceSpec) -> dict[str, PostgresColumn]:
    described = cursor.adbc_execute_schema(f"SELECT * FROM {table_sql(source)} AS t")
    columns = [column_of(field) for field in described]
    refuse_clashes(source.name, columns)
    return {one.name: one for one in columns}


def _batches(
    cursor: Any, where: str, source: SourceSpec, picked: list[PostgresColumn], wanted: Wanted
) -> Iterator[pa.RecordBatch]:
    roles = {source.event_time, source.available_at}  # an infinite one is set apart with its row
    with translated(source.name, where):
        for batch in cursor.fetch_record_batch():
            arrays = [
                one.arrive(source.name, values, refuse_infinite=wanted.refuse_infinite and one.name not in roles)
                for one, values in zip(picked, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=[one.name for one in picked])


def _sql(source: SourceSpec, columns: Columns, picked: list[PostgresColumn], wanted: Wanted) -> str:
    listed = ", ".join(one.sql for one in picked)
    return f"SELECT {listed} FROM {_needed(source, columns, wanted)} AS t ORDER BY {_order(source, columns)}"


def _order(source: SourceSpec, columns: Columns) -> str:
    """Return the ingest order: it depends on all of a row, so that no two rows of different values ever tie.

    Were it to depend on the columns that are read, a view's other features could decide a tie.
    """
    first = source.order_by or tuple(
        name for name in (source.event_time, source.available_at, source.event_id) if name is not None
    )
    for name in first:
        if name not in columns:
            raise SchemaError(
                f"Source {source.name!r} has no column {name!r}, which its rows are ordered by",
                why=did_you_mean(name, columns),
                fix=f"Its columns are {', '.join(columns)}.",
            )
    known = [column.name for column in source.columns if column.name in columns] or list(columns)
    return ", ".join(columns[name].order for name in dict.fromkeys((*first, *known)))


def _needed(source: SourceSpec, columns: Columns, wanted: Wanted) -> str:
    """Return the table, or the rows of it that matter: those in time, and those that cannot be used at all."""
    table = table_sql(source)
    known = _known(source, columns, wanted)
    if not wanted.bounded or source.event_time not in columns:
        return f"(SELECT * FROM {table} AS t WHERE {known})" if known != "true" else table
    inside, unusable = _inside(source, columns, wanted), _unusable(source, columns, wanted)
    if not wanted.whole_events or source.event_id not in columns:
        return f"(SELECT * FROM {table} AS t WHERE ({inside} OR {unusable}) AND {known})"
    # The first arrival of an id counts, and a retraction takes it back, whenever that happened. Two branches, because
    # a semi-join under OR would be worked out row by row.
    name = quoted(str(source.event_id))
    theirs = _inside(source, columns, wanted, "u")
    same = f"EXISTS (SELECT 1 FROM {table} AS u WHERE u.{name} = t.{name} AND {theirs})"
    return (
        f"(SELECT * FROM {table} AS t WHERE {same} UNION ALL "
        f"SELECT * FROM {table} AS t WHERE (t.{name} IS NULL AND {inside} OR {unusable}) AND NOT {same})"
    )


def _inside(source: SourceSpec, columns: Columns, wanted: Wanted, table: str = "t") -> str:
    limits = ((wanted.event_time_from_us, ">="), (wanted.event_time_until_us, "<="))
    x = f"{table}.{quoted(source.event_time)}"
    found = [f"{x} {operator} {_instant(columns[source.event_time], us)}" for us, operator in limits if _within(us)]
    return f"({' AND '.join(found) or 'true'})"


def _unusable(source: SourceSpec, columns: Columns, wanted: Wanted) -> str:
    x = f"t.{quoted(source.event_time)}"
    found = [f"{x} IS NULL", f"{x} IN {_INFINITE}"]
    if _within(wanted.horizon_us):
        found.append(f"{x} > {_instant(columns[source.event_time], wanted.horizon_us)}")
    return f"({' OR '.join(found)})"


def _known(source: SourceSpec, columns: Columns, wanted: Wanted) -> str:
    name = source.available_at
    if name is None or name not in columns or not _within(wanted.known_until_us):
        return "true"
    return f"(t.{quoted(name)} IS NULL OR t.{quoted(name)} <= {_instant(columns[name], wanted.known_until_us)})"


def _within(us: int | None) -> bool:
    return us is not None and FIRST_US < us < LAST_US


def _instant(column: PostgresColumn, us: int | None) -> str:
    """Return an instant in a type that the column is compared with by its index."""
    at = from_us(us or 0).replace(tzinfo=None).isoformat(sep=" ")
    return f"timestamptz '{at}+00'" if column.type == "timestamptz" else f"timestamp '{at}'"
