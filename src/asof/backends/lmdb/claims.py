"""Locks on files, which the system releases when their holder dies: of living writers, and of sources."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from asof.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WAIT_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0002, 0.01


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


@contextmanager
def held(directory: Path, name: str) -> Iterator[None]:
    """Hold the lock of a name within the block, waiting for whoever has it, in this process or another.

    Raises:
        StoreError: somebody had it for a minute.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = os.open(directory / quote(name, safe=""), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StoreError(
            f"The lock of {name!r} in {directory} cannot be opened", why=str(error), fix="Let this user write there."
        ) from error
    try:
        _wait(file, name)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough where the process was forked meanwhile
    finally:
        os.close(file)


def _wait(file: int, name: str) -> None:
    until_s, pause_s = time.monotonic() + _WAIT_S, _FIRST_PAUSE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until_s:
                raise StoreError(
                    f"Somebody else has been writing {name!r} for {_WAIT_S:.0f} s",
                    why="Arrivals of one source are taken in by one process at a time",
                    fix="Try again; if it persists, look for a process that hangs.",
                ) from error
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        else:
            return
