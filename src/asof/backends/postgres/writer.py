"""Writes one generation into a table of its own, and switches it in with its pointer, in one transaction."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg

from asof.backends.postgres import layout, packing
from asof.backends.postgres.failures import translated
from asof.errors import InputError
from asof.interfaces.generations import later, with_values
from asof.interfaces.online import Generation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import pyarrow as pa
    from psycopg import Connection

    from asof.backends.postgres.connections import Connections
    from asof.interfaces.online import Progress, ViewKey

_BEGIN = (
    b"BEGIN ISOLATION LEVEL READ COMMITTED; "
    b"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
)
_SWITCH = b"""
INSERT INTO asof_pointers AS p (project, view, version, storage, number, instant_us, keys, written_at_us, meaning,
  entry, updated_at_us, checked_at_us, newest_us, pending_us, due_us)
VALUES (%s, %s, %s, %s, 1, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (project, view, version) DO UPDATE SET storage = excluded.storage, number = p.number + 1,
  instant_us = excluded.instant_us, keys = excluded.keys, written_at_us = excluded.written_at_us,
  meaning = excluded.meaning, entry = excluded.entry, updated_at_us = excluded.updated_at_us,
  checked_at_us = excluded.checked_at_us, newest_us = excluded.newest_us, pending_us = excluded.pending_us,
  due_us = excluded.due_us
WHERE p.instant_us <= excluded.instant_us
RETURNING number
"""
_INSTANT = b"SELECT instant_us FROM asof_pointers WHERE project = %s AND view = %s AND version = %s"


class PostgresWriter:
    """A `GenerationWriter`: one transaction on a connection of its own, so one that dies leaves nothing behind."""

    def __init__(self, connections: Connections, view: ViewKey, where: str) -> None:
        """Write nothing yet."""
        self._connections = connections
        self._view = view
        self._where = where
        self._lent = ExitStack()
        self._storage = 0
        self._count = 0
        self._indexed = False

    def __enter__(self) -> PostgresWriter:
        """Begin the transaction, and its table."""
        with translated(self._where, "be written"):
            self._connection: Connection = self._lent.enter_context(self._connections.own())
            try:
                self._connection.execute(_BEGIN, prepare=False)
                self._storage = scalar(self._connection.execute("SELECT nextval('asof_storages')"))
                self._table = layout.values_table(self._storage)
                self._run(f"CREATE TABLE {self._table} (key bytea NOT NULL, value bytea NOT NULL) WITH (fillfactor=80)")
                self._run(f"ALTER TABLE {self._table} ALTER value SET STORAGE EXTERNAL")
            except BaseException:
                self._lent.close()
                raise
        return self

    def put(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
        """Write pairs; a null value is skipped. Keys must be unique within the generation, in any order.

        Raises:
            InputError: a key is null or comes twice; the latter may be found by the commit only.
            StoreError: the store failed; nothing of this generation will be seen.
        """
        keys, values = with_values(keys, values)
        if not len(keys):
            return
        copy = f"COPY {self._table} (key, value) FROM STDIN (FORMAT binary, FREEZE)".encode()
        with (
            translated(self._where, "be written"),
            self._twice(),
            self._connection.cursor() as cursor,
            cursor.copy(copy) as target,
        ):
            target.write(packing.COPY_BEGIN)
            for block in packing.rows(keys, values):
                target.write(block)
            target.write(packing.COPY_END)
        self._count += len(keys)

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what was put of these keys so far, keys in order."""
        self._index()
        look_up = (
            f"SELECT ARRAY(SELECT (SELECT v.value FROM {self._table} v WHERE v.key = k.key) "
            "FROM unnest(%s::bytea[]) WITH ORDINALITY AS k(key, n) ORDER BY k.n)"
        )
        with translated(self._where, "be read"), self._connection.cursor(binary=True) as cursor:
            row = cursor.execute(look_up.encode(), [packing.from_list(keys)]).fetchone()
        return [] if row is None else list(row[0])

    def replace(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
        """Write pairs over those that were put; keys are unique within the call, a null value forgets its key."""
        self._index()
        with translated(self._where, "be written"):
            self._count += change(self._connection, self._table, keys, values)

    def commit(self, instant_us: int, written_at_us: int, meaning: str, progress: Progress | None = None) -> Generation:
        """Switch the generation in and free the one it replaces, in one transaction.

        Raises:
            ConflictError: a generation of a later instant was switched in meanwhile; nothing changes.
            InputError: a key was put twice.
        """
        self._index()
        view, connection = self._view, self._connection
        name = [view.project, view.view, view.version]
        known = [self._storage, instant_us, self._count, written_at_us, meaning]
        come = layout.progress_row(progress)
        with translated(self._where, "be written"):
            row = connection.execute(_SWITCH, [*name, *known, *come]).fetchone()
            if row is None:
                raise later(view, scalar(connection.execute(_INSTANT, name)), instant_us)
            connection.execute("COMMIT")
        self._lent.close()
        with translated(self._where, "be written"), self._connections.shared() as swept:
            layout.sweep(swept)
        return Generation(row[0], instant_us, self._count, written_at_us, meaning, progress)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Discard what was not committed: a connection that is given back amid a transaction is closed."""
        self._lent.close()

    def _index(self) -> None:
        if not self._indexed:
            with translated(self._where, "be written"), self._twice():
                self._run(f"ALTER TABLE {self._table} ADD PRIMARY KEY (key)")
            self._indexed = True

    def _run(self, statement: str) -> None:
        self._connection.execute(statement.encode(), prepare=False)

    def _twice(self) -> _Unique:
        return _Unique(self._view)


class _Unique:
    """Explains that a key came twice."""

    def __init__(self, view: ViewKey) -> None:
        self._view = view

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, psycopg.errors.UniqueViolation):
            raise InputError(
                f"A key of view {self._view.view!r} comes twice",
                why="A generation has one value per entity",
                fix="Report this: it is a defect of what builds the values.",
            ) from error


def change(connection: Connection, table: str, keys: pa.BinaryArray, values: pa.BinaryArray) -> int:
    """Write pairs over what is in a table, delete those without a value; return by how many rows it grew."""
    grown = 0
    if values.null_count:
        gone = packing.from_arrow(keys.filter(values.is_null()))
        keys, values = keys.filter(values.is_valid()), values.filter(values.is_valid())
        grown -= connection.execute(f"DELETE FROM {table} WHERE key = ANY(%s::bytea[])".encode(), [gone]).rowcount
    written = (
        f"WITH written AS (INSERT INTO {table} (key, value) SELECT * FROM unnest(%s::bytea[], %s::bytea[]) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value RETURNING xmax = 0 AS added) "
        "SELECT count(*) FILTER (WHERE added) FROM written"
    ).encode()
    for at, count in packing.slices(keys, values):
        pairs = [packing.from_arrow(keys.slice(at, count)), packing.from_arrow(values.slice(at, count))]
        grown += scalar(connection.execute(written, pairs))
    return grown


def scalar(answer: psycopg.Cursor[Any]) -> int:
    """Return the number that a statement answers with."""
    row = answer.fetchone()
    return 0 if row is None else int(row[0])
