"""Reads all pairs of a generation, bucket by bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof.backends.dynamodb.layout import BUCKETS, bucket_key, key_of
from asof.backends.dynamodb.reading import is_overtaken, value_at
from asof.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.backends.dynamodb.connection import Connection
    from asof.backends.dynamodb.reading import Reader
    from asof.interfaces.online import Pairs, ViewKey


def scan(connection: Connection, reader: Reader, view: ViewKey) -> Iterator[Pairs]:
    """Yield the pairs of the current generation, unordered.

    Raises:
        ConflictError: another generation was switched in meanwhile.
        UnsupportedOperationError: a key is too long to be a sort key, and was written before keys were kept beside.
    """
    pointer = reader.pointers(view.project).views.get(view)
    if pointer is None:
        return
    for bucket in range(BUCKETS):
        if not pointer.buckets >> bucket & 1:
            continue
        for items in connection.partition(bucket_key(pointer.generation, bucket)):
            pairs: dict[bytes, bytes | None] = {}
            again: list[bytes] = []
            for item in items:
                key = key_of(item, view)
                if is_overtaken(item, pointer):
                    again.append(key)
                else:
                    pairs[key] = value_at(item, pointer)
            if again:
                [found] = reader.read(view.project, [(view, again)])
                pairs.update(zip(again, found.values, strict=True))
            known = {key: value for key, value in pairs.items() if value is not None}
            if known:
                yield pa.array(list(known), pa.binary()), pa.array(list(known.values()), pa.binary())
    now = reader.pointers(view.project).views.get(view)
    if now is None or now.generation != pointer.generation:
        raise ConflictError(
            f"View {view.view}@{view.version} changed while all of it was read",
            why="Another generation was switched in, or the view was dropped",
            fix="Try again.",
        )
