"""Writes one generation at a place of its own, where nobody reads before the pointer names it."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from asof.errors import ConflictError, InputError
from asof.interfaces import Generation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import pyarrow as pa

    from asof.interfaces import Progress, ViewKey
    from asof_shelf.store import ShelfStore


class ShelfWriter:
    """A `GenerationWriter`."""

    def __init__(self, store: ShelfStore, view: ViewKey) -> None:
        """Take a place, and remove what writers that died left."""
        self._store = store
        self._view = view
        with store.transaction() as file:
            for place, pid in file.execute("SELECT place, pid FROM writers").fetchall():
                if not _lives(pid):
                    _discard(file, place)
            self._place = file.execute("INSERT INTO writers (pid) VALUES (?)", [os.getpid()]).lastrowid

    def put(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
        """Write pairs; a null value is skipped. Keys must be unique within the generation, in any order."""
        if keys.null_count:
            raise InputError("A key is null", fix="Give no null key.")
        pairs = zip(keys.to_pylist(), values.to_pylist(), strict=True)
        rows = [(self._place, key, value) for key, value in pairs if value is not None]
        try:
            with self._store.transaction() as file:
                file.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
        except sqlite3.IntegrityError as error:
            raise InputError(f"A key of view {self._view.view!r} comes twice", fix="Give each key once.") from error

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what was put of these keys so far, keys in order."""
        from asof_shelf.store import value_of

        with self._store.transaction() as file:
            return [value_of(file, self._place, key) for key in keys]

    def replace(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
        """Write pairs over those that were put; a null value forgets its key."""
        from asof_shelf.store import put

        with self._store.transaction() as file:
            put(file, self._place, keys.to_pylist(), values.to_pylist())

    def commit(self, instant_us: int, written_at_us: int, meaning: str, progress: Progress | None = None) -> Generation:
        """Switch the generation in and free the one it replaces, in one transaction."""
        from asof_shelf.store import count

        with self._store.transaction() as file:
            old, current = self._store.pointer(file, self._view)
            if current is not None and current.instant_us > instant_us:
                name = f"{self._view.view}@{self._view.version}"
                raise ConflictError(f"View {name} already holds a later instant", fix="Materialize a later one.")
            number = 1 if current is None else current.number + 1
            keys = count(file, self._place)
            generation = Generation(number, instant_us, keys, written_at_us, meaning, progress)
            self._store.point(file, self._view, self._place, generation)
            file.execute("DELETE FROM items WHERE place = ?", [old])
            file.execute("DELETE FROM writers WHERE place = ?", [self._place])
        return generation

    def __enter__(self) -> ShelfWriter:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Discard what was not committed."""
        with self._store.transaction() as file:
            if file.execute("SELECT 1 FROM writers WHERE place = ?", [self._place]).fetchone():
                _discard(file, self._place)


def _discard(file: sqlite3.Connection, place: int | None) -> None:
    file.execute("DELETE FROM items WHERE place = ?", [place])
    file.execute("DELETE FROM writers WHERE place = ?", [place])


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
