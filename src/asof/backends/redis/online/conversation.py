"""A connection that is asked and read without ever waiting, for whoever watches many things in one thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import hiredis
from redis import exceptions

from asof.backends.redis.failures import reading
from asof.backends.redis.online.lines import Line

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from redis import Redis

    from asof.interfaces.online import Requests, ViewRead

    Pack = Callable[[Requests], tuple[Any, ...]]
    Unpack = Callable[[Requests, list[Any]], list[ViewRead]]

_CONNECT_S = 2.0
_ROOM = 262_144


class RedisConversation:
    """A `Conversation` over one connection. What it cannot do at once, it raises; the store itself is asked then."""

    def __init__(self, client: Redis, where: str, pack: Pack, unpack: Unpack) -> None:
        """Connect, as `client` does.

        Args:
            client: Knows how.
            where: Names the server in messages.
            pack: Returns the command for requests.
            unpack: Makes their answers of what the server said.
        """
        self._where = where
        self._pack = pack
        self._unpack = unpack
        self._asked: Requests = []
        with reading(where):
            self._line = Line(client, time.monotonic() + _CONNECT_S)
        self._socket: socket.socket = self._line.socket
        self._socket.settimeout(0)
        self._reader = hiredis.Reader()

    def fileno(self) -> int:
        """Return the number of the file to watch."""
        return self._socket.fileno()

    def ask(self, requests: Requests) -> None:
        """Send a question, the one before it being answered."""
        message = hiredis.pack_command(self._pack(requests))
        with reading(self._where):
            try:
                sent = self._socket.send(message)
            except OSError as error:
                raise exceptions.ConnectionError(str(error)) from error
            if sent < len(message):
                raise exceptions.ConnectionError("The question is too long to be sent at once")
        self._asked = requests

    def take(self) -> list[ViewRead] | None:
        """Return the answer, or None while it is not here whole."""
        with reading(self._where):
            try:
                received = self._socket.recv(_ROOM)
            except BlockingIOError:
                return None
            except OSError as error:
                raise exceptions.ConnectionError(str(error)) from error
            if not received:
                raise exceptions.ConnectionError("The server closed the connection")
            try:
                self._reader.feed(received)
                answer = self._reader.gets()
            except hiredis.ProtocolError as error:
                raise exceptions.ConnectionError(f"The server's answer is none: {error}") from error
            if answer is False:
                return None
            if isinstance(answer, hiredis.ReplyError):
                raise exceptions.ResponseError(str(answer))
        return self._unpack(self._asked, answer)

    def close(self) -> None:
        """Hang up."""
        self._line.close()
