"""A stand-in for DynamoDB, which runs at Amazon only: moto's server speaks its protocol and keeps its limits."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.processes import free_ports, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class DynamoServer:
    """A server that runs.

    Attributes:
        port: Where it listens.
        environment: The login that it takes.
    """

    port: int
    environment: Mapping[str, str] = field(
        default_factory=lambda: {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "only for tests"}
    )

    @property
    def endpoint(self) -> str:
        """The URL that it answers."""
        return f"http://127.0.0.1:{self.port}"

    def url(self, table: str) -> str:
        """Return the URL of a table, which is made when it is first used."""
        return f"dynamodb://{table}?region=eu-west-1&endpoint={self.endpoint}&create=true"


@contextmanager
def dynamodb_process(directory: Path) -> Iterator[DynamoServer]:
    """Run a server that keeps its tables in memory."""
    [port] = free_ports(1)
    server = DynamoServer(port)
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("moto_server.py")), str(port)]
    with running("moto", command, directory / "moto.log", lambda: _answers(server)):
        yield server


def _answers(server: DynamoServer) -> bool:
    try:
        with urllib.request.urlopen(f"{server.endpoint}/moto-api/", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
