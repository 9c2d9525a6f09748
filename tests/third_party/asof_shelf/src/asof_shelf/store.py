"""The store: pointers and values in two tables, every call one transaction."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from asof.errors import ConflictError, StoreError
from asof.interfaces import Generation, Progress, ViewRead
from asof_shelf.writer import ShelfWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from asof.interfaces import Update, ViewKey

_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS pointers (
  project TEXT, view TEXT, version INTEGER, place INTEGER, generation TEXT, PRIMARY KEY (project, view, version));
CREATE TABLE IF NOT EXISTS writers (place INTEGER PRIMARY KEY AUTOINCREMENT, pid INTEGER);
CREATE TABLE IF NOT EXISTS items (place INTEGER, key BLOB, value BLOB, PRIMARY KEY (place, key)) WITHOUT ROWID;
"""
_WAIT_S = 60.0


class ShelfStore:
    """An `OnlineStore`. Each call opens the file anew, so threads, forks and processes share nothing else."""

    def __init__(self, path: Path) -> None:
        """Make the file where there is none."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.transaction() as file:
            file.executescript(_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give a connection within a transaction that is kept unless the block fails."""
        file = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
        try:
            file.execute("BEGIN IMMEDIATE")
            yield file
            if file.in_transaction:
                file.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self._path} cannot be used", why=str(error), fix="Try again.") from error
        finally:
            file.close()

    def write(self, view: ViewKey) -> ShelfWriter:
        """Begin a generation; leftovers of writers that died are removed."""
        return ShelfWriter(self, view)

    def read(self, requests: Sequence[tuple[ViewKey, Sequence[bytes | None]]]) -> list[ViewRead]:
        """Return the values of all requests as of one instant of the store, keys in order; a None key has no value."""
        answers = []
        with self.transaction() as file:
            for view, keys in requests:
                place, generation = self.pointer(file, view)
                values = [None if key is None else value_of(file, place, key) for key in keys]
                answers.append(ViewRead(generation, values))
        return answers

    @contextmanager
    def exclusive(self, project: str, source: str) -> Iterator[None]:
        """Hold a source by a lock on a file of its own; it falls when the process dies."""
        name = hashlib.sha256(f"{project}\0{source}".encode()).hexdigest()[:16]
        until_s = time.monotonic() + _WAIT_S
        with self._path.with_name(f"{self._path.name}.{name}.lock").open("ab") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > until_s:
                        raise StoreError(f"Somebody else keeps writing {source!r}", fix="Try again.") from error
                    time.sleep(0.005)
            try:
                yield
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)

    def announce(self, views: Sequence[ViewKey], at_us: int) -> None:
        """Note in the progress of these views that arrivals are on their way; an earlier note stays."""
        with self.transaction() as file:
            for view in views:
                place, generation = self.pointer(file, view)
                if (
                    generation is not None
                    and generation.progress is not None
                    and generation.progress.pending_us is None
                ):
                    progress = dataclasses.replace(generation.progress, pending_us=at_us)
                    self.point(file, view, place, dataclasses.replace(generation, progress=progress))

    def update(self, updates: Sequence[Update]) -> None:
        """Write all updates in one step."""
        with self.transaction() as file:
            for update in updates:
                place, before = self.pointer(file, update.view)
                progress = before.progress if before is not None else None
                if (
                    before is None
                    or progress is None
                    or before.number != update.generation
                    or progress.entry != update.entry
                ):
                    raise ConflictError(f"View {update.view.view}@{update.view.version} changed", fix="Try again.")
                put(file, place, update.keys.to_pylist(), update.values.to_pylist())
                after = dataclasses.replace(
                    before,
                    keys=count(file, place),
                    instant_us=max(before.instant_us, update.instant_us),
                    progress=update.progress,
                )
                self.point(file, update.view, place, after)

    def generations(self, project: str) -> dict[ViewKey, Generation]:
        """Return the current generation of every view version of a project."""
        from asof.interfaces import ViewKey

        with self.transaction() as file:
            rows = file.execute("SELECT view, version, generation FROM pointers WHERE project = ?", [project])
            return {ViewKey(project, view, version): decoded(text) for view, version, text in rows}

    def scan(self, view: ViewKey) -> Iterator[tuple[pa.BinaryArray, pa.BinaryArray]]:
        """Yield all keys of the current generation with their values, ordered by key."""
        with self.transaction() as file:
            first, _ = self.pointer(file, view)
        last = b""
        while True:
            with self.transaction() as file:
                place, _ = self.pointer(file, view)
                if place != first:
                    raise ConflictError(f"View {view.view}@{view.version} changed while it was read", fix="Try again.")
                query = "SELECT key, value FROM items WHERE place = ? AND key > ? ORDER BY key LIMIT 1000"
                rows = file.execute(query, [place, last]).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield pa.array([row[0] for row in rows], pa.binary()), pa.array([row[1] for row in rows], pa.binary())

    def drop(self, view: ViewKey) -> None:
        """Delete a view version's storage; unknown ones are ignored."""
        with self.transaction() as file:
            place, _ = self.pointer(file, view)
            file.execute("DELETE FROM items WHERE place = ?", [place])
            file.execute("DELETE FROM pointers WHERE project = ? AND view = ? AND version = ?", named(view))

    def close(self) -> None:
        """Do nothing: nothing stays open."""

    def pointer(self, file: sqlite3.Connection, view: ViewKey) -> tuple[int | None, Generation | None]:
        """Return where the values of a view are, and its generation."""
        found = file.execute(
            "SELECT place, generation FROM pointers WHERE project = ? AND view = ? AND version = ?", named(view)
        ).fetchone()
        return (None, None) if found is None else (found[0], decoded(found[1]))

    def point(self, file: sqlite3.Connection, view: ViewKey, place: int | None, generation: Generation) -> None:
        """Let a view have this generation, whose values are at a place."""
        text = json.dumps(dataclasses.asdict(generation))
        file.execute("INSERT OR REPLACE INTO pointers VALUES (?, ?, ?, ?, ?)", [*named(view), place, text])


def named(view: ViewKey) -> list[str | int]:
    """Return what a view version is found by."""
    return [view.project, view.view, view.version]


def decoded(text: str) -> Generation:
    """Return a generation from its JSON."""
    found = json.loads(text)
    progress = None if found["progress"] is None else Progress(**found["progress"])
    return Generation(**{**found, "progress": progress})


def value_of(file: sqlite3.Connection, place: int | None, key: bytes) -> bytes | None:
    """Return the value of a key, or None where it is not there."""
    found = file.execute("SELECT value FROM items WHERE place = ? AND key = ?", [place, key]).fetchone()
    return None if found is None else bytes(found[0])


def put(file: sqlite3.Connection, place: int | None, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
    """Write pairs over what is there; a null value forgets its key."""
    for key, value in zip(keys, values, strict=True):
        if value is None:
            file.execute("DELETE FROM items WHERE place = ? AND key = ?", [place, key])
        else:
            file.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", [place, key, value])


def count(file: sqlite3.Connection, place: int | None) -> int:
    """Return how many keys there are."""
    return int(file.execute("SELECT count(*) FROM items WHERE place = ?", [place]).fetchone()[0])
