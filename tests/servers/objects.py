"""A real S3-compatible server for tests: versitygw (Apache-2.0) over a directory, which tools/servers.sh builds."""

from __future__ import annotations

import shutil
import socket
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.processes import absent, free_ports, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUCKET = "features"
_KEY, _SECRET = "testing", "only for tests"
_BUILT = Path(__file__).parents[2] / ".servers" / "bin" / "versitygw"


@dataclass(frozen=True)
class ObjectServer:
    """A server that runs.

    Attributes:
        port: Where it listens.
        environment: What its clients need.
    """

    port: int
    environment: Mapping[str, str] = field(default_factory=dict)

    def url(self) -> str:
        """Return the URL of a prefix that is used for the first time."""
        return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"


@contextmanager
def object_process(directory: Path) -> Iterator[ObjectServer]:
    """Run a server with one bucket."""
    command = str(_BUILT) if _BUILT.exists() else shutil.which("versitygw")
    if command is None:
        absent("An S3-compatible server", "versitygw, which needs Go to be built")
    [port] = free_ports(1)
    data = directory / "data"
    (data / BUCKET).mkdir(parents=True)
    login = ["--access", _KEY, "--secret", _SECRET, "--port", f"127.0.0.1:{port}", "--quiet"]
    environment = {
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    with running("versitygw", [command, *login, "posix", str(data)], directory / "log", lambda: _answers(port)):
        yield ObjectServer(port, environment)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False
