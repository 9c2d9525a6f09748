"""The online store on PostgreSQL: `postgresql://host:port/database`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from asof.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from asof.backends.postgres.store import PostgresStore

__all__ = ["open_store"]


def open_store(url: str, root: Path) -> PostgresStore:
    """Open the database at `url`; nothing is connected before the first call.

    Args:
        url: `postgresql://host:port/database`, with options of libpq, and of ours: `schema` (default `asof`), `timeout`
            of a statement (default 5s), `connections` that are kept open (default 8). User and password are taken from
            `ASOF_POSTGRES_USER` and `ASOF_POSTGRES_PASSWORD`, or from where libpq finds them.
        root: The project's directory; paths in options (`sslrootcert`) are below it.

    Raises:
        ConfigError: the URL or an option cannot be used, or the client library is not installed.
    """
    try:
        from asof.backends.postgres.settings import parse
        from asof.backends.postgres.store import PostgresStore
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise ConfigError(
            "PostgreSQL's client library is not installed", fix='Run `pip install "asof[postgres]"`.'
        ) from error
    return PostgresStore(parse(url, root, os.environ))
