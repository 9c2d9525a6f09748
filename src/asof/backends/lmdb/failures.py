"""Turns what LMDB and the file system report into the errors of the online store's contract."""

from __future__ import annotations

import errno
import resource
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import lmdb

from asof.errors import CorruptDataError, StoreError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CORRUPT = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
)
_ROOM_BYTES = 256 * 2**20
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Raise the contract's errors for driver errors of the block.

    Args:
        path: The store's directory, for the message.
        doing: What fails, as "be written".
    """
    try:
        yield
    except lmdb.Error as error:
        raise _from_driver(path, doing, error) from error
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise _from_system(path, doing, error) from error


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
