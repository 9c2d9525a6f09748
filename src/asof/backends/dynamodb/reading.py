"""Reads several views as of one instant: the pointers decide which of an item's two values counts.

The pointers of a project are one item, so a read of it is one instant. Values are read with the pointers that were seen
last, and the pointers once more beside them: where they are the same, that was one round trip; where not, the values
are read again with the new ones. A reader that was overtaken, by two changes of one item or by the removal of a
generation, begins anew; so where a key has no item, one more look at the pointers tells why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.backends.dynamodb.layout import Pointers, pointers_key, value_key
from asof.errors import StoreError
from asof.interfaces.online import ViewRead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.backends.dynamodb.connection import Connection
    from asof.backends.dynamodb.layout import Item, Key, Pointer
    from asof.interfaces.online import ViewKey

    Requests = Sequence[tuple[ViewKey, Sequence[bytes | None]]]
    Places = list[Key | None]

_TRIES = 100


class Reader:
    """Reads projects, and remembers their pointers for the next read."""

    def __init__(self, connection: Connection) -> None:
        """Read through a connection."""
        self._connection = connection
        self._last: dict[str, Pointers] = {}

    def pointers(self, project: str) -> Pointers:
        """Return a project's pointers as they are now."""
        found = self._last[project] = Pointers(project, self._connection.get(pointers_key(project)))
        return found

    def read(self, project: str, requests: Requests) -> list[ViewRead]:
        """Return the values of requests of one project as of one instant within this call, keys in order."""
        views = {view for view, _ in requests}
        basis, is_new = self._last.get(project), False
        if basis is None:
            basis, is_new = self.pointers(project), True
        for _ in range(_TRIES):
            places = [_places(basis.views.get(view), keys) for view, keys in requests]
            items, now = self._fetch(project, [place for row in places for place in row if place is not None])
            if is_new or _same(basis, now, views):
                # Where they are the same, `now` is the later one, and the values belong to both.
                answers = _answers(requests, places, basis if is_new else now, items)
                lacking = _lacking(requests, places, items)
                if answers is not None and not lacking:
                    return answers
                now = self.pointers(project)
                if answers is not None and _still_there(basis, now, lacking):
                    return answers
            basis, is_new = now, True
        raise StoreError(f"The views in {self._connection.where} kept changing while they were read", fix="Try again.")

    def _fetch(self, project: str, places: list[Key]) -> tuple[dict[Key, Item], Pointers]:
        own = pointers_key(project)
        items = self._connection.get_all([own, *places])
        now = self._last[project] = Pointers(project, items.pop(own, None))
        return items, now


def _lacking(requests: Requests, places: list[Places], items: dict[Key, Item]) -> set[ViewKey]:
    """Return the views that lack the item of a key."""
    return {
        view
        for (view, _), row in zip(requests, places, strict=True)
        if any(place is not None and place not in items for place in row)
    }


def _still_there(basis: Pointers, now: Pointers, views: set[ViewKey]) -> bool:
    """Return whether what was not found of these views was never there, rather than removed with their generation."""
    return all(
        (later := now.views.get(view)) is not None and later.generation == basis.views[view].generation
        for view in views
    )


def _places(pointer: Pointer | None, keys: Sequence[bytes | None]) -> Places:
    if pointer is None:
        return [None] * len(keys)
    return [None if key is None else value_key(pointer.generation, key) for key in keys]


def _same(basis: Pointers, now: Pointers, views: set[ViewKey]) -> bool:
    return all(
        before.basis() == after.basis() if before is not None and after is not None else before is after
        for before, after in ((basis.views.get(view), now.views.get(view)) for view in views)
    )


def _answers(
    requests: Requests, places: list[Places], pointers: Pointers, items: dict[Key, Item]
) -> list[ViewRead] | None:
    """Return the answers, or None where an item was changed twice since the pointers were read."""
    answers: list[ViewRead] = []
    for (view, keys), row in zip(requests, places, strict=True):
        pointer = pointers.views.get(view)
        if pointer is None:
            answers.append(ViewRead(None, [None] * len(keys)))
            continue
        values: list[bytes | None] = []
        for place in row:
            item = None if place is None else items.get(place)
            if item is not None and is_overtaken(item, pointer):
                return None
            values.append(None if item is None else value_at(item, pointer))
        answers.append(ViewRead(pointer.shown(), values))
    return answers


def is_overtaken(item: Item, pointer: Pointer) -> bool:
    """Return whether neither value of an item counts for a pointer: it was changed twice since."""
    return "e" in item and not pointer.counts(int(item["e"]["N"])) and int(item["pe"]["N"]) > pointer.seen


def value_at(item: Item, pointer: Pointer) -> bytes | None:
    """Return the value of an item that counts for a pointer."""
    name = "p" if "e" in item and not pointer.counts(int(item["e"]["N"])) else "v"
    value: bytes | None = item[name].get("B")
    return value
