"""The registry's database in a SQLite file: how it is opened, and what its errors mean to a user."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event

from asof.errors import AsofError, ConfigError, ConflictError, CorruptDataError, StoreError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUSY_TIMEOUT_S = 10
_BUSY_PAUSE_S = 0.01
_ROOM_BYTES = 2**20
_SCHEME = "sqlite:///"
_WRITES = "asof_writes"
_SQLITE_ERRORS: dict[int, tuple[type[AsofError], str]] = {
    sqlite3.SQLITE_CONSTRAINT: (ConflictError, "Someone changed the same version; run `asof plan` again."),
    sqlite3.SQLITE_FULL: (StoreFullError, "Free some disk space, then repeat."),
    sqlite3.SQLITE_CORRUPT: (CorruptDataError, "Restore the file from a backup."),
    sqlite3.SQLITE_NOTADB: (CorruptDataError, "Restore the file from a backup, or correct `registry` in asof.toml."),
    sqlite3.SQLITE_BUSY: (StoreError, "Another process is writing for long; repeat, or end that process."),
    sqlite3.SQLITE_LOCKED: (StoreError, "Another process is writing for long; repeat, or end that process."),
    sqlite3.SQLITE_READONLY: (StoreError, "Make the file and its directory writable."),
    sqlite3.SQLITE_PERM: (StoreError, "Make the file and its directory readable and writable."),
    sqlite3.SQLITE_CANTOPEN: (StoreError, "Make it a file that can be read and written, in a writable directory."),
    sqlite3.SQLITE_IOERR: (StoreError, "Check the disk, then repeat."),
}


def sqlite_file(url: str, root: Path) -> Path:
    """Return the file of `sqlite:///relative/to/root` or `sqlite:////absolute`.

    Raises:
        ConfigError: the URL names no file.
    """
    path = url.removeprefix(_SCHEME)
    if path == url or not path:
        raise ConfigError(
            f"The registry {url!r} names no file",
            fix="Write sqlite:///.asof/registry.db, or sqlite:////absolute/path.db.",
        )
    return root / path


class SqliteDatabase:
    """A `Database` in a file; safe to share between threads, and between processes by the file."""

    def __init__(self, file: Path, *, read_only: bool = False) -> None:
        """Open a file, its directory made unless it is only read; nothing is read yet.

        Raises:
            StoreError: the directory cannot be made.
        """
        self._file = file
        if read_only:
            self._flushed = self._unflushed = _reading_engine(file)
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The registry's directory {file.parent} cannot be made",
                why=str(error),
                fix="Make its parent writable.",
            ) from error
        self._flushed = _engine(file, "FULL")
        # Not flushed, a transaction survives the death of this process, but not a power failure before the next one
        # that is flushed; and it takes a tenth of the time.
        self._unflushed = _engine(file, "NORMAL")

    @property
    def name(self) -> str:
        """Names the file."""
        return f"The registry {self._file}"

    @property
    def shared(self) -> bool:
        """It is a file of one project."""
        return False

    @contextmanager
    def transaction(self, *, writes: bool = False, flushed: bool = True) -> Iterator[sa.Connection]:
        """Run the body in one transaction; one that writes has the file's write lock from its beginning."""
        engine = self._flushed if flushed else self._unflushed
        try:
            with engine.connect() as connection:
                chosen = connection.execution_options(**{_WRITES: writes})
                with chosen.begin():
                    yield chosen
        except sa.exc.DBAPIError as error:
            raise self._explain(error.orig) from error
        except sqlite3.Error as error:  # raised while a new connection is configured, before SQLAlchemy wraps
            raise self._explain(error) from error

    def close(self) -> None:
        """Release the file."""
        self._unflushed.dispose()
        self._flushed.dispose()

    def _explain(self, error: BaseException | None) -> AsofError:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code == sqlite3.SQLITE_IOERR and shutil.disk_usage(self._file.parent).free < _ROOM_BYTES:
            code = sqlite3.SQLITE_FULL  # also a read needs room, for the index of the log
        kind, fix = _SQLITE_ERRORS.get(code, (StoreError, "Check the file, then repeat."))
        return kind(f"{self.name} cannot be used", why=str(error), fix=fix)


def _engine(file: Path, synchronous: str) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(file))
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})
    event.listen(engine, "connect", partial(_configure, synchronous))
    event.listen(engine, "begin", _begin)
    return engine


def _reading_engine(file: Path) -> sa.Engine:
    # The journal's mode is what it is; its index beside the file is written by whoever reads, unless all is read-only.
    def connect() -> sqlite3.Connection:
        name = f"{file.resolve().as_uri()}?mode=ro"
        return sqlite3.connect(name, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.QueuePool)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(synchronous: str, connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own transactions would begin too late to take the write lock
    _use_wal(connection)
    for setting in (f"synchronous={synchronous}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {setting}").close()


def _use_wal(connection: Any) -> None:
    """Turn to write-ahead logging; of two that do so with a new file, SQLite refuses one at once instead of waiting."""
    deadline_s = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                raise
        time.sleep(_BUSY_PAUSE_S)


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
