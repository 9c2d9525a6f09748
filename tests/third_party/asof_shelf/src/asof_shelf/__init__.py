"""An online store for Asof in one SQLite file: `shelf:///path`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.errors import ConfigError
from asof_shelf.store import ShelfStore

if TYPE_CHECKING:
    from pathlib import Path

_SCHEME = "shelf:///"


def open_store(url: str, root: Path) -> ShelfStore:
    """Open the file that `url` names below the project's `root`.

    Raises:
        ConfigError: the URL names no file.
    """
    path = url.removeprefix(_SCHEME)
    if not url.startswith(_SCHEME) or not path:
        raise ConfigError(f"{url!r} does not name a file", fix='Write "shelf:///.asof/shelf.db".')
    return ShelfStore(root / path)
