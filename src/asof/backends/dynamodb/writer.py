"""Writes one generation into items of its own, and switches it in by one conditional write of the pointers."""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import TYPE_CHECKING

import numpy as np

from asof.backends.dynamodb.layout import (
    Pointer,
    Record,
    encode,
    hashed,
    long_key,
    pointer_name,
    pointers_key,
    record_name,
    value_key,
)
from asof.backends.dynamodb.uniqueness import Seen
from asof.backends.dynamodb.updating import check_sizes
from asof.errors import AsofError, StoreError
from asof.interfaces.generations import later, repeated, with_values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any

    import pyarrow as pa

    from asof.backends.dynamodb.connection import Connection
    from asof.backends.dynamodb.generations import Generations
    from asof.backends.dynamodb.layout import Item
    from asof.interfaces.online import Generation, Progress, ViewKey

_TRIES = 100
_SHOW_S = 60.0


class DynamoWriter:
    """A `GenerationWriter`. What a writer that died left behind is deleted by a later one, an hour later.

    So is what a request writes that was given up and comes through after all.
    """

    def __init__(self, connection: Connection, generations: Generations, view: ViewKey) -> None:
        """Begin a generation under a new name."""
        self._connection = connection
        self._generations = generations
        self._view = view
        self._name = secrets.token_bytes(8)
        self._seen = Seen()
        self._buckets = 0
        self._count = 0
        self._ended = False
        self._torn = False  # whether the server may yet write what nobody waits for any more
        self._shown_s = time.monotonic()
        self._record = generations.begin(view.project, self._name)

    def put(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
        """Write pairs; a null value is skipped. Keys must be unique within the generation, in any order.

        Raises:
            InputError: a key is null or comes twice.
            UnsupportedOperationError: a value is larger than DynamoDB can hold.
            StoreError: the store failed; nothing of this generation will be seen.
        """
        keys, values = with_values(keys, values)
        listed: list[bytes] = keys.to_pylist()
        known = self._seen.add(np.fromiter(map(hashed, listed), np.uint64, len(listed)))
        twice = len(listed) - len(set(listed))
        if known.any():
            suspects = [listed[at] for at in np.flatnonzero(known)]
            twice += sum(value is not None for value in self.get(suspects))
        if twice:
            raise repeated(self._view, twice)
        self._set(listed, values)
        self._count += len(listed)

    def _set(self, keys: list[bytes], values: pa.BinaryArray) -> None:
        check_sizes(self._view, values)
        items: list[Item] = []
        for key, value in zip(keys, values.to_pylist(), strict=True):
            partition, sort = value_key(self._name, key)
            self._buckets |= 1 << partition[-1]
            items.append({"k": {"B": partition}, "s": {"B": sort}, "v": {"B": value}, **long_key(key)})
        try:
            self._connection.write_all(items)
        except BaseException:
            self._torn = True
            raise
        if time.monotonic() - self._shown_s > _SHOW_S:
            self._record = self._generations.show(self._view.project, self._name, self._record)
            self._shown_s = time.monotonic()

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what was put of these keys so far, keys in order."""
        places = [value_key(self._name, key) for key in keys]
        found = self._connection.get_all(places)
        return [found[place]["v"]["B"] if place in found else None for place in places]

    def replace(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
        """Write pairs over those that were put; keys are unique within the call, a null value forgets its key."""
        listed: list[bytes] = keys.to_pylist()
        there = sum(value is not None for value in self.get(listed))
        gone: list[bytes] = keys.filter(values.is_null()).to_pylist()
        self._set(keys.filter(values.is_valid()).to_pylist(), values.filter(values.is_valid()))
        self._connection.write_all([], [value_key(self._name, key) for key in gone])
        self._count += len(listed) - len(gone) - there

    def commit(self, instant_us: int, written_at_us: int, meaning: str, progress: Progress | None = None) -> Generation:
        """Switch the generation in, then delete the one it replaces.

        Raises:
            ConflictError: a generation of a later instant was switched in meanwhile; nothing changes.
        """
        view = self._view
        for _ in range(_TRIES):
            now = self._generations.pointers(view.project)
            current = now.views.get(view)
            if current is not None and current.generation == self._name:
                return self._switched(current)  # the answer to an earlier try was lost
            if current is not None and current.instant_us > instant_us:
                raise later(view, current.instant_us, instant_us)
            if now.records.get(record_name(self._name), (b"",))[0] != self._record:
                raise _lost(view)
            pointer = Pointer(
                number=1 if current is None else current.number + 1,
                instant_us=instant_us,
                written_at_us=written_at_us,
                meaning=meaning,
                keys=self._count,
                progress=progress,
                generation=self._name,
                buckets=self._buckets,
            )
            if self._switch(pointer, current, now.raws.get(view)):
                if current is not None:
                    self._generations.discard(view.project, current.generation, current.buckets)
                return self._switched(pointer)
        raise StoreError(f"View {view.view}@{view.version} kept changing in {self._connection.where}", fix="Try again.")

    def _switched(self, pointer: Pointer) -> Generation:
        self._ended = True
        return pointer.shown()

    def _switch(self, pointer: Pointer, current: Pointer | None, raw: bytes | None) -> bool:
        names = {"#view": pointer_name(self._view), "#own": record_name(self._name)}
        values: dict[str, Any] = {":new": {"B": encode(pointer)}, ":own": {"B": self._record}}
        expression, condition = "SET #view = :new", "#own = :own AND "
        if current is None:
            condition += "attribute_not_exists(#view)"
        else:
            names["#old"] = record_name(current.generation)
            values[":seen"] = {"B": raw}
            values[":old"] = {"B": encode(Record(int(time.time()), current.buckets, deleting=True))}
            expression += ", #old = :old"
            condition += "#view = :seen"
        done, _ = self._connection.update(
            pointers_key(self._view.project), f"{expression} REMOVE #own", names, values, condition
        )
        return done

    def __enter__(self) -> DynamoWriter:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Discard what was not committed."""
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(AsofError):  # a later writer finds it abandoned and does it
            self._generations.discard(self._view.project, self._name, self._buckets, keep=self._torn)


def _lost(view: ViewKey) -> StoreError:
    return StoreError(
        f"What was written of view {view.view}@{view.version} was removed before it was switched in",
        why="Nothing was written for an hour, or the table was emptied",
        fix="Materialize the view again.",
    )
