"""The online store over one environment: reads of all views from one snapshot, writes generation by generation."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from asof.backends.lmdb import layout, sharing
from asof.backends.lmdb.claims import held
from asof.backends.lmdb.failures import translated
from asof.backends.lmdb.scanning import scan
from asof.backends.lmdb.scrubbing import scrub
from asof.backends.lmdb.writer import LmdbWriter, empty, put_pairs
from asof.errors import ConflictError
from asof.interfaces.online import ViewRead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lmdb import Transaction

    from asof.interfaces.online import Generation, Pairs, Read, Requests, Update, ViewKey

_T = TypeVar("_T")


class LmdbStore:
    """An `OnlineStore` in a directory on a local disk; any number of processes and threads may have it open."""

    in_process = True

    def __init__(self, path: Path) -> None:
        """Open the store in a directory, creating it where there is none."""
        self._environment = sharing.acquire(path)
        self._closed = False
        self._places: dict[ViewKey, bytes] = {}
        self._decoded: dict[ViewKey, tuple[bytes, bytes, Generation]] = {}

    def write(self, view: ViewKey) -> LmdbWriter:
        """Begin a generation; leftovers of writers that died are removed."""
        return LmdbWriter(self._environment, view)

    def read(self, requests: Sequence[tuple[ViewKey, Sequence[bytes | None]]]) -> list[ViewRead]:
        """Return the values of all requests from one snapshot, keys in order; a None key has no value."""
        return self.in_snapshot(lambda read: read(requests))

    def in_snapshot(self, work: Callable[[Read], _T]) -> _T:
        """Return what `work` returns of a `read` of one transaction; it runs again where the file is to be reopened."""
        environment = self._environment
        with translated(environment.path, "be read"):
            return environment.view(lambda txn: work(lambda requests: self._look_up(txn, requests)))

    def _look_up(self, txn: Transaction[bytes], requests: Requests) -> list[ViewRead]:
        get = txn.get
        answers = []
        for view, keys in requests:
            database, generation = self._current(view, get)
            if generation is None:
                answers.append(ViewRead(None, [None] * len(keys)))
                continue
            handle = self._environment.handle(database)
            answers.append(ViewRead(generation, [None if key is None else get(key, None, handle) for key in keys]))
        return answers

    def _current(self, view: ViewKey, get: Any) -> tuple[bytes, Generation | None]:
        place = self._places.get(view)
        if place is None:
            place = self._places[view] = layout.pointer_key(view)
        raw = get(place, None, self._environment.meta)
        if raw is None:
            return b"", None
        known = self._decoded.get(view)
        if known is None or known[0] != raw:
            pointer = layout.decode_pointer(raw)
            known = self._decoded[view] = (raw, pointer.database.encode(), pointer.generation)
        return known[1], known[2]

    @contextmanager
    def exclusive(self, project: str, source: str) -> Iterator[None]:
        """Hold the lock of a source, which the system releases when the process dies."""
        with held(self._environment.path / "sources", f"{project}.{source}"):
            yield

    def announce(self, views: Sequence[ViewKey], at_us: int) -> None:
        """Note in the progress of these views that arrivals are on their way; an earlier note stays."""
        environment = self._environment

        def note(txn: Transaction[bytes]) -> None:
            for view in views:
                raw = txn.get(layout.pointer_key(view), db=environment.meta)
                pointer = None if raw is None else layout.decode_pointer(raw)
                if pointer is not None and pointer.progress is not None and pointer.progress.pending_us is None:
                    progress = dataclasses.replace(pointer.progress, pending_us=at_us)
                    changed = msgspec.structs.replace(pointer, progress=progress)
                    layout.put_pointer(txn, environment.meta, changed)

        with translated(environment.path, "be written"):
            environment.update(note)

    def update(self, updates: Sequence[Update]) -> None:
        """Write all updates in one transaction."""
        environment = self._environment

        def write(txn: Transaction[bytes]) -> None:
            for change in updates:
                raw = txn.get(layout.pointer_key(change.view), db=environment.meta)
                pointer = None if raw is None else layout.decode_pointer(raw)
                progress = None if pointer is None else pointer.progress
                if pointer is None or progress is None or pointer.number != change.generation:
                    raise _replaced(change)
                if progress.entry != change.entry:
                    raise _replaced(change)
                handle = environment.handle(pointer.database.encode())
                put_pairs(txn, handle, change.keys, change.values)
                changed = msgspec.structs.replace(
                    pointer,
                    progress=change.progress,
                    instant_us=max(pointer.instant_us, change.instant_us),
                    keys=txn.stat(handle)["entries"],
                )
                layout.put_pointer(txn, environment.meta, changed)

        with translated(environment.path, "be written"):
            environment.update(write)

    def generations(self, project: str) -> dict[ViewKey, Generation]:
        """Return the current generation of every view version of a project."""
        environment = self._environment
        with translated(environment.path, "be read"):
            found = environment.view(lambda txn: layout.pointers(txn, environment.meta, project))
        return {pointer.view_key: pointer.generation for pointer in found}

    def scan(self, view: ViewKey) -> Iterator[Pairs]:
        """Yield all keys of the current generation with their values, ordered by key."""
        return scan(self._environment, view)

    def drop(self, view: ViewKey) -> None:
        """Delete a view version's storage; unknown ones are ignored."""
        environment = self._environment

        def forget(txn: Transaction[bytes]) -> None:
            raw = txn.pop(layout.pointer_key(view), db=environment.meta)
            if raw is not None:
                empty(txn, environment, layout.decode_pointer(raw).database.encode())

        with translated(environment.path, "be written"):
            environment.update(forget)

    def scrub(self) -> None:
        """Overwrite the free pages of the file, which keep their bytes until they are used again."""
        scrub(self._environment)

    def close(self) -> None:
        """Unmap the file, unless another store of this process has it open; more than once is fine."""
        if not self._closed:
            self._closed = True
            sharing.release(self._environment)


def _replaced(change: Update) -> ConflictError:
    view = change.view
    return ConflictError(
        f"View {view.view}@{view.version} changed while arrivals were taken in",
        why="Somebody else took them in, or switched in another generation",
        fix="Try again.",
    )
