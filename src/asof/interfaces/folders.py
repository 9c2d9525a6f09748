"""The contract of a folder shelf: named folders that appear whole or not at all, and disappear in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from asof.interfaces.files import FileItem


class FolderList(Protocol):
    """Folders of files that others write one by one. Errors: `StoreError`."""

    def names(self) -> list[str]:
        """Return the names of the folders, sorted."""
        ...

    def sizes(self, name: str) -> list[int]:
        """Return how long the files of a folder are, in bytes."""
        ...

    def remove(self, name: str) -> None:
        """Delete a folder: to every reader it is there whole, or gone."""
        ...


class FolderShelf(Protocol):
    """Holds folders by name. Errors: `StoreFullError`, `StoreError`; what was there before is then still there."""

    def names(self) -> list[str]:
        """Return the names of the folders that are there whole, sorted."""
        ...

    def path(self, name: str) -> Path:
        """Return where on this machine a folder is, with all of its files, or would be."""
        ...

    def file(self, name: str, file: str) -> Path:
        """Return where on this machine one file of a folder is, or would be."""
        ...

    def items(self, name: str) -> list[FileItem]:
        """Return the files of a folder, by name; none where it is gone."""
        ...

    def chunks(self, name: str, item: FileItem) -> Iterator[bytes]:
        """Read a file of a folder piece by piece, and keep nothing of it on this machine.

        Raises:
            FileNotFoundError: it was deleted or replaced meanwhile.
        """
        ...

    def replace(self, name: str, files: Sequence[Path]) -> None:
        """Put files from a `working` folder in the places of those of their names, each in one step, in this order.

        Raises:
            ConflictError: the folder was changed or removed meanwhile.
        """
        ...

    def adding(self, name: str) -> AbstractContextManager[Path]:
        """Give an empty folder that takes its name when the block ends without an error.

        Raises:
            ConflictError: the name is taken, also where someone took it meanwhile.
        """
        ...

    def working(self, name: str) -> AbstractContextManager[Path]:
        """Give an empty folder beside those that are there, which is deleted when the block ends."""
        ...

    def remove(self, name: str) -> None:
        """Delete a folder: to every reader it is there whole, or gone."""
        ...
