"""An HTTP server whose answers are a list: each is sent as it is, or stands for a broken or silent connection."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

HANG_UP = "hang up"
SILENCE = "silence"
HALF = "half an answer"


def answer(status: int, body: Any, *headers: str) -> bytes:
    """Return an answer of JSON as it goes over the wire."""
    text = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(text)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + text


def error(status: int, code: str, *headers: str) -> bytes:
    """Return an error as the server of features answers it."""
    return answer(status, {"error": {"code": code, "what": "It failed", "why": "So it is", "fix": "Wait"}}, *headers)


FEATURES = answer(
    200, {"at": "2026-01-01T00:00:00Z", "features": ["a"], "types": ["int64"], "results": [{"values": [7]}]}
)


class Scripted:
    """A server of one test.

    Attributes:
        answers: What is done with the next requests; the last one is done with all that come after it.
        requests: What came, whole.
        connections: How many were accepted.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: deque[bytes | str] = deque([FEATURES])
        self.requests: list[bytes] = []
        self.connections = 0
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    @property
    def url(self) -> str:
        """Where it listens."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def hang_up(self) -> None:
        """Close every connection from this end."""
        for link in self._open:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(timeout=60)
        for link in self._open:
            link.close()

    def _spawn(self, work: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
                if self._tls is not None:
                    link = self._tls.wrap_socket(link, server_side=True)
            except OSError:
                if self._listener.fileno() < 0:
                    return
                continue
            self.connections += 1
            self._open.append(link)
            self._spawn(self._serve, link)

    def _serve(self, link: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while request := self._read(link):
                self.requests.append(request)
                what = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
                if what == HANG_UP:
                    link.shutdown(socket.SHUT_RDWR)
                    return
                if what == HALF:
                    link.sendall(FEATURES[: len(FEATURES) - 9])
                    link.shutdown(socket.SHUT_RDWR)
                    return
                if isinstance(what, bytes):
                    link.sendall(what)

    @staticmethod
    def _read(link: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            arrived = link.recv(65_536)
            if not arrived:
                return b""
            data += arrived
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += link.recv(65_536)
        return head + b"\r\n\r\n" + body
