"""The server as a process: it follows applies, stops gracefully, replaces dead workers, and explains itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from asof.store import FeatureStore
from tests.server.conftest import DEFINITIONS, KEYS, VALUES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.server.conftest import Server

    Serve = Callable[..., tuple[Path, Server]]

PATH = "/v1/online-features"
BODY: dict[str, Any] = {"service": "fraud", "keys": KEYS}


def wait_for(condition: Callable[[], bool], seconds: float) -> float:
    """Return the seconds until the condition held."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it never happened"
    return time.monotonic() - started


def test_an_apply_and_a_materialization_are_seen_and_never_mixed(serve: Serve) -> None:
    """Readers ask all the time while the service changes its features; each answer is one version, whole."""
    project, server = serve()
    old = ["spend__amount_sum_lifetime", "spend__count_lifetime", "profile__country"]
    new = ["profile__country", "spend__count_lifetime", "spend__amount_max_lifetime"]
    expected = {"fraud@1": (old, VALUES[0]), "fraud@2": (new, ["NL", 2, 2.5])}
    seen: dict[str, int] = {}
    wrong: list[Any] = []
    stop = threading.Event()

    def read() -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while not stop.is_set():
                response = client.post(PATH, json={"service": "fraud", "keys": {"customer_id": [17]}})
                answer = response.json()
                if response.status_code == 409:
                    continue  # applied and not yet materialized
                found = (answer["features"], answer["results"][0]["values"])
                if found != expected[answer["service"]]:
                    wrong.append(answer)
                seen[answer["service"]] = seen.get(answer["service"], 0) + 1

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    aggregates = 'Sum("amount", windows=["lifetime"], default=0.0), Count(windows=["lifetime"])'
    others = 'Count(windows=["lifetime"]), Max("amount", windows=["lifetime"])'
    text = DEFINITIONS.replace(aggregates, others).replace("StateView, Sum", "Max, StateView")
    text = text.replace("[spend, profile]", "[profile, spend]")
    wait_for(lambda: seen.get("fraud@1", 0) > 50, 60)
    (project / "features.py").write_text(text, encoding="utf-8")
    with FeatureStore(project) as store:
        assert store.apply().number == 2
        store.materialize()
    wait_for(lambda: seen.get("fraud@2", 0) > 50, 60)
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_requests_in_flight_are_answered_before_it_stops(serve: Serve) -> None:
    """A request whose body is still on its way when SIGTERM comes gets its answer."""
    _, server = serve()
    host, port = server.url.removeprefix("http://").split(":")
    body = b'{"service": "fraud", "keys": {"customer_id": [17]}}'
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        connection.sendall(head + body[:10])
        wait_for(lambda: httpx.get(server.url + "/health").status_code == 200, 30)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not accepts(host, int(port)), 30)
        connection.sendall(body[10:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    assert server.process.wait(timeout=60) == 0


def accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_a_worker_that_dies_is_replaced(serve: Serve) -> None:
    """And metrics are summed over all workers, the dead ones included."""
    _, server = serve("--workers", "2")
    parent = psutil.Process(server.process.pid)

    def workers() -> set[int]:
        return {child.pid for child in parent.children() if is_worker(child)}

    wait_for(lambda: len(workers()) == 2, 60)
    for _ in range(20):
        assert httpx.post(server.url + PATH, json=BODY, timeout=60).status_code == 200
    victim = workers().pop()
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(workers() - {victim}) == 2, 60)
    wait_for(lambda: answers(server.url), 60)
    text = httpx.get(server.url + "/metrics", timeout=60).text
    count = next(line for line in text.splitlines() if line.startswith('asof_http_requests_total{route="/v1/online'))
    assert float(count.split()[-1]) >= 20
    assert server.stop() == 0, "".join(server.log)


def is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def answers(url: str) -> bool:
    try:
        return httpx.post(url + PATH, json=BODY, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def test_a_port_that_is_taken_is_explained(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "asof.cli", "--project", str(project), "serve", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.returncode == 14
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
