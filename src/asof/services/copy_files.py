"""Copies the files of a project's offline store, those that are new or changed, and compares their hashes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.errors import CorruptDataError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.interfaces.trees import FileTree, StoredFile

    Tell = Callable[[str, int], None]

_CHUNK_BYTES = 4 * 2**20
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


class FilesCopy:
    """Copies between two trees. Only this may write to the target."""

    def __init__(self, source: FileTree, target: FileTree, tell: Tell) -> None:
        """Copy all files; `tell` is called with a path and how many files were looked at."""
        self._source = source
        self._target = target
        self._tell = tell
        self._equal: dict[str, StoredFile] = {}

    def look(self) -> ComparedFiles:
        """Make the target hold the files of the source, and compare every byte of those not compared before.

        Raises:
            StoreError: files kept disappearing meanwhile.
            CorruptDataError: what was written to the target is not what comes back.
        """
        for _ in range(_TRIES):
            try:
                return self._once()
            except FileNotFoundError:  # joined into a larger one, replaced or forgotten meanwhile
                continue
        raise StoreError("Files of the offline store kept being replaced while they were copied", fix="Try again.")

    def _once(self) -> ComparedFiles:
        theirs = {file.path: file for file in self._source.files()}
        ours = {file.path: file for file in self._target.files()}
        changed = 0
        for number, file in enumerate(theirs.values()):
            self._tell(file.path, number)
            if self._equal.get(file.path) == file and file.path in ours:
                continue
            there = ours.get(file.path)
            digest = None
            if there is not None and there.size_bytes == file.size_bytes:
                digest = self._digest(self._source, file.path)
            if digest is None or digest != self._digest(self._target, file.path):
                self._copy(file)
                changed += 1
            self._equal[file.path] = file
        for path in ours.keys() - theirs.keys():  # last, so that what was joined is there as a whole
            self._target.remove(path)
        return ComparedFiles(len(theirs), sum(file.size_bytes for file in theirs.values()), changed)

    def _copy(self, file: StoredFile) -> None:
        digest = hashlib.sha256()
        with self._source.open(file.path) as opened:

            def chunks() -> Iterator[bytes]:
                while chunk := opened.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    yield chunk

            self._target.put(file, chunks())
        if self._digest(self._target, file.path) != digest.digest():
            raise CorruptDataError(
                f"File {file.path} of the copy is not what was written", fix="Check the disk it is on, and copy again."
            )

    def _digest(self, tree: FileTree, path: str) -> bytes:
        found = hashlib.sha256()
        with tree.open(path) as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                found.update(chunk)
        return found.digest()
