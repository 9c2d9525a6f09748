"""One kept-alive connection of the blocking client, and the pool of idle ones that threads and forks share safely."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections import deque
from typing import TYPE_CHECKING

from asof.client.responses import Response

if TYPE_CHECKING:
    from asof.client.settings import Settings

_CHUNK = 262_144


class Connection:
    """A connection to the server; used by one thread at a time."""

    __slots__ = ("_socket", "fresh")

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        """Connect.

        Raises:
            OSError: the server cannot be reached, or not within `timeout_s`.
        """
        self.fresh = True
        raw = socket.create_connection((settings.host, settings.port), timeout_s)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = settings.context
            self._socket = raw if context is None else context.wrap_socket(raw, server_hostname=settings.host)
        except BaseException:
            raw.close()
            raise

    def exchange(self, message: bytes, deadline: float) -> Response:
        """Send a request and return its answer.

        Args:
            message: The request.
            deadline: When to give up, by the monotonic clock.

        Raises:
            OSError: the connection was lost, or time is over.
            httptools.HttpParserError: the answer is not HTTP.
        """
        link = self._socket
        response = Response()
        link.settimeout(_left(deadline))
        link.sendall(message)
        while True:
            data = link.recv(_CHUNK)
            if not data:
                raise ConnectionResetError("The server hung up")
            response.feed(data)
            if response.complete:
                break
            link.settimeout(_left(deadline))
        self.fresh = False
        return response

    def usable(self) -> bool:
        """Return whether the server has kept its end open: nothing is to be read on an idle connection."""
        return not _readable(self._socket)

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):
            self._socket.close()


class Pool:
    """The idle connections of one process. A forked child leaves its parent's alone and makes its own.

    There is no lock: a deque's pop and append are atomic, and a lock could be held by another thread at a fork.
    """

    def __init__(self, settings: Settings) -> None:
        """Start without connections."""
        self._settings = settings
        self._idle: deque[Connection] = deque()
        self._owner = os.getpid()

    def take(self, left_s: float, *, look: bool) -> Connection:
        """Return an idle connection, the one used last, or a new one.

        Args:
            left_s: How long connecting may take, at most.
            look: Whether to make sure that the server has not closed an idle one, which costs a system call.

        Raises:
            OSError: the server cannot be reached.
        """
        if self._owner != os.getpid():
            self.forget()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if not look or connection.usable():
                return connection
            connection.close()
        return Connection(self._settings, min(left_s, self._settings.connect_timeout_s))

    def give(self, connection: Connection) -> None:
        """Keep a connection for the next call."""
        self._idle.append(connection)
        if len(self._idle) > self._settings.idle:
            with contextlib.suppress(IndexError):
                self._idle.popleft().close()

    def close(self) -> None:
        """Close what is idle."""
        if self._owner != os.getpid():
            self.forget()
        while self._idle:
            with contextlib.suppress(IndexError):
                self._idle.pop().close()

    def forget(self) -> None:
        """Start afresh after a fork; closing a copy of the parent's socket does not end the parent's connection."""
        left, self._idle, self._owner = self._idle, deque(), os.getpid()
        for connection in left:
            connection.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("The time of the call is over")
    return left


if hasattr(select, "poll"):

    def _readable(link: socket.socket) -> bool:
        poll = select.poll()
        poll.register(link, select.POLLIN)
        return bool(poll.poll(0))

else:  # Windows, whose select has no limit on the numbers of sockets

    def _readable(link: socket.socket) -> bool:
        return bool(select.select([link], [], [], 0)[0])
