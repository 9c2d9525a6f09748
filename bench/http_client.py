"""A load client: a fixed number of kept-alive connections, each sending its next request when it has its answer."""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from typing import Any

CONNECTIONS = 16


@dataclass(frozen=True)
class Load:
    """What a server did under load: answers per second of wall time, and per second of its own processor time."""

    per_second: float
    per_cpu_second: float


def request(path: str, body: bytes, key: str = "") -> bytes:
    """Return a POST of JSON as the bytes that go over the wire, with an API key if there is one."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {key}\r\n" if key else ""
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def exchange(connection: socket.socket, message: bytes) -> bytes:
    """Send one request and return the answer's body; anything but 200 is an error."""
    connection.sendall(message)
    answer = b""
    while not _whole(answer):
        received = connection.recv(262_144)
        if not received:
            raise RuntimeError("The server hung up")
        answer += received
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer.decode(errors="replace"))
    return body


def _whole(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    if b"transfer-encoding: chunked" in head:
        return answer.endswith(b"0\r\n\r\n")
    start = head.index(b"content-length:") + 15
    return len(answer) - end - 4 >= int(head[start:].split(b"\r\n", 1)[0])


def ask_once(port: int, message: bytes) -> bytes:
    """Return the body of one answer on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        return exchange(connection, message)


def load(port: int, messages: list[bytes], server: subprocess.Popen[Any], duration_s: float) -> Load:
    """Load a server with these requests in turn, over and over."""
    with selectors.DefaultSelector() as selector:
        turn = _cycle(messages)
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ)
            connection.sendall(next(turn))
        pending: dict[int, bytes] = {}
        before_cpu, started, answers = _cpu_s(server.pid), time.perf_counter(), 0
        while time.perf_counter() - started < duration_s:
            for key, _ in selector.select(0):  # never asleep: waking a client would be billed to the server's writes
                connection = key.fileobj
                arrived = connection.recv(262_144)
                if not arrived:
                    raise RuntimeError("The server hung up")
                received = pending.pop(key.fd, b"") + arrived
                if not _whole(received):
                    pending[key.fd] = received
                    continue
                if not received.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(received.decode(errors="replace"))
                answers += 1
                connection.sendall(next(turn))
        took_s, cpu_s = time.perf_counter() - started, _cpu_s(server.pid) - before_cpu
        for key in list(selector.get_map().values()):
            key.fileobj.close()
    return Load(answers / took_s, answers / cpu_s)


def _cycle(messages: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from messages


def _cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    times = [found.cpu_times() for found in (process, *process.children(recursive=True))]
    return float(sum(found.user + found.system for found in times))
