"""Object storage for what the project writes for training: S3 and what speaks its protocol, GCS, Azure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.backends.objects.files import ObjectFiles
from asof.backends.objects.folders import ObjectFolders
from asof.backends.objects.location import Location

if TYPE_CHECKING:
    from pathlib import Path

    from asof.interfaces.files import Files, OfflinePlace
    from asof.interfaces.folders import FolderShelf

__all__ = ["ObjectFiles", "ObjectFolders", "ObjectPlace", "open_place"]


class ObjectPlace:
    """A prefix of a bucket, as an `OfflinePlace`."""

    def __init__(self, location: Location) -> None:
        """Use `location`, which is opened at the first request."""
        self._location = location

    def files(self, name: str) -> Files:
        """Return a folder in it."""
        return ObjectFiles(self._location, name)

    def shelf(self, name: str) -> FolderShelf:
        """Return a folder in it as a shelf of folders."""
        return ObjectFolders(self._location, name)


def open_place(url: str, root: Path) -> OfflinePlace:
    """Return the place at `s3://bucket/prefix`, `gs://…` or `az://…`; what is read is kept below the project's `root`.

    Raises:
        ConfigError: the URL names no bucket, or has more in it than a bucket and a prefix.
    """
    return ObjectPlace(Location.parse(url, root / ".asof" / "objects"))
