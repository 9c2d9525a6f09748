"""Named folders on local disk: filled under a temporary name, renamed when whole, renamed again before deletion."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from asof.backends.local.tables import disk_error
from asof.backends.local.temporary import alive
from asof.errors import AsofError, ConflictError, StoreError
from asof.interfaces.files import FileItem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
_CHUNK_BYTES = 8 * 2**20


class LocalFolders:
    """Folders below one directory. Names that begin with a dot are work in progress, or what a killed writer left."""

    def __init__(self, directory: Path) -> None:
        """Hold folders in `directory`, which is made when it is needed."""
        self._directory = directory

    def names(self) -> list[str]:
        """Return the names of the folders that are there whole, sorted."""
        if not self._directory.is_dir():
            return []
        return sorted(p.name for p in self._directory.iterdir() if p.is_dir() and not p.name.startswith("."))

    def path(self, name: str) -> Path:
        """Return where a folder is or would be."""
        return self._directory / name

    def file(self, name: str, file: str) -> Path:
        """Return where a file of a folder is, or would be."""
        return self._directory / name / file

    def items(self, name: str) -> list[FileItem]:
        """Return the files of a folder, by name."""
        return items_of(self._directory / name)

    def chunks(self, name: str, item: FileItem) -> Iterator[bytes]:
        """Read a file of a folder piece by piece."""
        return chunks_of(self.file(name, item.name))

    def replace(self, name: str, files: Sequence[Path]) -> None:
        """Put files in the places of those of their names, each in one step."""
        for file in files:
            try:
                file.replace(self.file(name, file.name))
            except OSError as error:
                raise disk_error(self.file(name, file.name), error) from error

    @contextmanager
    def adding(self, name: str) -> Iterator[Path]:
        """Give an empty folder that takes its name when the block ends without an error."""
        target = self.path(name)
        if target.exists():
            raise _taken(name)
        with self.working(name) as temporary:
            yield temporary
            _publish(temporary, target, name)

    @contextmanager
    def working(self, name: str) -> Iterator[Path]:
        """Give an empty folder beside those that are there, which is deleted when the block ends."""
        temporary = self._temporary(name)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            temporary.mkdir()
            yield temporary
        except AsofError:
            raise
        except OSError as error:
            raise disk_error(self.path(name), error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Delete a folder: to every reader it is there whole, or gone."""
        doomed = self._temporary(name)
        try:
            self.path(name).rename(doomed)
        except OSError as error:
            raise StoreError(
                f"{self.path(name)} cannot be deleted", why=str(error), fix="Check the path and its permissions."
            ) from error
        shutil.rmtree(doomed, ignore_errors=True)
        self._remove_leftovers()

    def _temporary(self, name: str) -> Path:
        return self._directory / f".{name}.{platform.node()}-{os.getpid()}.{uuid.uuid4().hex}.tmp"

    def _remove_leftovers(self) -> None:
        """Delete what writers on this machine left behind when they died."""
        for found in self._directory.glob(f".*.{platform.node()}-*.tmp"):
            pid = found.name.removesuffix(".tmp").rpartition(".")[0].rpartition("-")[2]
            if pid.isdigit() and not alive(int(pid)):
                shutil.rmtree(found, ignore_errors=True)


def items_of(directory: Path) -> list[FileItem]:
    """Return the files right in a directory, by name, but those that begin with a dot."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_file():
                    found.append(item_of(entry.name, entry.stat()))
    except FileNotFoundError:  # of the folder, or of a file that was deleted meanwhile
        return items_of(directory) if directory.is_dir() else []
    return sorted(found, key=lambda item: item.name)


def item_of(name: str, status: os.stat_result) -> FileItem:
    """Return what there is to say of a file."""
    return FileItem(name, status.st_size, status.st_mtime_ns, f"{status.st_ino}-{status.st_mtime_ns}")


def chunks_of(path: Path) -> Iterator[bytes]:
    """Read a file piece by piece."""
    with path.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            yield chunk


def _publish(temporary: Path, target: Path, name: str) -> None:
    try:
        for path in (*temporary.iterdir(), temporary):
            _flush(path)
        temporary.rename(target)
        _flush(target.parent)
    except OSError as error:
        raise (_taken(name) if error.errno in _TAKEN else disk_error(target, error)) from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _taken(name: str) -> ConflictError:
    return ConflictError(f"There already is one named {name!r}", fix="Choose another name, or delete that one first.")
