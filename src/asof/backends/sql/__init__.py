"""A registry in a SQL database: a SQLite file, or a schema of a PostgreSQL server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from asof.backends.sql.registry import SqlRegistry

if TYPE_CHECKING:
    from pathlib import Path

    from asof.backends.sql.database import Database
    from asof.interfaces.registry import Registry

__all__ = ["open_registry"]


def open_registry(url: str, root: Path, *, read_only: bool = False) -> Registry:
    """Open the registry at a `sqlite:///` or `postgresql://` URL; a new one gets its tables, an older one is upgraded.

    Args:
        url: `sqlite:///relative/to/root`, `sqlite:////absolute`, or `postgresql://host:port/database`, whose user and
            password are taken from `ASOF_POSTGRES_USER` and `ASOF_POSTGRES_PASSWORD`.
        root: The project's directory.
        read_only: Whether a file is opened so that nothing is written, and a new registry is refused.

    Raises:
        ConfigError: the URL cannot be used, a login is refused, or the client library is not installed.
        StoreError: it cannot be opened.
        CorruptDataError: it is no registry, or one of a newer version.
    """
    return SqlRegistry(_database(url, root, read_only))


def _database(url: str, root: Path, read_only: bool) -> Database:
    if url.startswith("postgresql:"):
        from asof.backends.sql.postgres import open_database

        return open_database(url, root, os.environ)
    from asof.backends.sql.sqlite import SqliteDatabase, sqlite_file

    return SqliteDatabase(sqlite_file(url, root), read_only=read_only)
