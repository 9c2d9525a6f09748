"""Reads all pairs of a generation, each few thousand in a transaction of their own, so that no old page is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof.backends.lmdb import layout
from asof.backends.lmdb.failures import translated
from asof.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmdb import Transaction

    from asof.backends.lmdb.environment import Environment
    from asof.interfaces.online import Pairs, ViewKey

_PAIRS = 2000
_BYTES = 16 * 2**20


def scan(environment: Environment, view: ViewKey) -> Iterator[Pairs]:
    """Yield the pairs of the current generation, ordered by key."""
    place = layout.pointer_key(view)
    database: bytes | None = None
    last: bytes | None = None

    def batch(txn: Transaction[bytes]) -> tuple[bytes | None, list[bytes], list[bytes]]:
        raw = txn.get(place, db=environment.meta)
        found = None if raw is None else layout.decode_pointer(raw).database.encode()
        keys: list[bytes] = []
        values: list[bytes] = []
        if found is None or (database is not None and found != database):
            return found, keys, values
        size = 0
        with txn.cursor(db=environment.handle(found)) as cursor:
            there = cursor.first() if last is None else cursor.set_range(last)
            if there and last is not None and cursor.key() == last:
                there = cursor.next()
            while there and len(keys) < _PAIRS and size < _BYTES:
                keys.append(cursor.key())
                values.append(cursor.value())
                size += len(values[-1])
                there = cursor.next()
        return found, keys, values

    while True:
        with translated(environment.path, "be read"):
            found, keys, values = environment.view(batch)
        if database is not None and found != database:
            raise ConflictError(
                f"View {view.view}@{view.version} changed while all of it was read",
                why="Another generation was switched in, or the view was dropped",
                fix="Try again.",
            )
        if not keys:
            return
        database, last = found, keys[-1]
        yield pa.array(keys, pa.binary()), pa.array(values, pa.binary())
