"""A real Redis server, from the binary on the PATH."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis

from tests.servers.processes import absent, free_ports, running

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class RedisServer:
    """A server that runs.

    Attributes:
        host: Where it listens.
        port: Where it listens.
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """Its URL, without a database."""
        return f"redis://{self.host}:{self.port}"


@contextmanager
def redis_process(directory: Path, *options: str) -> Iterator[RedisServer]:
    """Run a server that keeps its data in memory, and writes into `directory` if an option asks for it."""
    server = RedisServer("127.0.0.1", free_ports(1)[0])
    with serving(server, directory, *options):
        yield server


@contextmanager
def serving(server: RedisServer, directory: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server where it is to listen within the block; it may be run again."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        absent("Redis", "redis-server is not on the PATH")
    where = ("--bind", server.host, "--port", str(server.port), "--dir", str(directory))
    command = [binary, *where, "--save", "", *options]
    with running("redis", command, directory / "redis.log", lambda: _answers(server)) as process:
        yield process


def _answers(server: RedisServer) -> bool:
    with redis.Redis(server.host, server.port, socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.exceptions.AuthenticationError:
            return True
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            return False
