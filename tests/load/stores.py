"""The stores of a load run, each a server that can be killed and comes back with what it had acknowledged."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers import postgres as postgres_server
from tests.servers import redis as redis_server
from tests.servers.dynamodb import dynamodb_process
from tests.servers.processes import Mortal, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Stores:
    """What a project runs on.

    Attributes:
        settings: Lines of `asof.toml`.
        environment: Logins.
        crash: Kills the server and starts it again; None where there is none that keeps its data.
    """

    settings: dict[str, str]
    environment: dict[str, str]
    crash: Callable[[], None] | None


@contextmanager
def lmdb() -> Iterator[Stores]:
    """Files in the project's directory; nothing but processes can die."""
    yield Stores({}, {}, None)


@contextmanager
def redis() -> Iterator[Stores]:
    """A server whose acknowledged writes are on disk."""
    with tempfile.TemporaryDirectory(prefix="asof-load-") as folder:
        server = redis_server.RedisServer("127.0.0.1", free_ports(1)[0])
        durable = ("--appendonly", "yes", "--appendfsync", "always")
        with Mortal(lambda: redis_server.serving(server, Path(folder), *durable)) as process:
            yield Stores({"online": f"{server.url}/0"}, {}, process.crash)


@contextmanager
def postgres() -> Iterator[Stores]:
    """One server for the registry and the online store."""
    login = {"ASOF_POSTGRES_USER": postgres_server.USER, "ASOF_POSTGRES_PASSWORD": postgres_server.PASSWORD}
    with postgres_server.postgres_data() as server:
        log = server.data.with_name("postgres.log")
        with Mortal(lambda: postgres_server.serving(server, log, "fsync=on")) as process:
            postgres_server.create_database(server)
            yield Stores({"registry": server.url, "online": server.url}, login, process.crash)


@contextmanager
def dynamodb() -> Iterator[Stores]:
    """A server that keeps nothing over a restart, so only processes die."""
    with tempfile.TemporaryDirectory() as folder, dynamodb_process(Path(folder)) as server:
        yield Stores({"online": server.url("load")}, dict(server.environment), None)


KINDS = {"lmdb": lmdb, "redis": redis, "postgres": postgres, "dynamodb": dynamodb}
