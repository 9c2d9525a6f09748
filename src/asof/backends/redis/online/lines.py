"""Connections that are read without the client's library: each question has a budget of time, and some are repeated."""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import hiredis
from redis import exceptions

from asof.backends.redis.settings import new_connection
from asof.deadline import not_after

if TYPE_CHECKING:
    import socket

    from redis import Redis

_TRIES = 3
_PAUSE_S = 0.01
_ROOM = 65536
_LATE = "The server did not answer in time"
_FIRM = (exceptions.AuthenticationError, exceptions.AuthorizationError)


class Lines:
    """Asks one server, by a connection per thread. Safe with threads and forks."""

    def __init__(self, client: Redis, budget_s: float, tries: int = _TRIES) -> None:
        """Connect as `client` does.

        Args:
            client: Knows how.
            budget_s: No question takes longer, tries and pauses included.
            tries: How often a question is asked that nobody answers; 1 where twice may not be the same as once.
        """
        self._client = client
        self._budget_s = budget_s
        self._tries = tries
        self._own = threading.local()
        self._open: weakref.WeakSet[Line] = weakref.WeakSet()

    def ask(self, *command: Any) -> Any:
        """Return the answer to a command; its parts are bytes, text or integers.

        Raises:
            RedisError: the server refused it, or did not answer in time, however often it was asked.
        """
        until_s = not_after(time.monotonic() + self._budget_s)
        message = hiredis.pack_command(command)
        for tried in range(1, self._tries + 1):
            line: Line | None = getattr(self._own, "line", None)
            kept = line is not None and line.pid == os.getpid()
            try:
                if line is None or not kept:
                    line = self._own.line = Line(self._client, until_s)
                    self._open.add(line)
                answer = line.ask(message, until_s)
            except exceptions.ResponseError:
                raise
            except exceptions.RedisError as error:
                self._hang_up(line)
                pause_s = 0.0 if kept else _PAUSE_S * 2**tried * random.uniform(0.5, 1.0)  # noqa: S311 # no secret
                if tried == self._tries or isinstance(error, _FIRM) or time.monotonic() + pause_s >= until_s:
                    raise
                time.sleep(pause_s)  # none after a connection that was kept: most often it had just been closed
            else:
                return answer
        raise AssertionError("unreachable")

    def run(self, script: str, sha: str, keys: int, *arguments: Any) -> Any:
        """Return what a script answers; it is sent only to a server that does not know it."""
        try:
            return self.ask("EVALSHA", sha, keys, *arguments)
        except exceptions.NoScriptError:
            return self.ask("EVAL", script, keys, *arguments)

    def close(self) -> None:
        """Close what is open, of all threads; a later question opens anew."""
        for line in list(self._open):
            line.close()
        self._own = threading.local()

    def _hang_up(self, line: Line | None) -> None:
        self._own.line = None
        if line is not None and line.pid == os.getpid():
            line.close()


class Line:
    """One connection, made by the client's library and then used without it, which takes half the time.

    Attributes:
        socket: It.
    """

    def __init__(self, client: Redis, until_s: float) -> None:
        """Connect, within the time that is left until then on the monotonic clock."""
        self.pid = os.getpid()
        self._connection = new_connection(client)
        left_s = _left(until_s)
        connect_s = self._connection.socket_connect_timeout
        self._connection.socket_connect_timeout = left_s if connect_s is None else min(left_s, connect_s)
        self._connection.socket_timeout = left_s
        self._connection.connect()
        self.socket: socket.socket = self._connection._sock
        self._reader = hiredis.Reader()

    def ask(self, message: bytes, until_s: float) -> Any:
        """Return the answer to one command."""
        self.send(message, until_s)
        return self.receive(until_s)

    def send(self, message: bytes | memoryview, until_s: float) -> None:
        """Send commands, packed as they are on the wire."""
        try:
            self.socket.settimeout(_left(until_s))
            self.socket.sendall(message)
        except TimeoutError as error:
            raise exceptions.TimeoutError(_LATE) from error
        except OSError as error:
            raise exceptions.ConnectionError(str(error)) from error

    def receive(self, until_s: float) -> Any:
        """Return the next answer."""
        try:
            answer = self._reader.gets()
            while answer is False:
                self.socket.settimeout(_left(until_s))
                received = self.socket.recv(_ROOM)
                if not received:
                    raise exceptions.ConnectionError("The server closed the connection")
                self._reader.feed(received)
                answer = self._reader.gets()
        except TimeoutError as error:
            raise exceptions.TimeoutError(_LATE) from error
        except OSError as error:
            raise exceptions.ConnectionError(str(error)) from error
        except hiredis.ProtocolError as error:
            raise exceptions.ConnectionError(f"The server's answer is none: {error}") from error
        if isinstance(answer, hiredis.ReplyError):
            raise _refusal(str(answer))
        return answer

    def close(self) -> None:
        """Hang up."""
        self._connection.disconnect()


def _left(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise exceptions.TimeoutError(_LATE)
    return left_s


def _refusal(text: str) -> exceptions.RedisError:
    if text.startswith("NOSCRIPT"):
        return exceptions.NoScriptError(text)
    if text.startswith("LOADING"):
        return exceptions.BusyLoadingError(text)
    return exceptions.ResponseError(text)
