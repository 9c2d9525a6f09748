"""The client: what importing it takes, and what a read costs beside the same bytes through the bare library."""

from __future__ import annotations

import asyncio
import http.client
import socket
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httptools

from asof.client import AsyncClient, Client
from asof.client.requests import online_call
from feast_process import free_port
from measure import Report, Target, alternate, main, stop
from startup import READY_LIMIT_S, import_s
from workloads import HEAD, project, state_rows, state_view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CALLS = 500
FEATURES = ["alpha"]
KEYS = {"customer_id": [17]}


class _Body:
    def __init__(self) -> None:
        self.done = False
        self.parts: list[bytes] = []

    def on_body(self, data: bytes) -> None:
        self.parts.append(data)

    def on_message_complete(self) -> None:
        self.done = True


def bare_socket(port: int, message: bytes) -> Callable[[], bytes]:
    """Return what sends the client's request with a socket, and reads the answer with httptools alone."""
    link = socket.create_connection(("127.0.0.1", port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange() -> bytes:
        link.sendall(message)
        body = _Body()
        parser = httptools.HttpResponseParser(body)
        while not body.done:
            parser.feed_data(link.recv(262_144))
        return b"".join(body.parts)

    return exchange


def bare_standard(port: int, body: bytes) -> Callable[[], bytes]:
    """Return what sends the request's body with the standard library."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def exchange() -> bytes:
        connection.request("POST", "/v1/online-features", body, {"Content-Type": "application/json"})
        return connection.getresponse().read()

    return exchange


class _Bare(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, message: bytes) -> asyncio.Future[bytes]:
        self.answer = asyncio.get_running_loop().create_future()
        self.body = _Body()
        self.parser = httptools.HttpResponseParser(self.body)
        self.transport.write(message)
        return self.answer

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        if self.body.done:
            self.answer.set_result(b"".join(self.body.parts))


class Timed:
    """Takes turns of many calls; the median wall and processor time of one, in microseconds, of this thread."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._wall: list[float] = []
        self._cpu: list[float] = []

    def turn(self) -> None:
        """Take a turn."""
        wall, cpu = time.perf_counter(), time.thread_time()
        for _ in range(CALLS):
            self._call()
        self.add(time.perf_counter() - wall, time.thread_time() - cpu)

    def add(self, wall_s: float, cpu_s: float) -> None:
        """Add what a turn took."""
        self._wall.append(wall_s / CALLS * 1e6)
        self._cpu.append(cpu_s / CALLS * 1e6)

    @property
    def wall_us(self) -> float:
        """Microseconds of wall time."""
        return statistics.median(self._wall)

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time."""
        return statistics.median(self._cpu)


async def async_turns(port: int, message: bytes, repeats: int) -> tuple[Timed, Timed]:
    """Return what a call through the async client takes, and one through a bare protocol."""
    loop = asyncio.get_running_loop()
    _, bare = await loop.create_connection(_Bare, "127.0.0.1", port)
    ours, theirs = Timed(lambda: None), Timed(lambda: None)
    async with AsyncClient(f"http://127.0.0.1:{port}") as client:
        for _ in range(repeats):
            wall, cpu = time.perf_counter(), time.thread_time()
            for _ in range(CALLS):
                (await client.get_online_features(FEATURES, KEYS)).to_dict()
            ours.add(time.perf_counter() - wall, time.thread_time() - cpu)
            wall, cpu = time.perf_counter(), time.thread_time()
            for _ in range(CALLS):
                await bare.send(message)
            theirs.add(time.perf_counter() - wall, time.thread_time() - cpu)
    bare.transport.close()
    return ours, theirs


def serving(root: Path, port: int) -> subprocess.Popen[bytes]:
    """Return a server of a project that answers."""
    command = [sys.executable, "-m", "asof.cli", "--project", str(root), "serve", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with Client(f"http://127.0.0.1:{port}", timeout_s=READY_LIMIT_S, retries=10_000) as client:
        client.ready()
    return process


def run(quick: bool, report: Report) -> None:
    """Measure the import, and one key x 15 features against one server, all sides in turn."""
    repeats = 5 if quick else 15
    loaded = {"ours": lambda: import_s(sys.executable, "asof.client")}
    report.add("import asof.client", "s", alternate(loaded, repeats)["ours"], target=Target(0.15, "at most"))
    port = free_port()
    with project("client", HEAD + state_view("alpha", state_rows("alpha", 1000, 1000), ttl=None)) as store:
        store.materialize()
        server = serving(store.config.root, port)
    try:
        client = Client(f"http://127.0.0.1:{port}")
        call = online_call(
            client._settings,
            FEATURES,
            KEYS,
            at=None,
            request=None,
            metadata=False,
            consistency=None,
            partial=False,
            arrow=False,
            request_id=None,
        )
        ours = Timed(lambda: client.get_online_features(FEATURES, KEYS).to_dict())
        bare = Timed(bare_socket(port, call.message))
        standard = Timed(bare_standard(port, call.message.partition(b"\r\n\r\n")[2]))
        for _ in range(repeats):
            for side in (ours, bare, standard):
                side.turn()
        ours_async, bare_async = asyncio.run(async_turns(port, call.message, repeats))
    finally:
        stop(server)
    alone = "http.client alone"
    report.add("HTTP read by Client, 1 key x 15", "µs", ours.wall_us, peer=alone, theirs=standard.wall_us)
    report.add("HTTP read by AsyncClient, 1 key x 15", "µs", ours_async.wall_us)
    for name, side, least in (("Client", ours, bare), ("AsyncClient", ours_async, bare_async)):
        note = (
            f"processor time, {side.cpu_us:.0f} µs beside {least.cpu_us:.0f} µs for the same bytes by socket and "
            f"httptools alone; wall time {side.wall_us:.0f} beside {least.wall_us:.0f} µs"
        )
        report.add(f"{name} adds", "µs", side.cpu_us - least.cpu_us, target=Target(30, "at most"), note=note)


if __name__ == "__main__":
    main(run)
