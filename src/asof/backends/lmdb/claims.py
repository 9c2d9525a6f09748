"""Tells living writers from dead ones: a writer holds a lock on a file that the system releases when it dies."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Claim:
    """A writer's lock, held until released or until the process ends, however it ends."""

    def __init__(self, directory: Path, database: bytes) -> None:
        """Take the lock of a sub-database that nobody else writes."""
        self._path = _path(directory, database)
        directory.mkdir(exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Give the lock up; more than once is fine."""
        if self._file >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1


def is_claimed(directory: Path, database: bytes) -> bool:
    """Return whether a living process writes this sub-database."""
    try:
        file = os.open(_path(directory, database), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def forget(directory: Path, database: bytes) -> None:
    """Remove what a dead writer left of its lock."""
    _path(directory, database).unlink(missing_ok=True)


def _path(directory: Path, database: bytes) -> Path:
    return directory / database.decode()
