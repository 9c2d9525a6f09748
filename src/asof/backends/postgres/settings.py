"""Turns a PostgreSQL URL and the environment into what connections are made with."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

from asof.durations import parse_duration
from asof.errors import ConfigError, DefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PATHS = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_SECRETS = ("user", "password", "sslpassword", "passfile")
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_DEFAULTS = {
    "application_name": "asof",
    "connect_timeout": "5",
    # A server that is gone without a word is noticed in well under a minute, by those that wait for an answer, too.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}


@dataclass(frozen=True)
class Settings:
    """What the URL and the environment say.

    Attributes:
        conninfo: For libpq.
        where: Names server, database and schema in messages.
        schema: Holds the tables.
        connections: How many reads and updates may run at once, and stay connected.
        timeout_s: How long the server may take for a statement of theirs.
    """

    conninfo: str = field(repr=False)
    where: str
    schema: str
    connections: int
    timeout_s: float


def parse(url: str, root: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings for `url`.

    Raises:
        ConfigError: it names no database, holds a secret or a wrong option.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    database = unquote(parts.path.removeprefix("/"))
    if parts.scheme != "postgresql" or not parts.hostname or not database or "/" in database or parts.fragment:
        raise ConfigError(
            "The URL of the online store names no PostgreSQL database", fix='Write "postgresql://host:5432/database".'
        )
    if "@" in parts.netloc or not options.keys().isdisjoint(_SECRETS):
        raise ConfigError(
            "The URL of a PostgreSQL store holds a user or password",
            why="Settings are meant to be shared",
            fix="Set the environment variables ASOF_POSTGRES_USER and ASOF_POSTGRES_PASSWORD.",
        )
    try:
        port = parts.port or 5432
    except ValueError as error:
        raise ConfigError("The port in the URL of the online store is no number", fix='Write ":5432".') from error
    schema = options.pop("schema", "asof")
    if not _SCHEMA.fullmatch(schema):
        raise ConfigError(
            f"schema in a PostgreSQL URL is {schema!r}", fix="Use lower case letters, digits and underscores."
        )
    connections = options.pop("connections", "8")
    if not connections.isdecimal() or not 1 <= int(connections) <= 1000:
        raise ConfigError(f"connections in a PostgreSQL URL is {connections!r}", fix="Write a number from 1 to 1000.")
    timeout_ms = _milliseconds(options.pop("timeout", "5s"))
    options = {name: str(root / value) if name in _PATHS else value for name, value in options.items()}
    own = f"-c search_path={schema} -c statement_timeout={timeout_ms}"
    options["options"] = f"{own} {options.get('options', '')}".strip()
    login = {"user": environment.get("ASOF_POSTGRES_USER"), "password": environment.get("ASOF_POSTGRES_PASSWORD")}
    known = {name: value for name, value in login.items() if value}
    target = {"host": parts.hostname, "port": str(port), "dbname": database}
    try:
        conninfo = make_conninfo("", **{**_DEFAULTS, **options, **target, **known})
    except ProgrammingError as error:
        raise ConfigError(
            "An option of the PostgreSQL URL cannot be used",
            why=str(error).strip(),
            fix="Use options of libpq, or schema, timeout and connections.",
        ) from error
    where = f"{parts.hostname}:{port}/{database}, schema {schema}"
    return Settings(conninfo, where, schema, int(connections), timeout_ms / 1000)


def _milliseconds(text: str) -> int:
    try:
        return max(parse_duration(text, "timeout") // 1000, 1)
    except DefinitionError as error:
        raise ConfigError("timeout in a PostgreSQL URL is no duration", why=str(error), fix='Write "5s".') from error
