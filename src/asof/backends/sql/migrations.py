"""Brings a registry's tables to the layout of this version, step by step, each opening in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import sqlalchemy as sa

from asof.backends.sql.tables import SCHEMA_VERSION, api_keys, audit, metadata, moved, runs, schema_version
from asof.errors import CorruptDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asof.backends.sql.database import Database


def _index_runs(connection: sa.Connection) -> None:
    """Layout 1 knew runs by source only, and at first had no runs."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(runs.name):
        runs.create(connection)
        return
    known = {index["name"] for index in inspector.get_indexes(runs.name)}
    for index in runs.indexes:
        if index.name not in known:
            index.create(connection)
    if "ix_asof_runs_source" in known:
        connection.execute(sa.text("DROP INDEX ix_asof_runs_source"))


def _add_access(connection: sa.Connection) -> None:
    """Layout 2 had neither API keys nor an audit log."""
    metadata.create_all(connection, tables=[api_keys, audit], checkfirst=True)


def _know_moves(connection: sa.Connection) -> None:
    """Layout 3 could not say that a registry was moved."""
    moved.create(connection, checkfirst=True)


STEPS: Mapping[int, Callable[[sa.Connection], None]] = {1: _index_runs, 2: _add_access, 3: _know_moves}
"""By the layout that each starts from; it ends at the next one."""


def prepare(database: Database) -> None:
    """Make the tables where there are none, and upgrade older ones.

    Whoever opens it meanwhile waits, and finds it done; where a step fails, the registry stays as it was.

    Raises:
        CorruptDataError: the layout is one of a newer version of asof, or none.
        StoreError: the database failed, or refuses to make tables.
    """
    with database.transaction() as connection:
        found = _layout(connection)
    if found is None or found < SCHEMA_VERSION:
        with database.transaction(writes=True) as connection:
            found = _upgrade(connection, database)
    if found != SCHEMA_VERSION:
        raise CorruptDataError(
            f"{database.name} has layout {found}, this version of asof reads layout {SCHEMA_VERSION}",
            why="It was written by a newer version of asof",
            fix="Run `pip install --upgrade asof`.",
        )


def _upgrade(connection: sa.Connection, database: Database) -> int:
    found = _layout(connection)
    if found is None:
        metadata.create_all(connection, checkfirst=True)
        connection.execute(sa.insert(schema_version), {"version": SCHEMA_VERSION})
        return SCHEMA_VERSION
    while found < SCHEMA_VERSION:
        if found not in STEPS:
            raise CorruptDataError(
                f"{database.name} has layout {found}, which no version of asof wrote",
                fix="Restore it from a backup.",
            )
        STEPS[found](connection)
        found += 1
        connection.execute(sa.update(schema_version).values(version=found))
    return found


def _layout(connection: sa.Connection) -> int | None:
    if not sa.inspect(connection).has_table(schema_version.name):
        return None
    return cast("int | None", connection.execute(sa.select(schema_version.c.version)).scalar())
