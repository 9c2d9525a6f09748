"""Names of files that are being written, and the removal of those whose writer died."""

from __future__ import annotations

import glob
import os
import platform
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replacing(target: Path, *, leftovers: bool = True) -> Iterator[Path]:
    """Give a path to write to, which takes the place of `target` in one step when the block ends without an error.

    What writers of the same target on this machine left behind when they died is deleted first, unless `leftovers` is
    false: who writes many files of one directory removes them once.
    """
    if leftovers:
        remove_leftovers(target.parent, target.name)
    temporary = temporary_name(target)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_name(target: Path) -> Path:
    """Return a name beside `target` to write to, which tells the writer."""
    return target.with_name(f".{target.name}.{platform.node()}-{os.getpid()}.{uuid.uuid4().hex}.tmp")


def remove_leftovers(directory: Path, name: str = "") -> None:
    """Delete what writers of a file on this machine left in a directory when they died; without a name, of any file."""
    pattern = f".{glob.escape(name) if name else '*'}.{glob.escape(platform.node())}-*.tmp"
    for found in directory.glob(pattern):
        pid = found.name.removesuffix(".tmp").rpartition(".")[0].rpartition("-")[2]
        if pid.isdigit() and not alive(int(pid)):
            found.unlink(missing_ok=True)


def alive(pid: int) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
