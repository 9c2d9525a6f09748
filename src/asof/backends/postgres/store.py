"""The online store in a schema of a PostgreSQL database: durable, and a read is one round trip."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

import psycopg

from asof.backends.postgres import layout
from asof.backends.postgres.connections import Connections
from asof.backends.postgres.failures import translated
from asof.backends.postgres.reading import Reader
from asof.backends.postgres.writer import PostgresWriter, change
from asof.circuit import Circuit
from asof.errors import ConflictError, StoreError
from asof.interfaces.online import ViewKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from psycopg import Connection

    from asof.backends.postgres.settings import Settings
    from asof.interfaces.online import Generation, Read, Update, ViewRead

_T = TypeVar("_T")
_WAIT_S = 60
_TRIES = 20
_LOCK = f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '{_WAIT_S}s'; SELECT pg_advisory_lock({{key}})"
_SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
# Whoever locks several pointers does so in one order, so that nobody waits for one who waits for them.
_LOCKED = """
  SELECT project, view, version, {columns} FROM asof_pointers AS p
  JOIN unnest(%s::text[], %s::text[], %s::int[]) AS v(project, view, version) USING (project, view, version)
  {where} ORDER BY project, view, version FOR UPDATE OF p
"""
_HELD = _LOCKED.format(columns="number, entry, storage", where="").encode()
_ANNOUNCE = f"""
WITH held AS ({_LOCKED.format(columns="storage", where="WHERE entry IS NOT NULL AND pending_us IS NULL")})
UPDATE asof_pointers AS p SET pending_us = %s FROM held AS h
WHERE p.project = h.project AND p.view = h.view AND p.version = h.version
""".encode()
_ADVANCE = b"""
UPDATE asof_pointers SET keys = keys + %s, instant_us = greatest(instant_us, %s),
  entry = %s, updated_at_us = %s, checked_at_us = %s, newest_us = %s, pending_us = %s
