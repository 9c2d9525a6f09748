"""The contract of a file tree: the files of a project's offline store, as they are to be carried elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager


@dataclass(frozen=True)
class StoredFile:
    """A file that is there whole.

    Attributes:
        path: Below the tree, with slashes.
        size_bytes: Its size.
        modified_ns: When it was written, in nanoseconds since the epoch.
    """

    path: str
    size_bytes: int
    modified_ns: int


class FileTree(Protocol):
    """Holds files by path. Errors: `StoreError`, `StoreFullError`; what was there before is then still there."""

    def files(self) -> Sequence[StoredFile]:
        """Return the files, by path; without those being written, and without the mark."""
        ...

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file to be read.

        Raises:
            FileNotFoundError: it is gone.
        """
        ...

    def put(self, file: StoredFile, chunks: Iterator[bytes]) -> None:
        """Write a file, in place of one that is there, durably and in one step; it keeps its time of writing."""
        ...

    def remove(self, path: str) -> None:
        """Delete a file; one that is gone is ignored."""
        ...

    def mark(self) -> str | None:
        """Return what `set_mark` noted last."""
        ...

    def set_mark(self, mark: str | None) -> None:
        """Note durably that the tree was moved, or is a copy; None is no mark."""
        ...
