"""Reads all pairs of a generation: the server walks through its hash, which may give a field twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof.backends.redis.failures import reading
from asof.backends.redis.online import pointers
from asof.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.backends.redis.online.places import Place
    from asof.interfaces.online import Pairs, ViewKey

_COUNT = 2000


def scan(place: Place, view: ViewKey) -> Iterator[Pairs]:
    """Yield the pairs of the current generation, unordered; what keys came already is kept in memory meanwhile.

    Raises:
        ConflictError: another generation was switched in meanwhile, the values are gone, or another server has them,
            which walks in an order of its own.
    """
    lines, where = place.lines, place.where
    named = place.names.pointers(view.project), pointers.field(view) + b"\1"
    with reading(where):
        name = lines.ask("HGET", *named)
    server = lines.peer
    if name is None:
        return
    seen: set[bytes] = set()
    cursor = b"0"
    while True:
        with reading(where):
            cursor, flat = lines.ask("HSCAN", name, cursor, "COUNT", _COUNT)
        if lines.peer != server:
            raise _changed(view)
        found = dict(zip(flat[::2], flat[1::2], strict=True))
        fresh = [key for key in found if key != pointers.MARK and key not in seen]
        if fresh:
            seen.update(fresh)
            yield pa.array(fresh, pa.binary()), pa.array([found[key] for key in fresh], pa.binary())
        if cursor in (b"0", 0):
            break
    with reading(where):
        now, marked = lines.ask("HGET", *named), lines.ask("HEXISTS", name, pointers.MARK)
    if now != name or not marked:
        raise _changed(view)


def _changed(view: ViewKey) -> ConflictError:
    return ConflictError(
        f"View {view.view}@{view.version} changed while all of it was read",
        why="Another generation was switched in, the view was dropped, or another server of a cluster took over",
        fix="Try again.",
    )
