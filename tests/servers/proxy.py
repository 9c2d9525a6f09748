"""A TCP proxy before a server, which cuts, loses, holds back or drips answers when a test says so."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Fault = Literal["refuse", "lose", "vanish", "cut", "hold", "drip", "late", "deny"]
_ROOM = 65536
_NOBODY = 1
_MOMENT_S = 0.3
_PATIENCE_S = 20.0


class Proxy:
    """Passes bytes on, both ways.

    A fault waits for a request with certain bytes in it, and comes once: `refuse` hangs up before the server sees the
    request, `lose` after it has answered, `cut` within the answer; `hold` keeps the answer back, `drip` gives it byte
    by byte, and `vanish` loses it, and from then on nobody gets through. `late` keeps the request back until `deliver`
    lets the server have it, whether or not the client still waits; `deny` answers as a Redis that is full would, and
    the server gets the request a moment later.

    Attributes:
        target: The server's port; connections from then on go there.
        port: Where the proxy listens, on the loopback interface.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._due = threading.Event()
        self._delivered = threading.Event()
        self._faults: list[tuple[bytes, Fault]] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def arm(self, fault: Fault, part: bytes = b"", times: int = 1) -> None:
        """Let the next so many requests with `part` in them meet a fault."""
        self._faults += [(part, fault)] * times

    def switch(self, target: int, last: frozenset[socket.socket] = frozenset()) -> None:
        """Hang up on everybody, on some last, and pass new connections on to another server."""
        self.target = target
        for one in sorted(self._open, key=lambda one: one in last):
            _shut(one)

    def deliver(self) -> None:
        """Let the server have what was kept back, and wait until it has answered."""
        self._due.set()
        assert self._delivered.wait(_PATIENCE_S), "nothing was kept back"

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._pass_on, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        self._ended.set()
        self._due.set()
        _shut(self._listener)
        self._listener.close()
        for one in list(self._open):
            _shut(one)
        for thread in self._threads:
            thread.join()

    def _pass_on(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            with server:
                both = {client, server}
                self._open |= both
                with suppress(OSError):  # one side hung up
                    self._both_ways(client, server)
                self._open -= both

    def _both_ways(self, client: socket.socket, server: socket.socket) -> None:
        fault: Fault | None = None
        while True:
            ready, _, _ = select.select([client, server], [], [])
            if client in ready:
                data = client.recv(_ROOM)
                if not data:
                    return
                fault = self._taken(data) or fault
                if fault == "refuse":
                    return
                if fault in ("late", "deny"):
                    if fault == "late":
                        self._due.wait()
                    else:
                        client.sendall(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n")
                        self._ended.wait(_MOMENT_S)
                    server.sendall(data)
                    data = server.recv(_ROOM)
                    self._delivered.set()
                    client.sendall(data)
                    return
                server.sendall(data)
            if server in ready:
                data = server.recv(_ROOM)
                if fault == "vanish":
                    self.switch(_NOBODY, frozenset({client, server}))
                if not data or fault in ("lose", "vanish"):
                    return
                if fault == "cut":
                    client.sendall(data[: len(data) // 2])
                    return
                if fault == "hold":
                    continue
                if fault == "drip":
                    for at in range(len(data)):
                        client.sendall(data[at : at + 1])
                        if self._ended.wait(0.02):
                            return
                    continue
                client.sendall(data)

    def _taken(self, data: bytes) -> Fault | None:
        for number, (part, fault) in enumerate(self._faults):
            if part in data:
                del self._faults[number]
                return fault
        return None


@contextmanager
def proxied(target: int) -> Iterator[Proxy]:
    """Run a proxy before the server that listens on a port of the loopback interface."""
    proxy = Proxy(target)
    thread = threading.Thread(target=proxy.run, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()


def _shut(one: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        one.shutdown(socket.SHUT_RDWR)
