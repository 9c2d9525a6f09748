"""The demonstration's server: `asof serve` in a process of its own, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asof.errors import AsofError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HOST = "127.0.0.1"
_READY_WITHIN_S = 30.0
_POLL_S = 0.05
_STOP_WITHIN_S = 10.0


@contextmanager
def server(project: Path) -> Iterator[int]:
    """Run `asof serve` for a project on a free port, yield the port once it is ready, and stop it gracefully.

    Raises:
        AsofError: it ended, or was not ready within half a minute.
    """
    port = _free_port()
    command = [sys.executable, "-m", "asof.cli", "--project", str(project), "serve", "--port", str(port)]
    log = project / ".asof" / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_until_ready(process, port, log)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def fetch(port: int, body: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Return the answer to a request for online features, and the milliseconds it took.

    Raises:
        AsofError: the server refused.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=_READY_WITHIN_S)
    try:
        connection.connect()
        started_s = time.perf_counter()
        connection.request(
            "POST", "/v1/online-features", body=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        answer = json.loads(response.read())
        elapsed_ms = (time.perf_counter() - started_s) * 1000
    finally:
        connection.close()
    if response.status != http.client.OK:
        error = answer["error"]
        raise AsofError(error["what"], why=error["why"], fix=error["fix"])
    return answer, elapsed_ms


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline_s = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise AsofError(
                f"The server ended with exit status {process.returncode}",
                why=log.read_text(encoding="utf-8", errors="replace").strip(),
                fix=f"`asof --project {log.parents[1]} serve` gives the message again.",
            )
        if _ready(port):
            return
        time.sleep(_POLL_S)
    raise AsofError(f"The server was not ready within {_READY_WITHIN_S:.0f} s", fix="Run `asof serve` to see why.")


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
