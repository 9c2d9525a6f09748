"""A directory on local disk as an `OfflinePlace` of `Files`: written under a temporary name, then linked or renamed."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from asof.backends.local.folders import LocalFolders, chunks_of, item_of, items_of
from asof.backends.local.tables import disk_error
from asof.backends.local.temporary import remove_leftovers, replacing, temporary_name
from asof.errors import AsofError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from asof.interfaces.files import FileItem, Files


class DiskFiles:
    """A folder, which the first file makes."""

    def __init__(self, directory: Path) -> None:
        """Keep files in `directory`."""
        self.directory = directory

    def below(self, name: str) -> DiskFiles:
        """Return the folder of a name in this one."""
        return DiskFiles(self.directory / name)

    def beside(self, name: str) -> DiskFiles:
        """Return the folder of a name next to this one."""
        return DiskFiles(self.directory.with_name(name))

    def place(self, name: str = "") -> str:
        """Return the path of a file in it, or its own."""
        return str(self.directory / name)

    def items(self) -> list[FileItem]:
        """Return the files right in it, by name."""
        return items_of(self.directory)

    def folders(self) -> list[str]:
        """Return the names of the folders right in it, sorted."""
        return LocalFolders(self.directory).names()

    def find(self, name: str) -> FileItem | None:
        """Return a file, or None where it is not there."""
        try:
            return item_of(name, (self.directory / name).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def fetch(self, item: FileItem) -> Path:
        """Return where a file is."""
        return self.directory / item.name

    def chunks(self, item: FileItem) -> Iterator[bytes]:
        """Read a file piece by piece."""
        return chunks_of(self.directory / item.name)

    def create(self, name: str, write: Callable[[Path], object]) -> None:
        """Add a file; a link, unlike a rename, fails where somebody was faster."""
        target = self.directory / name
        temporary = temporary_name(target)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            try:
                write(temporary)
                _sync(temporary)
                os.link(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
            _sync(self.directory)
        except (AsofError, FileExistsError):
            raise
        except OSError as error:
            raise disk_error(target, error) from error

    def replace(self, name: str, write: Callable[[Path], object]) -> None:
        """Put a file in the place of the one that may be there."""
        target = self.directory / name
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with replacing(target, leftovers=False) as temporary:
                write(temporary)
                _sync(temporary)
            _sync(self.directory)
        except AsofError:
            raise
        except OSError as error:
            raise disk_error(target, error) from error

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, in this order."""
        for name in names:
            try:
                (self.directory / name).unlink(missing_ok=True)
            except OSError as error:
                raise disk_error(self.directory / name, error) from error

    def remove_folder(self, name: str) -> None:
        """Delete a folder in this one, under another name."""
        LocalFolders(self.directory).remove(name)

    def tidy(self) -> None:
        """Delete what writers on this machine left behind when they died."""
        remove_leftovers(self.directory)

    @contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Say whether nobody else on this machine is in this block now."""
        if not self.directory.is_dir():
            yield True
            return
        file = os.open(self.directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
        finally:
            os.close(file)


class DiskPlace:
    """A directory, as an `OfflinePlace`."""

    def __init__(self, directory: Path) -> None:
        """Keep everything below `directory`."""
        self._directory = directory

    def files(self, name: str) -> DiskFiles:
        """Return one of its folders."""
        return DiskFiles(self._directory / name)

    def shelf(self, name: str) -> LocalFolders:
        """Return one of its folders as a shelf."""
        return LocalFolders(self._directory / name)


def as_files(place: Path | Files) -> Files:
    """Return a folder on disk for a path."""
    return DiskFiles(place) if isinstance(place, Path) else place


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
