"""The embedded online store: one memory-mapped file that many processes read while one writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.backends.lmdb.store import LmdbStore
from asof.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LmdbStore", "open_store"]

_SCHEME = "lmdb:///"


def open_store(url: str, root: Path, *, read_only: bool = False) -> LmdbStore:
    """Open the store in the directory that `url` names, creating it where there is none.

    Args:
        url: `lmdb:///path` below `root`, or `lmdb:////path` from the file system's root.
        root: The project's directory.
        read_only: Whether a store that is not there is refused. The file is open for reading until the first write
            anyway.

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
    if read_only and not (root / path / "data.mdb").exists():
        raise StoreError(
            f"There is no online store in {root / path}",
            why="It is opened to be read only, so none is created",
            fix="Run `asof materialize`, or correct `online` in asof.toml.",
        )
    return LmdbStore(root / path)
