"""Changes values of several views in one step: beside the old ones first, then one write of the pointers counts them.

A change takes the next number of each of its views, by a condition on their pointers. Then it writes its values, each
with that number and beside the value that counted before. Then the pointers say that the number counts. Who was broken
off in between left values that never count: the next change says so when it takes its own number, and nobody has to
clean up; only the same change, tried again, goes on with them. A writer that was thought dead cannot do harm: it writes
no item that a later change wrote, and its number does not count.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
import secrets
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.compute as pc

from asof.backends.dynamodb.layout import (
    BUCKETS,
    LARGEST,
    encode,
    hashed,
    long_key,
    pointer_name,
    pointers_key,
    value_key,
)
from asof.backends.dynamodb.reading import value_at
from asof.errors import ConflictError, StoreError, UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asof.backends.dynamodb.connection import Connection
    from asof.backends.dynamodb.layout import Item, Pointer, Pointers
    from asof.backends.dynamodb.reading import Reader
    from asof.interfaces.online import Update, ViewKey

    Change = Callable[[ViewKey, Pointer], Pointer | None]

_TRIES = 50
_PAUSE_S = 0.05
_MOST_ABORTED = 90
NULL: Item = {"NULL": True}


class Updater:
    """Changes the pointers of projects, and values with them."""

    def __init__(self, connection: Connection, reader: Reader) -> None:
        """Write through a connection, and keep its reader up to date."""
        self._connection = connection
        self._reader = reader

    def announce(self, project: str, views: Sequence[ViewKey], at_us: int) -> None:
        """Note in the progress of views that arrivals are on their way; an earlier note stays."""

        def noted(_: ViewKey, pointer: Pointer) -> Pointer | None:
            progress = pointer.progress
            if progress is None or progress.pending_us is not None:
                return None
            return msgspec.structs.replace(pointer, progress=dataclasses.replace(progress, pending_us=at_us))

        self._change(project, views, noted)

    def update(self, project: str, updates: Mapping[ViewKey, Update]) -> None:
        """Write updates of one project in one step.

        Raises:
            ConflictError: a view has another generation by now, or has come further; nothing is seen of the updates.
            UnsupportedOperationError: a value is larger than DynamoDB can hold twice; nothing is written.
        """
        for update in updates.values():
            check_sizes(update.view, update.values)
        pairs = {view: list(_pairs(update)) for view, update in updates.items() if len(update.keys)}
        digests = {view: _digest(rows) for view, rows in pairs.items()}

        def claimed(view: ViewKey, pointer: Pointer) -> Pointer | None:
            _check(updates[view], pointer)
            return _claimed(view, pointer, pairs[view], digests[view]) if view in pairs else None

        taken = self._change(project, list(updates), claimed, missing=_replaced) if pairs else {}
        added = {view: self._write(view, taken[view], rows) for view, rows in pairs.items()}

        def counted(view: ViewKey, pointer: Pointer) -> Pointer:
            update = updates[view]
            _check(update, pointer)
            changed = msgspec.structs.replace(
                pointer,
                progress=update.progress,
                instant_us=max(pointer.instant_us, update.instant_us),
                keys=pointer.keys + added.get(view, 0),
            )
            if view not in pairs:
                return changed
            if pointer.claimed != taken[view].claimed:
                raise _replaced(view)
            return msgspec.structs.replace(changed, seen=pointer.claimed, digest=b"")

        self._change(project, list(updates), counted, missing=_replaced)

    def _write(self, view: ViewKey, pointer: Pointer, pairs: Sequence[tuple[bytes, bytes | None]]) -> int:
        """Write values beside those that count, and return by how many the keys that have one become more."""
        return sum(self._connection.side_by_side(lambda pair: self._write_one(view, pointer, *pair), pairs))

    def _write_one(self, view: ViewKey, pointer: Pointer, key: bytes, value: bytes | None) -> int:
        place, named = value_key(pointer.generation, key), long_key(key)
        values: dict[str, Any] = {
            ":v": NULL if value is None else {"B": value},
            ":n": {"N": str(pointer.claimed)},
        }
        beside = {**values, ":null": NULL, ":zero": {"N": "0"}} | ({":name": named["n"]} if named else {})
        condition = "attribute_not_exists(e) OR e < :n"
        if pointer.aborted:
            listed = {f":a{number}": {"N": str(number)} for number in pointer.aborted}
            beside |= listed
            condition = f"attribute_not_exists(e) OR (e < :n AND NOT (e IN ({', '.join(listed)})))"
        done, item = self._connection.update(
            place,
            "SET p = if_not_exists(v, :null), pe = if_not_exists(e, :zero), v = :v, e = :n"
            + (", n = :name" if named else ""),
            {},
            beside,
            condition,
        )
        while not done:
            number = int(item["e"]["N"])
            if number > pointer.claimed:
                raise _replaced(view)
            if number == pointer.claimed:
                break  # written before by this change: the answer was lost, or it goes on with what was broken off
            done, item = self._connection.update(
                place, "SET v = :v, e = :n", {}, {**values, ":e": {"N": str(number)}}, "e = :e"
            )
        before = value_at(item, pointer) if item else None
        return int(value is not None) - int(before is not None)

    def _change(
        self,
        project: str,
        views: Sequence[ViewKey],
        change: Change,
        missing: Callable[[ViewKey], Exception] | None = None,
    ) -> dict[ViewKey, Pointer]:
        """Change pointers in one step, and return them; where somebody else changed one meanwhile, try again."""
        for attempt in range(_TRIES):
            now = self._reader.pointers(project)
            changed: dict[ViewKey, Pointer] = {}
            for view in views:
                if view not in now.views:
                    if missing is not None:
                        raise missing(view)
                    continue
                if (pointer := change(view, now.views[view])) is not None:
                    changed[view] = pointer
            token = secrets.token_bytes(8)
            changed = {view: msgspec.structs.replace(one, token=token) for view, one in changed.items()}
            if not changed or self._swap(project, now, changed):
                return changed
            time.sleep(random.uniform(0, _PAUSE_S * (attempt + 1)))  # noqa: S311 - spreads writers that collide
        raise StoreError(
            f"The views in {self._connection.where} kept changing while they were written",
            fix="Try again with fewer writers.",
        )

    def _swap(self, project: str, now: Pointers, changed: Mapping[ViewKey, Pointer]) -> bool:
        names: dict[str, str] = {}
        values: dict[str, Any] = {}
        for at, (view, pointer) in enumerate(changed.items()):
            names[f"#{at}"] = pointer_name(view)
            values[f":{at}"], values[f":n{at}"] = {"B": now.raws[view]}, {"B": encode(pointer)}
        expression = "SET " + ", ".join(f"#{at} = :n{at}" for at in range(len(changed)))
        condition = " AND ".join(f"#{at} = :{at}" for at in range(len(changed)))
        done, item = self._connection.update(pointers_key(project), expression, names, values, condition)
        # A request whose answer was lost is repeated, and then meets what it wrote itself.
        return done or all(item.get(names[f"#{at}"]) == values[f":n{at}"] for at in range(len(changed)))


def check_sizes(view: ViewKey, values: Any) -> None:
    """Refuse values that the table cannot hold.

    Raises:
        UnsupportedOperationError: one is larger than `LARGEST`.
    """
    largest = pc.max(pc.binary_length(values)).as_py() if len(values) else None
    if largest is not None and largest > LARGEST:
        raise UnsupportedOperationError(
            f"A value of view {view.view}@{view.version} has {largest} bytes",
            why=f"An item of DynamoDB holds two values and at most 400 KB, so a value may have {LARGEST} bytes",
            fix="Give the view fewer or shorter windows or lists, or keep its project in Redis or PostgreSQL.",
        )


def _check(update: Update, pointer: Pointer) -> None:
    if pointer.number != update.generation or pointer.progress is None or pointer.progress.entry != update.entry:
        raise _replaced(update.view)


def _claimed(view: ViewKey, pointer: Pointer, pairs: Sequence[tuple[bytes, bytes | None]], digest: bytes) -> Pointer:
    """Return a pointer whose next number is taken, or as it is where the last one is this same change, broken off."""
    if pointer.claimed > pointer.seen and pointer.digest == digest:
        return pointer
    aborted = pointer.aborted
    if pointer.claimed > pointer.seen:
        aborted = (*aborted, pointer.claimed)
    if len(aborted) > _MOST_ABORTED:
        raise StoreError(
            f"{len(aborted)} changes of view {view.view}@{view.version} were broken off",
            why="What they left is told from what counts by a list, and the list is full",
            fix="Materialize the view again.",
        )
    buckets = pointer.buckets
    for key, _ in pairs:
        buckets |= 1 << hashed(key) % BUCKETS
    return msgspec.structs.replace(
        pointer, buckets=buckets, claimed=pointer.claimed + 1, digest=digest, aborted=aborted
    )


def _pairs(update: Update) -> zip[tuple[bytes, bytes | None]]:
    return zip(update.keys.to_pylist(), update.values.to_pylist(), strict=True)


def _digest(pairs: Sequence[tuple[bytes, bytes | None]]) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for key, value in pairs:
        found.update(b"%d,%d;" % (len(key), -1 if value is None else len(value)))
        found.update(key)
        found.update(value or b"")
    return found.digest()


def _replaced(view: ViewKey) -> ConflictError:
    return ConflictError(
        f"View {view.view}@{view.version} changed while arrivals were taken in",
        why="Somebody else took them in, or switched in another generation",
        fix="Try again.",
    )
