"""Copies the files of a project's offline store, those that are new or changed, and compares their hashes."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from asof.errors import CorruptDataError, StoreError
from asof.services.moved import MARK_FILE
from asof.services.serving_log import FOLDER
from asof.services.training_sets import SHELF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from asof.interfaces import Files, FolderShelf, OfflinePlace
    from asof.interfaces.files import FileItem

    Tell = Callable[[str, int], None]

SHELVES = (FOLDER, SHELF)
"""The folders of an offline store whose folders are there whole or not at all; in the others each file is."""
_TRIES = 20


@dataclass(frozen=True)
class ComparedFiles:
    """What one look at all files found.

    Attributes:
        files: How many there are.
        size_bytes: Of all of them.
        changed: How many were written because they were not there, or others.
    """

    files: int
    size_bytes: int
    changed: int


@dataclass(frozen=True)
class _Stored:
    """A file, and what reads it."""

    item: FileItem
    chunks: Callable[[], Iterator[bytes]]


class _GoneError(StoreError):
    """A file was joined into a larger one, replaced or forgotten while it was copied."""


class FilesCopy:
    """Copies between two places, of whatever kind. Only this may write to the target."""

    def __init__(self, source: OfflinePlace, target: OfflinePlace, tell: Tell) -> None:
        """Copy all files; `tell` is called with a path and how many files were looked at."""
        self._source = source
        self._target = target
        self._tell = tell
        self._equal: dict[str, tuple[FileItem, FileItem]] = {}
        self._tidied = False

    def look(self) -> ComparedFiles:
        """Make the target hold the files of the source, and compare every byte of those not compared before.

        Raises:
            StoreError: files kept disappearing meanwhile.
            CorruptDataError: what was written to the target is not what comes back.
        """
        for _ in range(_TRIES):
            try:
                return self._once()
            except (FileNotFoundError, _GoneError):
                continue
        raise StoreError("Files of the offline store kept being replaced while they were copied", fix="Try again.")

    def count(self) -> ComparedFiles:
        """Return what there is to copy."""
        sizes = sizes_of(self._source)
        return ComparedFiles(len(sizes), sum(sizes.values()), 0)

    def is_same(self) -> bool:
        """Return whether both places have files of the same names and sizes."""
        return sizes_of(self._source) == sizes_of(self._target)

    def _once(self) -> ComparedFiles:
        if not self._tidied:  # else what is written where a removal was cut off would not be seen
            for place in _folders(self._target).values():
                place.tidy()
            self._tidied = True
        ours = _files(self._target)
        theirs = _files(self._source)
        found = dict(theirs)
        changed = 0
        for path, file in theirs.items():
            self._tell(path, len(self._equal))
            if not self._is_equal(path, file, ours.get(path)):
                self._copy(path, file)
                changed += 1
        for name in SHELVES:
            source, target = self._source.shelf(name), self._target.shelf(name)
            there = set(target.names())
            for folder in source.names():
                files = {f"{name}/{folder}/{file}": one for file, one in _contents(source, folder).items()}
                if files:  # else it was removed meanwhile
                    found |= files
                    changed += self._copy_folder(target, folder, files, present=folder in there)
                    there.discard(folder)
            for folder in there:
                target.remove(folder)
        self._remove(ours.keys() - theirs.keys())  # last, so that what was joined is there as a whole
        return ComparedFiles(len(found), sum(one.item.size_bytes for one in found.values()), changed)

    def _is_equal(self, path: str, file: _Stored, own: _Stored | None) -> bool:
        if own is None or own.item.size_bytes != file.item.size_bytes:
            return False
        if self._equal.get(path) != (file.item, own.item):
            if _digest(file) != _digest(own):
                return False
            self._equal[path] = (file.item, own.item)
        return True

    def _copy(self, path: str, file: _Stored) -> None:
        digests: list[bytes] = []
        folder, _, name = path.rpartition("/")
        target = self._target.files(folder)
        target.replace(name, lambda temporary: digests.append(_write(file, temporary)))
        item = target.find(name)
        self._require(path, file, None if item is None else _in(target, item), digests[-1])

    def _copy_folder(self, shelf: FolderShelf, name: str, files: Mapping[str, _Stored], *, present: bool) -> int:
        """Return how many files were written: all of the folder, or none."""
        if present:
            own = {path.rpartition("/")[2]: path for path in files}
            there = _contents(shelf, name)
            if own.keys() == there.keys() and all(
                self._is_equal(path, files[path], there[file]) for file, path in own.items()
            ):
                return 0
            shelf.remove(name)
        digests = {}
        with shelf.adding(name) as temporary:
            for path, file in files.items():
                self._tell(path, len(self._equal))
                digests[path] = _write(file, temporary / path.rpartition("/")[2])
        there = _contents(shelf, name)
        for path, file in files.items():
            self._require(path, file, there.get(path.rpartition("/")[2]), digests[path])
        return len(files)

    def _require(self, path: str, file: _Stored, own: _Stored | None, digest: bytes) -> None:
        if own is None or _digest(own) != digest:
            raise CorruptDataError(
                f"File {path} of the copy is not what was written", fix="Check the store it is in, and copy again."
            )
        self._equal[path] = (file.item, own.item)

    def _remove(self, paths: set[str]) -> None:
        folders = _folders(self._target)
        kept = _folders(self._source).keys()
        for path in sorted(paths):
            folder, _, name = path.rpartition("/")
            folders[folder].delete([name])
        for folder in sorted(folders.keys() - kept, reverse=True):  # those in others first
            above, _, name = folder.rpartition("/")
            folders[above].remove_folder(name)


def sizes_of(place: OfflinePlace) -> dict[str, int]:
    """Return the sizes of all files by path; without those being written, and without the mark."""
    sizes = {path: one.item.size_bytes for path, one in _files(place).items()}
    for name in SHELVES:
        shelf = place.shelf(name)
        for folder in shelf.names():
            sizes |= {f"{name}/{folder}/{file}": one.item.size_bytes for file, one in _contents(shelf, folder).items()}
    return sizes


def _folders(place: OfflinePlace) -> dict[str, Files]:
    """Return all folders but shelves by path; that of the place itself is empty."""
    found: dict[str, Files] = {}
    waiting = [""]
    while waiting:
        path = waiting.pop()
        found[path] = place.files(path)
        below = found[path].folders()
        waiting += [f"{path}/{name}" for name in below] if path else [name for name in below if name not in SHELVES]
    return found


def _files(place: OfflinePlace) -> dict[str, _Stored]:
    """Return all files but those on shelves, by path."""
    found = {}
    for path, folder in sorted(_folders(place).items()):
        for item in folder.items():
            if path or item.name != MARK_FILE:
                found[f"{path}/{item.name}" if path else item.name] = _in(folder, item)
    return found


def _contents(shelf: FolderShelf, name: str) -> dict[str, _Stored]:
    return {item.name: _Stored(item, partial(shelf.chunks, name, item)) for item in shelf.items(name)}


def _in(folder: Files, item: FileItem) -> _Stored:
    return _Stored(item, partial(folder.chunks, item))


def _write(file: _Stored, target: Path) -> bytes:
    """Write a file to a path, with its time of writing, and return its hash."""
    digest = hashlib.sha256()
    with target.open("wb") as sink:
        try:
            for chunk in file.chunks():
                digest.update(chunk)
                sink.write(chunk)
        except FileNotFoundError as error:
            raise _GoneError(f"{file.item.name} is gone", fix="Try again.") from error
    os.utime(target, ns=(file.item.modified_ns, file.item.modified_ns))
    return digest.digest()


def _digest(file: _Stored) -> bytes:
    found = hashlib.sha256()
    for chunk in file.chunks():
        found.update(chunk)
    return found.digest()
