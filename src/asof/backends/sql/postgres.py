"""The registry's database in a schema of a PostgreSQL server: how it is reached, and what its errors mean to a user."""

from __future__ import annotations

import os
import re
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import sqlalchemy as sa

from asof.errors import AsofError, ConfigError, ConflictError, CorruptDataError, StoreError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LOGIN = "Check ASOF_POSTGRES_USER and ASOF_POSTGRES_PASSWORD, and what this user may do in the registry's schema."
_ELSEWHERE = "Check that the server in the URL is up and can be reached from here, then try again."
_ERRORS: tuple[tuple[str, type[AsofError], str], ...] = (
    ("23505", ConflictError, "Someone changed the same version; run `asof plan` again."),
    ("28", ConfigError, _LOGIN),
    ("42501", ConfigError, _LOGIN),
    ("3D000", ConfigError, "Create the database, or correct the URL."),
    ("25006", StoreError, "Name the primary in the URL, or try again after the failover."),
    ("53100", StoreFullError, "Give the server more disk, then repeat."),
    ("55P03", StoreError, "Another process is writing for long; repeat, or end that process."),
    ("57014", StoreError, "The server is busy, or a statement waits for long; repeat."),
    ("XX001", CorruptDataError, "Look at the server's log; restore the database from a backup."),
    ("XX002", CorruptDataError, "Look at the server's log; reindex the database, or restore it from a backup."),
    ("08", StoreError, _ELSEWHERE),
    ("53", StoreError, _ELSEWHERE),
    ("57P", StoreError, _ELSEWHERE),
)
_REFUSED = re.compile(r"authentication failed|no password supplied|role .* does not exist|no pg_hba\.conf entry")
_NO_DATABASE = re.compile(r"database .* does not exist")
_PATHS = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_SECRETS = ("user", "password", "sslpassword", "passfile")
_TIMEOUTS = "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s"
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_open: weakref.WeakSet[PostgresDatabase] = weakref.WeakSet()


def open_database(url: str, root: Path, environment: Mapping[str, str]) -> PostgresDatabase:
    """Return the database of `postgresql://host:port/database?schema=asof`; nothing is connected yet.

    Raises:
        ConfigError: the URL names no database, holds a secret or a wrong option, or psycopg is not installed.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    database = unquote(parts.path.removeprefix("/"))
    if parts.scheme != "postgresql" or not parts.hostname or not database or "/" in database or parts.fragment:
        raise ConfigError(
            "The URL of the registry names no PostgreSQL database", fix='Write "postgresql://host:5432/database".'
        )
    if "@" in parts.netloc or not options.keys().isdisjoint(_SECRETS):
        raise ConfigError(
            "The URL of a PostgreSQL registry holds a user or password",
            why="Settings are meant to be shared",
            fix="Set the environment variables ASOF_POSTGRES_USER and ASOF_POSTGRES_PASSWORD.",
        )
    schema = options.pop("schema", "asof")
    if not _SCHEMA.fullmatch(schema):
        raise ConfigError(
            f"schema in a PostgreSQL URL is {schema!r}", fix="Use lower case letters, digits and underscores."
        )
    options = {name: str(root / value) if name in _PATHS else value for name, value in options.items()}
    options.setdefault("connect_timeout", "5")
    options["options"] = f"{_TIMEOUTS} -c search_path={schema} {options.get('options', '')}"
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigError("The port in the URL of the registry is no number", fix='Write ":5432".') from error
    target = sa.URL.create(
        "postgresql+psycopg",
        username=environment.get("ASOF_POSTGRES_USER") or None,
        password=environment.get("ASOF_POSTGRES_PASSWORD") or None,
        host=parts.hostname,
        port=port,
        database=database,
        query=options,
    )
    try:
        return PostgresDatabase(target, schema)
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise ConfigError(
            "PostgreSQL's client library is not installed", fix='Run `pip install "asof[postgres]"`.'
        ) from error


class PostgresDatabase:
    """A `Database` in a schema of a server; safe to share between threads, and after forks."""

    def __init__(self, url: sa.URL, schema: str) -> None:
        """Use the schema in the database at `url`; the first transaction that writes makes it where there is none."""
        self._where = f"{url.host}:{url.port or 5432}/{url.database}"
        self._schema = schema
        self._engine = sa.create_engine(url, pool_pre_ping=True)
        sa.event.listen(self._engine, "do_connect", _connected)
        _open.add(self)

    @property
    def name(self) -> str:
        """Names the server, the database and the schema."""
        return f"The registry in schema {self._schema} of {self._where}"

    @property
    def shared(self) -> bool:
        """Whoever has the same URL in their settings uses it, too."""
        return True

    @contextmanager
    def transaction(self, *, writes: bool = False, flushed: bool = True) -> Iterator[sa.Connection]:
        """Run the body in one transaction, which is flushed in any case.

        One that writes holds a lock of the schema, so that it sees all that was written before it; others see one
        snapshot.
        """
        options: dict[str, Any] = {"isolation_level": "READ COMMITTED"}
        if not writes:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        try:
            with self._engine.connect() as connection:
                chosen = connection.execution_options(**options)
                with chosen.begin():
                    if writes:
                        self._lock(chosen)
                    yield chosen
        except sa.exc.DBAPIError as error:
            raise self._explain(error.orig) from error

    def _lock(self, connection: sa.Connection) -> None:
        key = sa.func.hashtextextended(f"asof registry {self._schema}", 0)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
        if not sa.inspect(connection).has_schema(self._schema):
            connection.execute(sa.schema.CreateSchema(self._schema))

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def note_fork(self) -> None:
        """In a forked child: leave the parent's connections alone, and make new ones."""
        self._engine.dispose(close=False)

    def _explain(self, error: BaseException | None) -> AsofError:
        state, text = getattr(error, "sqlstate", None) or "", " ".join(str(error).split())
        kind, fix = _meaning(state, text)
        return kind(f"{self.name} cannot be used", why=text, fix=fix)


def _connected(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    from asof.backends.sql.patience import PatientConnection

    return PatientConnection.connect(*arguments, **options)


def _meaning(state: str, text: str) -> tuple[type[AsofError], str]:
    for prefix, ours, fix in _ERRORS:
        if state.startswith(prefix):
            return ours, fix
    if state:
        return StoreError, "Try again; if it persists, look at the server's log."
    if _REFUSED.search(text):  # the client has no code for what keeps it from connecting
        return ConfigError, _LOGIN
    if _NO_DATABASE.search(text):
        return ConfigError, "Create the database, or correct the URL."
    return StoreError, _ELSEWHERE


def _note_fork() -> None:
    for database in _open:
        database.note_fork()


os.register_at_fork(after_in_child=_note_fork)
