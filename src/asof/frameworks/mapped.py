"""Columns on disk as memory-mapped arrays: any row can be read, and only what is read is loaded."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asof.errors import StoreError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asof.frameworks.columns import Array, EncodedColumn

_NO_ROOM = (27, 28, 122)  # EFBIG, ENOSPC, EDQUOT


class MappedColumns:
    """Arrays by column, written once to a temporary folder that goes when the object does.

    A copy in another process, forked or unpickled, reads the same files and leaves them.
    """

    def __init__(
        self,
        columns: Sequence[EncodedColumn],
        rows: int,
        batches: Iterable[Mapping[str, Array]],
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        """Write `rows` rows batch by batch below `folder`, by default the system's temporary folder.

        Raises:
            StoreFullError, StoreError: there is no room, or the folder cannot be written.
        """
        self._columns = tuple(columns)
        self._rows = rows
        try:
            self._path = Path(tempfile.mkdtemp(prefix="asof-", dir=folder))
        except OSError as error:
            raise _disk_error(folder, error) from error
        self._owner = weakref.finalize(self, _remove, self._path, os.getpid())
        try:
            self._write(batches)
        except OSError as error:
            self._owner()
            raise _disk_error(self._path.parent, error) from error
        except BaseException:
            self._owner()
            raise
        self._arrays = self._mapped()

    def __len__(self) -> int:
        return self._rows

    def column(self, name: str) -> Array:
        """Return a whole column; what is written to it stays in this process."""
        return self._arrays[name]

    def take(self, index: Any) -> dict[str, Any]:
        """Return rows by column, as new arrays: one row for a number, several for a slice, numbers or a mask."""
        return {name: np.array(values[index]) for name, values in self._arrays.items()}

    def _write(self, batches: Iterable[Mapping[str, Array]]) -> None:
        files = [(one, self._file(place).open("wb")) for place, one in enumerate(self._columns)]
        try:
            for arrays in batches:
                for one, file in files:
                    file.write(np.ascontiguousarray(arrays[one.name], one.dtype).data)
        finally:
            for _, file in files:
                file.close()

    def _mapped(self) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for place, one in enumerate(self._columns):
            shape = (self._rows, *one.shape)
            found[one.name] = (
                np.memmap(self._file(place), one.dtype, "c", shape=shape) if self._rows else np.empty(shape, one.dtype)
            )
        return found

    def _file(self, place: int) -> Path:
        return self._path / f"{place}.bin"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_owner", "_arrays")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._arrays = self._mapped()


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)


def _disk_error(folder: object, error: OSError) -> StoreError:
    kind = StoreFullError if error.errno in _NO_ROOM else StoreError
    return kind(
        f"Rows cannot be written to {folder or tempfile.gettempdir()}",
        why=str(error),
        fix="Name a folder with room for them in folder=.",
    )
