"""The embedded online store: one memory-mapped file that many processes read while one writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.backends.lmdb.store import LmdbStore
from asof.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LmdbStore", "open_store"]

_SCHEME = "lmdb:///"


def open_store(url: str, root: Path) -> LmdbStore:
    """Open the store in the directory that `url` names, creating it where there is none.

    Args:
        url: `lmdb:///path` below `root`, or `lmdb:////path` from the file system's root.
        root: The project's directory.

    Raises:
        ConfigError: the URL names no directory.
        StoreError: the directory cannot be created, read or written.
        CorruptDataError: what is there is not an online store, or is damaged.
    """
    path = url.removeprefix(_SCHEME)
    if not url.startswith(_SCHEME) or not path or "?" in path or "#" in path:
        raise ConfigError(
            f"{url!r} does not name a directory for the online store", fix='Write "lmdb:///.asof/online".'
        )
    return LmdbStore(root / path)
