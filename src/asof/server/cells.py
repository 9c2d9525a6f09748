"""Numbers that the workers of a server share: each adds to a file of 64-bit floats, whoever is asked sums them."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

DIRECTORY = "ASOF_METRICS_DIR"
_CELLS = 1 << 20  # a sparse file: only what is used takes space
_NAMES = ".names"

Key = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Found:
    """What one worker has counted.

    Attributes:
        slot: Which of the workers it is: 0 for the first.
        pid: Its process, or None where it has died and nobody took its place yet.
        numbers: By metric and label values.
    """

    slot: int
    pid: int | None
    numbers: dict[Key, list[float]]


class Cells:
    """The numbers of this worker; a number has one writer, so that adding needs no lock.

    Attributes:
        view: The cells: `view[at] += 1` counts.
        slot: Which of the workers this is.
    """

    def __init__(self, directory: str | None) -> None:
        """Take the place of a worker that died, and go on from its numbers, or a place of one's own.

        Args:
            directory: What the workers share; None for a worker that is alone.
        """
        self._directory = None if directory is None else Path(directory)
        self._at: dict[Key, tuple[int, int]] = {}
        self._used = 1  # the first cell is the process id
        self.slot = 0
        if self._directory is None:
            self.view: memoryview[float] = memoryview(bytearray(_CELLS * 8)).cast("d")
            return
        self._file, self.slot = _take_slot(self._directory)
        self._file.truncate(_CELLS * 8)
        self._map = mmap.mmap(self._file.fileno(), _CELLS * 8)
        self.view = memoryview(self._map).cast("d")
        self.view[0] = os.getpid()
        self._names = (self._directory / f"{self.slot}{_NAMES}").open("ab", buffering=0)
        for key, at, count in _names(self._directory / f"{self.slot}{_NAMES}"):
            self._at[key] = (at, count)
            self._used = max(self._used, at + count)

    def reserve(self, metric: str, labels: tuple[str, ...], count: int = 1) -> int:
        """Return where the numbers of a metric with these label values begin; the same call gives the same place.

        Where there is no room left, all go to one place that nobody reads.
        """
        found = self._at.get((metric, labels))
        if found is not None:
            return found[0]
        at = self._used
        if at + count > _CELLS:
            return _CELLS - count
        self._used += count
        if self._directory is not None:
            self._names.write(json.dumps([metric, labels, at, count]).encode() + b"\n")
        self._at[metric, labels] = (at, count)
        return at

    def close(self) -> None:
        """Give the place up; its numbers stay."""
        if self._directory is not None:
            self.view.release()
            self._map.close()
            self._names.close()
            self._file.close()

    def all(self) -> list[Found]:
        """Return what every worker has counted, this one first where it is alone."""
        if self._directory is None:
            own: dict[Key, list[float]] = {
                key: [float(n) for n in self.view[at : at + count]] for key, (at, count) in list(self._at.items())
            }
            return [Found(0, os.getpid(), own)]
        return [_read(path) for path in sorted(self._directory.glob("*.cells"))]


def _take_slot(directory: Path) -> tuple[FileIO, int]:
    slot = 0
    while True:
        file = (directory / f"{slot}.cells").open("a+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until the process ends, however it ends
        except OSError:
            file.close()
            slot += 1
        else:
            return file, slot


def _names(path: Path) -> Iterator[tuple[Key, int, int]]:
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # the last is empty, or being written
    except FileNotFoundError:
        return
    for line in lines:
        metric, labels, at, count = json.loads(line)
        yield (metric, tuple(labels)), at, count


def _read(path: Path) -> Found:
    numbers: dict[Key, list[float]] = {}
    with path.open("rb") as file:
        (pid,) = struct.unpack("d", file.read(8).ljust(8, b"\0"))
        for key, at, count in _names(path.with_suffix(_NAMES)):
            file.seek(at * 8)
            numbers[key] = list(struct.unpack(f"{count}d", file.read(count * 8).ljust(count * 8, b"\0")))
    return Found(int(path.stem), int(pid) if _runs(int(pid)) else None, numbers)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return pid > 0
