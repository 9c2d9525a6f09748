"""Reads all pairs of a generation in the order of their keys, each few thousand by a statement of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pyarrow as pa

from asof.backends.postgres.failures import translated
from asof.backends.postgres.layout import values_table
from asof.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from asof.backends.postgres.connections import Connections
    from asof.interfaces.online import Pairs, ViewKey

_PAIRS = 2000
_STORAGE = b"SELECT storage FROM asof_pointers WHERE project = %s AND view = %s AND version = %s"


def scan(connections: Connections, view: ViewKey, where: str) -> Iterator[Pairs]:
    """Yield the pairs of the current generation, ordered by key.

    Raises:
        ConflictError: another generation was switched in meanwhile.
    """

    def storage(connection: Connection) -> int | None:
        row = connection.execute(_STORAGE, [view.project, view.view, view.version]).fetchone()
        return None if row is None else int(row[0])

    with translated(where, "be read"):
        place = connections.repeatable(storage)
    if place is None:
        return
    last: bytes | None = None

    def batch(connection: Connection) -> list[tuple[bytes, bytes]]:
        after = "" if last is None else "WHERE key > %s"
        query = f"SELECT key, value FROM {values_table(place)} {after} ORDER BY key LIMIT {_PAIRS}".encode()
        with connection.cursor(binary=True) as cursor:
            return cursor.execute(query, [] if last is None else [last]).fetchall()

    while True:
        with translated(where, "be read"):
            try:
                rows = connections.repeatable(batch)
            except psycopg.errors.UndefinedTable:
                rows = []
        if not rows:
            break
        last = rows[-1][0]
        yield pa.array([row[0] for row in rows], pa.binary()), pa.array([row[1] for row in rows], pa.binary())
    with translated(where, "be read"):
        now = connections.repeatable(storage)
    if now != place:
        raise ConflictError(
            f"View {view.view}@{view.version} changed while all of it was read",
            why="Another generation was switched in, or the view was dropped",
            fix="Try again.",
        )
