"""Turns what LMDB and the file system report into the errors of the online store's contract."""

from __future__ import annotations

import errno
import resource
import shutil
from typing import TYPE_CHECKING

import lmdb

from asof.errors import CorruptDataError, StoreError, StoreFullError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_CORRUPT = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
)
_ROOM_BYTES = 256 * 2**20
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


class translated:
    """Raises the contract's errors for driver errors of its block."""

    __slots__ = ("_doing", "_path")

    def __init__(self, path: Path, doing: str) -> None:
        """Guard a block.

        Args:
            path: The store's directory, for the message.
            doing: What fails, as "be written".
        """
        self._path = path
        self._doing = doing

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Translate what left the block."""
        if isinstance(error, lmdb.Error):
            raise _from_driver(self._path, self._doing, error) from error
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise _from_system(self._path, self._doing, error) from error


def _from_driver(path: Path, doing: str, error: lmdb.Error) -> Exception:
    if error.code in _FULL or (error.code == errno.EIO and _is_full(path)):
        return _full(path, doing, error)
    if isinstance(error, _CORRUPT):
        return corrupt(path, str(error))
    return StoreError(
        f"The online store in {path} cannot {doing}",
        why=str(error),
        fix="Check that the directory is on a local disk and that this user may write to it, then try again.",
    )


def _is_full(path: Path) -> bool:
    """Whether there is no room for one more transaction: LMDB reports a write that was cut short as an I/O error."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = path / "data.mdb"
    room = shutil.disk_usage(path).free
    if limit != resource.RLIM_INFINITY:
        room = min(room, limit - file.stat().st_size)
    return room < _ROOM_BYTES


def _from_system(path: Path, doing: str, error: OSError) -> Exception:
    if error.errno in _FULL:
        return _full(path, doing, error)
    return StoreError(
        f"The online store in {path} cannot {doing}",
        why=error.strerror or str(error),
        fix="Make it a directory on a local disk that this user may read and write.",
    )


def _full(path: Path, doing: str, error: Exception) -> StoreFullError:
    return StoreFullError(
        f"The online store in {path} cannot {doing}",
        why=f"There is no space left ({error})",
        fix="Free disk space or prune old versions, then try again; what was stored before is still there.",
    )


def corrupt(path: Path, why: str) -> CorruptDataError:
    """Return the error for a file that is not what was written."""
    return CorruptDataError(
        f"The online store in {path} is damaged or is not an online store",
        why=why,
        fix="Move the directory away and run `asof materialize`; everything in it can be computed again.",
    )


def other_format(path: Path, found: bytes | None) -> CorruptDataError:
    """Return the error for a file of a format that this version does not read."""
    if found is None:
        return corrupt(path, "It does not say which format it has")
    return CorruptDataError(
        f"The online store in {path} has format {found.decode(errors='replace')}, which this version does not read",
        why="Another version of this library wrote it",
        fix="Use that version, or move the directory away and run `asof materialize`, which computes all of it again.",
    )
