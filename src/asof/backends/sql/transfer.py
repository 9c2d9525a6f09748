"""Takes all rows out of a registry's tables and puts them into another's, and marks a registry that was moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from asof.backends.sql.tables import metadata, moved, revisions, runs, schema_version
from asof.errors import ConflictError, MovedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.backends.sql.database import Database
    from asof.interfaces.registry import RegistryContent

_OWN = (schema_version.name, moved.name)
_GROWING = (revisions, runs)
"""Tables to which rows are only added."""


def read_tables(connection: sa.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of every table, ordered by primary key."""
    return {table.name: _rows(connection, table) for table in _content()}


def refuse_other(connection: sa.Connection, content: RegistryContent, database: Database) -> None:
    """Refuse to replace what is not the beginning of a content.

    Raises:
        ConflictError: the tables hold other revisions or runs.
    """
    for table in _GROWING:
        here, there = _rows(connection, table), content.tables[table.name]
        if here != list(there[: len(here)]):
            noun = "revision" if table is revisions else "run"
            at = next((row[0] for row, other in zip(here, there, strict=False) if row != tuple(other)), len(there) + 1)
            raise ConflictError(
                f"{database.name} holds something else: {noun} {at} is not that of what would be copied",
                why="It is another project's, or both were changed since",
                fix="Copy to a registry that is empty, or give up what this one holds with --overwrite.",
            )


def write_tables(connection: sa.Connection, content: RegistryContent) -> None:
    """Replace the rows of every table."""
    for table in reversed(_content()):
        connection.execute(sa.delete(table))
    for table in _content():
        names = [column.name for column in table.columns]
        rows = [dict(zip(names, row, strict=True)) for row in content.tables.get(table.name, ())]
        if rows:
            connection.execute(sa.insert(table), rows)
    if connection.dialect.name == "postgresql":  # numbers that were given do not move the counter of the next ones
        for table in _content():
            column = table.autoincrement_column
            if column is not None:
                counter = sa.func.pg_get_serial_sequence(table.name, column.name)
                newest = sa.select(sa.func.coalesce(sa.func.max(column), 0) + 1).scalar_subquery()
                connection.execute(sa.select(sa.func.setval(counter, newest, False)))


def mark(connection: sa.Connection) -> str | None:
    """Return the mark."""
    found: str | None = connection.execute(sa.select(moved.c.mark)).scalar()
    return found


def set_mark(connection: sa.Connection, text: str | None) -> None:
    """Replace the mark."""
    connection.execute(sa.delete(moved))
    if text is not None:
        connection.execute(sa.insert(moved), {"mark": text})


def refuse_moved(connection: sa.Connection, database: Database) -> None:
    """Refuse to write what nobody would read.

    Raises:
        MovedError: there is a mark.
    """
    text = mark(connection)
    if text is not None:
        raise MovedError(f"{database.name} takes no changes: it {text}", fix="Write where it is now into asof.toml.")


def _content() -> Sequence[sa.Table]:
    return [table for table in metadata.sorted_tables if table.name not in _OWN]


def _rows(connection: sa.Connection, table: sa.Table) -> list[tuple[Any, ...]]:
    query = sa.select(table).order_by(*table.primary_key.columns)
    return [tuple(row) for row in connection.execute(query).all()]
