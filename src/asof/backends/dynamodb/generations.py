"""Knows which generations are being written or deleted, and deletes what nothing points to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from asof.backends.dynamodb.layout import (
    BUCKETS,
    Record,
    bucket_key,
    encode,
    generation_of,
    pointer_name,
    pointers_key,
    record_name,
)

if TYPE_CHECKING:
    from asof.backends.dynamodb.connection import Connection
    from asof.backends.dynamodb.layout import Item, Pointers
    from asof.backends.dynamodb.reading import Reader
    from asof.interfaces.online import ViewKey

_DEAD_AFTER_S = 3600
_ALL = (1 << BUCKETS) - 1


class Generations:
    """The records of generations that no pointer names, kept beside the pointers and changed together with them."""

    def __init__(self, connection: Connection, reader: Reader) -> None:
        """Work through a connection, and keep its reader up to date."""
        self._connection = connection
        self._reader = reader

    def pointers(self, project: str) -> Pointers:
        """Return a project's pointers as they are now."""
        return self._reader.pointers(project)

    def begin(self, project: str, generation: bytes) -> bytes:
        """Note that a generation is being written, delete those that were abandoned, and return the new record."""
        now_s = int(time.time())
        for name, (raw, record) in self.pointers(project).records.items():
            if now_s - record.seen_s > _DEAD_AFTER_S:
                taken = encode(Record(now_s, record.buckets, deleting=True))
                done, _ = self._connection.update(
                    pointers_key(project),
                    "SET #g = :g",
                    {"#g": name},
                    {":g": {"B": taken}, ":r": {"B": raw}},
                    "#g = :r",
                )
                if done:
                    self.discard(project, generation_of(name), record.buckets)
        return self._set(project, generation, {}, "attribute_not_exists(#g)")

    def show(self, project: str, generation: bytes, raw: bytes) -> bytes:
        """Note that a generation is still being written, unless its record is another one; return the new one."""
        return self._set(project, generation, {":r": {"B": raw}}, "#g = :r")

    def _set(self, project: str, generation: bytes, values: Item, condition: str) -> bytes:
        record = encode(Record(int(time.time()), _ALL, deleting=False))
        self._connection.update(
            pointers_key(project),
            "SET #g = :g",
            {"#g": record_name(generation)},
            {":g": {"B": record}, **values},
            condition,
        )
        return record

    def discard(self, project: str, generation: bytes, buckets: int, *, keep: bool = False) -> None:
        """Delete the values of a generation that nothing points to, then its record, unless it is to be kept."""
        partitions = [bucket_key(generation, at) for at in range(BUCKETS) if buckets >> at & 1]
        self._connection.side_by_side(self._connection.empty, partitions)
        if keep:
            return
        name = record_name(generation)
        self._connection.update(pointers_key(project), "REMOVE #g", {"#g": name}, {}, "attribute_exists(#g)")

    def drop(self, view: ViewKey) -> None:
        """Delete a view version; unknown ones are ignored."""
        while True:
            now = self.pointers(view.project)
            pointer = now.views.get(view)
            if pointer is None:
                return
            record = encode(Record(int(time.time()), pointer.buckets, deleting=True))
            done, _ = self._connection.update(
                pointers_key(view.project),
                "SET #g = :g REMOVE #view",
                {"#view": pointer_name(view), "#g": record_name(pointer.generation)},
                {":g": {"B": record}, ":seen": {"B": now.raws[view]}},
                "#view = :seen",
            )
            if done:
                self.discard(view.project, pointer.generation, pointer.buckets)
                return
