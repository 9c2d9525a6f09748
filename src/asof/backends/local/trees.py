"""A file tree in a directory: files are written under a temporary name and renamed when they are whole."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from asof.backends.local.tables import disk_error
from asof.backends.local.temporary import replacing
from asof.interfaces.trees import StoredFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MARK = "moved.txt"


class LocalTree:
    """A `FileTree`. What begins with a dot is work in progress, or of this machine only."""

    def __init__(self, directory: Path) -> None:
        """Hold files below `directory`, which is made when it is needed."""
        self._directory = directory

    def files(self) -> list[StoredFile]:
        """Return the files, by path; without those being written, and without the mark."""
        found = []
        for folder, folders, names in os.walk(self._directory):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = PurePosixPath(os.path.relpath(folder, self._directory))
            for name in names:
                path = str(below / name)
                if name.startswith(".") or path == _MARK:
                    continue
                try:
                    status = (self._directory / path).stat()
                except FileNotFoundError:
                    continue
                found.append(StoredFile(path, status.st_size, status.st_mtime_ns))
        return sorted(found, key=lambda file: file.path)

    def open(self, path: str) -> BinaryIO:
        """Open a file to be read.

        Raises:
            FileNotFoundError: it is gone.
        """
        return (self._directory / path).open("rb")

    def put(self, file: StoredFile, chunks: Iterator[bytes]) -> None:
        """Write a file, in place of one that is there, durably and in one step; it keeps its time of writing."""
        target = self._directory / file.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary:
                with temporary.open("wb") as written:
                    for chunk in chunks:
                        written.write(chunk)
                    written.flush()
                    os.fsync(written.fileno())
                os.utime(temporary, ns=(file.modified_ns, file.modified_ns))
            _sync(target.parent)
        except FileNotFoundError:
            raise  # what is copied is gone
        except OSError as error:
            raise disk_error(target, error) from error

    def remove(self, path: str) -> None:
        """Delete a file, and its folder if that is empty then; one that is gone is ignored."""
        target = self._directory / path
        target.unlink(missing_ok=True)
        if target.parent != self._directory and not any(target.parent.iterdir()):
            target.parent.rmdir()

    def mark(self) -> str | None:
        """Return what `set_mark` noted last."""
        try:
            return (self._directory / _MARK).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def set_mark(self, mark: str | None) -> None:
        """Note durably that the tree was moved, or is a copy; None is no mark."""
        if mark is None:
            (self._directory / _MARK).unlink(missing_ok=True)
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        self.put(StoredFile(_MARK, 0, 0), iter([mark.encode()]))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
