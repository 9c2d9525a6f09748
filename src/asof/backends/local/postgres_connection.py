"""Finds a PostgreSQL connection by its name, and opens it for one read-only snapshot."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from asof.backends.local.postgres_failures import translated
from asof.durations import parse_duration
from asof.errors import ConfigError, DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from asof.plan.specs import SourceSpec

PREFIX = "ASOF_SOURCE_"
_TIMEOUT = "1h"
_BATCH_BYTES = 8 * 2**20
_DEFAULTS = {
    "application_name": "asof",
    "connect_timeout": "10",
    # A server that is gone without a word is noticed in well under a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
_BEGIN = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET LOCAL TimeZone = 'UTC'")


@dataclass(frozen=True)
class Connection:
    """Where a source is read.

    Attributes:
        uri: For libpq, secrets included.
        where: Server and database, for messages.
        timeout_ms: How long the server may take to give all rows.
    """

    uri: str = field(repr=False)
    where: str
    timeout_ms: int


def find(source: SourceSpec, environment: Mapping[str, str]) -> Connection:
    """Return the connection of a source.

    Raises:
        ConfigError: its name has no URL in the environment, or that is none of PostgreSQL.
    """
    given, origin = source.connection, f"The connection of source {source.name!r}"
    if "://" not in given:
        variable = PREFIX + given.upper()
        origin = f"Environment variable {variable}"
        if not environment.get(variable):
            raise ConfigError(
                f"The connection {given!r} of source {source.name!r} is not known here",
                why=f"{origin} is not set",
                fix=f"Set {variable}=postgresql://user:password@host:5432/database.",
            )
        given = environment[variable]
    wrong = ConfigError(f"{origin} is no URL of PostgreSQL", fix="Write postgresql://user:password@host:5432/database.")
    try:
        parts = urlsplit(given)
        port = parts.port or 5432
    except ValueError as error:
        raise wrong from error
    if parts.scheme not in ("postgresql", "postgres"):
        raise wrong
    options = _DEFAULTS | dict(parse_qsl(parts.query, keep_blank_values=True))
    timeout = options.pop("statement_timeout", _TIMEOUT)
    try:
        timeout_ms = max(parse_duration(timeout, "statement_timeout") // 1000, 1)
    except DefinitionError as error:
        raise ConfigError(
            f"{origin} has a statement_timeout that is no duration",
            why=str(error),
            fix='Write "?statement_timeout=1h".',
        ) from error
    uri = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(options, quote_via=quote), ""))
    return Connection(uri, f"{parts.hostname or 'localhost'}:{port}{parts.path}", timeout_ms)


@contextmanager
def snapshot(source: SourceSpec) -> Iterator[tuple[Any, str]]:
    """Open a cursor that sees one snapshot of the database, whatever is run on it, and cannot write.

    Yields:
        The cursor, and server and database for messages.

    Raises:
        SourceError, ConfigError: the server cannot be reached, or not like this.
    """
    from adbc_driver_manager import Error
    from adbc_driver_postgresql import StatementOptions, dbapi

    found = find(source, os.environ)
    with translated(source.name, found.where):
        connection = dbapi.connect(found.uri, autocommit=True)
        try:
            cursor = connection.cursor()
            try:
                cursor.adbc_statement.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(_BATCH_BYTES)})
                for statement in (f"SET statement_timeout = {found.timeout_ms}", *_BEGIN):
                    cursor.execute(statement)
                yield cursor, found.where
            finally:
                with suppress(Error):  # nothing may be running any more
                    cursor.adbc_cancel()
                cursor.close()
        finally:
            connection.close()


def table_sql(source: SourceSpec) -> str:
    """Return what stands after FROM."""
    if source.query:
        return f"(\n{source.query}\n)"
    parts = re.findall(r'"(?:[^"]|"")+"|[^".]+', source.table)
    return ".".join(part if part.startswith('"') else f'"{part}"' for part in parts)
