"""The contract of a place for files: a directory, or a prefix of a bucket; files appear whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from asof.interfaces.folders import FolderShelf


@dataclass(frozen=True)
class FileItem:
    """A file that is there.

    Attributes:
        name: Its name in its folder.
        size_bytes: How long it is.
        modified_ns: When it was written, in nanoseconds since 1970; stores of objects know it to the second.
        tag: Differs where another file has taken its place.
    """

    name: str
    size_bytes: int
    modified_ns: int
    tag: str


class Files(Protocol):
    """One folder. Errors: `StoreError`, `StoreFullError`; what was there before is then still there.

    Several processes, on several machines where it is a bucket, may use it at once.
    """

    def below(self, name: str) -> Files:
        """Return the folder of a name in this one; it need not exist."""
        ...

    def beside(self, name: str) -> Files:
        """Return the folder of a name next to this one."""
        ...

    def place(self, name: str = "") -> str:
        """Return the path or URL of a file in it, or its own."""
        ...

    def items(self) -> list[FileItem]:
        """Return the files right in it, by name; none where it does not exist. Names that begin with a dot are not."""
        ...

    def folders(self) -> list[str]:
        """Return the names of the folders right in it, sorted, but those that begin with a dot."""
        ...

    def find(self, name: str) -> FileItem | None:
        """Return a file, dot or not, or None where it is not there."""
        ...

    def fetch(self, item: FileItem) -> Path:
        """Return a path on this machine that has a file's bytes; it is only read.

        Raises:
            FileNotFoundError: it was deleted meanwhile.
        """
        ...

    def chunks(self, item: FileItem) -> Iterator[bytes]:
        """Read a file piece by piece, and keep nothing of it on this machine.

        Raises:
            FileNotFoundError: it was deleted meanwhile.
        """
        ...

    def create(self, name: str, write: Callable[[Path], object]) -> None:
        """Add a file, durably: of several who add one name at once, one succeeds.

        The bytes have to be the writer's own, as by a random number in them: by them it knows its file after an answer
        was lost.

        Args:
            name: The file.
            write: Writes it to the path that it is given.

        Raises:
            FileExistsError: the name is taken.
        """
        ...

    def replace(self, name: str, write: Callable[[Path], object]) -> None:
        """Put a file, durably, in the place of the one that may be there."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, in this order where it matters; those that are not there are ignored."""
        ...

    def remove_folder(self, name: str) -> None:
        """Delete a folder in this one: to every reader its files are all there, or none is."""
        ...

    def tidy(self) -> None:
        """Delete what writers that died left behind, as far as that can be told."""
        ...

    def alone(self, name: str) -> AbstractContextManager[bool]:
        """Say whether nobody else is known to be in the block of this name; a store of objects knows of nobody."""
        ...


class OfflinePlace(Protocol):
    """Where a project keeps logs, what batch sources published, training sets, and what was refused."""

    def files(self, name: str) -> Files:
        """Return one of its folders, as of a path with slashes; without a name, itself."""
        ...

    def shelf(self, name: str) -> FolderShelf:
        """Return one of its folders as a shelf."""
        ...