WHERE project = %s AND view = %s AND version = %s
"""
_FORGET = b"DELETE FROM asof_pointers WHERE project = %s AND view = %s AND version = %s"


class PostgresStore:
    """An `OnlineStore` and `SnapshotStore`; safe with threads, forks and many processes."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        self._settings = settings
        self._where = settings.where
        self.circuit = Circuit(f"The online store in {settings.where}")
        self._connections = Connections(settings)
        self._reader = Reader(settings.where)
        self._prepared = False

    def write(self, view: ViewKey) -> PostgresWriter:
        """Begin a generation; tables that could not be deleted because they were being read are, now."""
        with translated(self._where, "be written"):
            self._prepare()
            self._connections.repeatable(layout.sweep)
        return PostgresWriter(self._connections, view, self._where)

    def read(self, requests: Sequence[tuple[ViewKey, Sequence[bytes | None]]]) -> list[ViewRead]:
        """Return the values of all requests as of one instant of the store, keys in order; a None key has no value."""
        with self.circuit, translated(self._where, "be read"):
            self._prepare()
            return self._connections.repeatable(lambda connection: self._reader.read(connection, requests))

    def in_snapshot(self, work: Callable[[Read], _T]) -> _T:
        """Return what `work` returns of a `read` of one transaction; it runs again where what that saw is gone."""

        def once(connection: Connection) -> _T:
            try:
                connection.execute(_SNAPSHOT)
                return work(lambda requests: self._reader.read(connection, requests))
            finally:
                if not connection.closed:
                    connection.execute("ROLLBACK")

        with self.circuit, translated(self._where, "be read"):
            self._prepare()
            for _ in range(_TRIES):
                with suppress(psycopg.errors.UndefinedTable):
                    return self._connections.repeatable(once)
        raise StoreError(f"The views in {self._where} kept changing while they were read", fix="Try again.")

    @contextmanager
    def exclusive(self, project: str, source: str) -> Iterator[None]:
        """Hold the lock of a source on a connection of its own; the server releases it when that or we die."""
        name = f"{self._settings.schema} {project} {source}".encode()
        key = int.from_bytes(blake2b(name, digest_size=8, person=b"asof source").digest(), "big", signed=True)
        with translated(self._where, "be written"):
            self._prepare()
        with ExitStack() as lent:
            with translated(self._where, "be written"):
                connection = self._locked(lent, key, source)
            try:
                yield
            finally:
                try:
                    connection.execute("SELECT pg_advisory_unlock(%s)", [key])
                except psycopg.Error:
                    connection.close()  # and the lock with it; updates of whoever lost it are refused

    def _locked(self, lent: ExitStack, key: int, source: str) -> Connection:
        while True:
            kept = self._connections.idle
            connection = lent.enter_context(self._connections.own())
            connection.patience_s = _WAIT_S + 5
            try:
                connection.execute(_LOCK.format(key=key).encode(), prepare=False)
                return connection
            except psycopg.errors.LockNotAvailable as error:
                raise StoreError(
                    f"Somebody else has been writing {source!r} for {_WAIT_S} s",
                    why="Arrivals of one source are taken in by one process at a time",
                    fix="Try again; if it persists, look for a process that hangs.",
                ) from error
            except psycopg.OperationalError:
                lent.close()
                if not (connection.closed and kept):  # one that was kept may be dead, a new one may not
                    raise

    def announce(self, views: Sequence[ViewKey], at_us: int) -> None:
        """Note in the progress of these views that arrivals are on their way; an earlier note stays."""
        if not views:
            return
        with translated(self._where, "be written"):
            self._prepare()
            self._connections.repeatable(lambda connection: connection.execute(_ANNOUNCE, [*_names(views), at_us]))

    def update(self, updates: Sequence[Update]) -> None:
        """Write all updates in one transaction."""
        if not updates:
            return

        def write(connection: Connection) -> None:
            with connection.transaction():
                held = connection.execute(_HELD, _names([one.view for one in updates])).fetchall()
                found = {ViewKey(*row[:3]): row[3:] for row in held}
                for one in updates:
                    if found.get(one.view, ())[:2] != (one.generation, one.entry):
                        raise _replaced(one.view)
                for one in updates:
                    table = layout.values_table(found[one.view][2])
                    grown = change(connection, table, one.keys, one.values)
                    come = layout.progress_row(one.progress)
                    name = [one.view.project, one.view.view, one.view.version]
                    connection.execute(_ADVANCE, [grown, one.instant_us, *come, *name])

        with translated(self._where, "be written"):
            self._prepare()
            self._connections.repeatable(write)  # had it been committed the first time, the second would be refused

    def generations(self, project: str) -> dict[ViewKey, Generation]:
        """Return the current generation of every view version of a project."""
        query = f"SELECT view, version, {layout.COLUMNS} FROM asof_pointers WHERE project = %s".encode()
        with translated(self._where, "be read"):
            self._prepare()
            rows = self._connections.repeatable(lambda connection: connection.execute(query, [project]).fetchall())
        return {ViewKey(project, view, version): layout.generation(tuple(row)) for view, version, *row in rows}

    def drop(self, view: ViewKey) -> None:
        """Delete a view version's storage; unknown ones are ignored."""

        def forget(connection: Connection) -> None:
            connection.execute(_FORGET, [view.project, view.view, view.version])
            layout.sweep(connection)

        with translated(self._where, "be written"):
            self._prepare()
            self._connections.repeatable(forget)

    def close(self) -> None:
        """Close the connections; more than once is fine."""
        self._connections.close()

    def _prepare(self) -> None:
        if not self._prepared:
            self._connections.repeatable(lambda connection: layout.prepare(connection, self._settings))
            self._prepared = True


def _names(views: Sequence[ViewKey]) -> list[list[str] | list[int]]:
    return [[one.project for one in views], [one.view for one in views], [one.version for one in views]]


def _replaced(view: ViewKey) -> ConflictError:
    return ConflictError(
        f"View {view.view}@{view.version} changed while arrivals were taken in",
        why="Somebody else took them in, or switched in another generation",
        fix="Try again.",
    )
