"""What the schema holds: a row of pointers per view version, and per generation a table of values."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg

from asof.errors import CorruptDataError
from asof.interfaces.online import Generation, Progress

if TYPE_CHECKING:
    from psycopg import Connection

    from asof.backends.postgres.settings import Settings

LAYOUT = 2
COLUMNS = (
    "storage, number, instant_us, keys, written_at_us, meaning, "
    "entry, updated_at_us, checked_at_us, newest_us, pending_us, due_us"
)
_TABLES = """
CREATE TABLE asof_online (layout integer NOT NULL);
CREATE TABLE asof_pointers (
  project text COLLATE "C", view text COLLATE "C", version integer,
  storage bigint NOT NULL UNIQUE,
  number bigint NOT NULL, instant_us bigint NOT NULL, keys bigint NOT NULL, written_at_us bigint NOT NULL,
  meaning text NOT NULL,
  entry bigint, updated_at_us bigint, checked_at_us bigint, newest_us bigint, pending_us bigint, due_us bigint,
  PRIMARY KEY (project, view, version)
) WITH (fillfactor = 50);
CREATE SEQUENCE asof_storages;
"""
_THERE = """
SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = 'asof_online'
"""
_UNUSED = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname ~ '^asof_values_[0-9]+$'
  AND NOT EXISTS (SELECT FROM asof_pointers p WHERE 'asof_values_' || p.storage = c.relname)
"""
_PATIENCE_MS = 50


def values_table(storage: int) -> str:
    """Return the name of a generation's table."""
    return f"asof_values_{storage:d}"


def generation(row: tuple[Any, ...]) -> Generation:
    """Return the generation of a row of `COLUMNS`."""
    _, number, instant_us, keys, written_at_us, meaning, entry, *rest = row
    progress = None if entry is None else Progress(entry, *rest)
    return Generation(number, instant_us, keys, written_at_us, meaning, progress)


def progress_row(progress: Progress | None) -> list[int | None]:
    """Return the last six of `COLUMNS`."""
    if progress is None:
        return [None] * 6
    come = [progress.entry, progress.updated_at_us, progress.checked_at_us, progress.newest_us]
    return [*come, progress.pending_us, progress.due_us]


def prepare(connection: Connection, settings: Settings) -> None:
    """Make the tables where there are none, and bring those of an older version of asof up to this one.

    Raises:
        CorruptDataError: they are of a newer version of asof.
    """
    found = _layout(connection, settings.schema)
    if found is None or found < LAYOUT:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"asof {settings.schema}"])
            found = _layout(connection, settings.schema)
            if found is None:
                made = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [settings.schema]).fetchone()
                if made is None:
                    connection.execute(f'CREATE SCHEMA "{settings.schema}"'.encode())
                connection.execute(_TABLES.encode(), prepare=False)
                connection.execute("INSERT INTO asof_online VALUES (%s)", [LAYOUT])
                found = LAYOUT
            elif found == 1:  # which forgot when rows of the history become known
                connection.execute("ALTER TABLE asof_pointers ADD COLUMN due_us bigint")
                connection.execute("UPDATE asof_online SET layout = 2")
                found = 2
    if found != LAYOUT:
        raise CorruptDataError(
            f"The online store in {settings.where} has layout {found}, this version of asof reads layout {LAYOUT}",
            why="It was written by a newer version of asof",
            fix="Run `pip install --upgrade asof`.",
        )


def _layout(connection: Connection, schema: str) -> int | None:
    # A look-up by name alone could still miss what was made while this transaction waited for the lock.
    if connection.execute(_THERE, [schema]).fetchone() is None:
        return None
    row = connection.execute("SELECT layout FROM asof_online").fetchone()
    return None if row is None else int(row[0])


def sweep(connection: Connection) -> None:
    """Delete tables of values that no pointer names; a table that is being read stays for the next sweep.

    A generation's table is committed together with its pointer, so a table that can be seen and is not named is old.
    """
    for (name,) in connection.execute(_UNUSED).fetchall():
        with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.InsufficientPrivilege):
            wait = f"SET LOCAL lock_timeout = {_PATIENCE_MS}; DROP TABLE IF EXISTS {name}"
            connection.execute(wait.encode(), prepare=False)
