"""The contract of a folder shelf: named folders that appear whole or not at all, and disappear in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path


class FolderShelf(Protocol):
    """Holds folders by name. Errors: `StoreFullError`, `StoreError`; what was there before is then still there."""

    def names(self) -> list[str]:
        """Return the names of the folders that are there whole, sorted."""
        ...

    def path(self, name: str) -> Path:
        """Return where a folder is or would be."""
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
