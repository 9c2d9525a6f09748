"""Where one partition is read on, and the proof that nothing before that place was missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis import exceptions

from asof.backends.redis.streams.ids import to_id, to_position
from asof.errors import StreamDataLossError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.client import Pipeline

Entry = tuple[int, int, bytes | None]
"""Position, size in bytes, value."""

_FIELD = b"value"
_FIX = (
    "Rebuild the views of this topic from their history, which then goes on at the oldest message. Let the stream keep "
    "more entries than a worker may be behind."
)


@dataclass
class Cursor:
    """One partition's place.

    Redis trims the oldest entries first, so if the entry before `next`, or the one at it, is still there, nothing at or
    beyond `next` was trimmed: a read begins one entry early to find it, and ends one entry late to know what follows.
    Where all are gone, the numbers that Redis keeps of entries added and left decide.

    Attributes:
        key: The stream's key.
        next: The next position to read.
        anchored: Whether anything must be proved; not for a partition without a position, which begins at its oldest.
        added: The number of entries ever added when everything had been read, if that is known.
    """

    key: str
    next: int
    anchored: bool
    added: int | None = None
    _end: tuple[int, int | None] = (-1, None)
    _seen: tuple[int, ...] = ()  # what the last read found
    _following: int = -1  # the entry that comes next, if a read has seen it

    def ask(self, pipeline: Pipeline, count: int) -> None:
        """Put the two commands of one read into a transaction."""
        start = to_id(self.next - 1) if self.anchored and self.next else "-"
        pipeline.xrange(self.key, start, "+", count + 2)
        pipeline.xinfo_stream(self.key)

    def answer(self, entries: Any, info: Any) -> list[Entry]:
        """Return what is there from `next` on.

        Raises:
            StreamDataLossError: entries at or beyond `next` are gone, or it cannot be told.
            RedisError: the server refused the read.
        """
        if isinstance(entries, exceptions.RedisError):
            raise entries
        if isinstance(info, exceptions.ResponseError) and "no such key" in str(info):
            if self.anchored and self.next:
                raise self._lost("The stream was deleted")
            return []
        if isinstance(info, exceptions.RedisError):
            raise info
        found = [_entry(entry_id, fields) for entry_id, fields in entries]
        if self.anchored and not (found and found[0][0] in (self.next - 1, self.next)):
            self._prove(info)
        self._end = (to_position(info["last-generated-id"]), info.get("entries-added"))
        if self._end[0] == self.next - 1:
            self.added = self._end[1]
        found = [entry for entry in found if entry[0] >= self.next]
        self._seen = tuple(position for position, _, _ in found)
        return found

    def advance(self, entries: Sequence[Entry]) -> None:
        """Go on after the entries that were taken."""
        if entries:
            last, added = self._end
            self.next, self.anchored = entries[-1][0] + 1, True
            self.added = added if last == entries[-1][0] else None
            self._following = self._seen[len(entries)] if len(entries) < len(self._seen) else -1

    def _prove(self, info: dict[str, Any]) -> None:
        last = to_position(info["last-generated-id"])
        if last < self.next - 1:
            raise self._lost("The stream ends before that: it was emptied or made anew")
        if last == self.next - 1:
            return
        first = info["first-entry"]
        if first is not None and to_position(first[0]) <= max(self.next, self._following):
            return
        added, left = info.get("entries-added"), info["length"]
        if added is not None and left in (added, added - self.added if self.added is not None else added):
            return
        raise self._lost("It was trimmed, and its oldest entry may not be the next one")

    def _lost(self, why: str) -> StreamDataLossError:
        return StreamDataLossError(
            f"The Redis stream {self.key!r} does not go on at {to_id(self.next)}", why=why, fix=_FIX
        )


def _entry(entry_id: bytes, fields: dict[bytes, bytes] | None) -> Entry:
    value = fields.get(_FIELD) if fields else None
    return to_position(entry_id), len(value) if value is not None else 0, value
