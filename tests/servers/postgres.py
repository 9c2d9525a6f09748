"""A real PostgreSQL server, from the binaries on the PATH or where Debian puts them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from tests.servers.processes import absent, free_ports, running

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, PASSWORD = "asof", "only for tests"
_DEBIAN = Path("/usr/lib/postgresql")
_FAST = ("fsync=off", "full_page_writes=off", "max_connections=200", "unix_socket_directories=")


@dataclass(frozen=True)
class PostgresServer:
    """A server that runs.

    Attributes:
        host: Where it listens.
        port: Where it listens.
        data: Its data directory.
    """

    host: str
    port: int
    data: Path

    @property
    def url(self) -> str:
        """The URL of a database of it, without user and password."""
        return f"postgresql://{self.host}:{self.port}/asof"

    def connect(self, **options: str) -> psycopg.Connection:
        """Return a connection of its owner, who may do anything; each statement stands for itself."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            **{"user": USER, "password": PASSWORD, "dbname": "asof"} | options,  # type: ignore[arg-type]
            autocommit=True,
        )

    def forget(self, schema: str) -> None:
        """Delete a schema and all that is in it."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


@contextmanager
def postgres_process() -> Iterator[PostgresServer]:
    """Run a server that has a database `asof`, and asks for the password of `USER`."""
    with postgres_data() as server, serving(server, server.data.with_name("postgres.log")):
        create_database(server)
        yield server


@contextmanager
def postgres_data() -> Iterator[PostgresServer]:
    """Make the data of a server that does not run yet."""
    folder = _binaries()
    # Not below the test's own directory: the server refuses to run as root, and its user could not get there.
    directory = Path(tempfile.mkdtemp(prefix="asof-postgres-"))
    try:
        user = _user(directory)
        data = directory / "data"
        secret = directory / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        secret.chmod(0o644)
        command = [
            *(*user, str(folder / "initdb"), "--pgdata", str(data), "--username", USER, "--pwfile", str(secret)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=directory)
        [port] = free_ports(1)
        yield PostgresServer("127.0.0.1", port, data)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def create_database(server: PostgresServer) -> None:
    """Create the database `asof` in a server that runs for the first time."""
    with server.connect(dbname="postgres") as connection:
        connection.execute("CREATE DATABASE asof")


@contextmanager
def serving(server: PostgresServer, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server on its data within the block; it may be run again."""
    chosen = (*_FAST, f"listen_addresses={server.host}", *options)
    settings = [part for option in chosen for part in ("-c", option)]
    command = [*_user(server.data.parent), str(_binaries() / "postgres"), "-D", str(server.data)]
    command += ["-p", str(server.port), *settings]
    with running("postgres", command, log, lambda: _answers(server), stop=signal.SIGINT) as process:
        yield process


def _binaries() -> Path:
    found = shutil.which("postgres")
    if found is not None and Path(found).with_name("initdb").is_file():
        return Path(found).parent
    versions = [path for path in _DEBIAN.glob("*/bin") if (path / "postgres").is_file()]
    if not versions:
        absent("PostgreSQL", f"postgres is neither on the PATH nor in {_DEBIAN}")
    return max(versions, key=lambda path: int(path.parent.name))


def _user(directory: Path) -> list[str]:
    """Give the directory to the user that the server runs as, and return what runs it as that one."""
    if os.geteuid() != 0:
        return []
    try:
        shutil.chown(directory, "postgres", "postgres")
    except LookupError:
        absent("PostgreSQL", "it refuses to run as root, and there is no user postgres")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]


def _answers(server: PostgresServer) -> bool:
    try:
        server.connect(dbname="postgres", connect_timeout="1").close()
    except psycopg.OperationalError:
        return False
    return True
