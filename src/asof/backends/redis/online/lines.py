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

from asof.backends.redis.online.masters import MasterConnection, MasterTlsConnection, pause
from asof.backends.redis.online.topology import Asked, NotServed
from asof.backends.redis.settings import new_connection
from asof.deadline import not_after

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from redis import Redis

    from asof.backends.redis.online.topology import Address

_TRIES = 3
_PAUSE_S = 0.01
_ROOM = 65536
_ASKING = b"*1\r\n$6\r\nASKING\r\n"
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

    def ask(self, *command: Any, whole: Callable[[Any], bool] | None = None) -> Any:
        """Return the answer to a command; its parts are bytes, text or integers.

        Args:
            command: The command.
            whole: Whether an answer shows all that it should, asked of nodes to which a slot is on its way.

        Raises:
            RedisError: the server refused it, or did not answer in time, however often it was asked.
        """
        return self._ask([command], whole)[0]

    def ask_all(self, *commands: Sequence[Any]) -> list[Any]:
        """Return the answers to commands that one connection takes in turn.

        Raises:
            RedisError: the server refused one of them, or did not answer in time.
        """
        return self._ask(commands, None)

    def _ask(self, commands: Sequence[Sequence[Any]], whole: Callable[[Any], bool] | None) -> list[Any]:
        until_s = not_after(time.monotonic() + self._budget_s)
        message = b"".join(hiredis.pack_command(tuple(command)) for command in commands)
        tried = refused = 0
        while True:
            line: Line | None = getattr(self._own, "line", None)
            kept = line is not None and line.pid == os.getpid() and line.is_current
            try:
                if line is None or not kept:
                    line = self._own.line = Line(self._client, until_s)
                    self._open.add(line)
                answers = line.ask(message, until_s, len(commands))
                self._own.peer = line.peer
                return answers
            except exceptions.ResponseError:
                raise
            except NotServed as error:
                if isinstance(error, Asked) and self._tries > 1:  # what writes waits until the slot has moved
                    found = self._asked(error, message, until_s, len(commands))
                    if found is not None and (whole is None or whole(found[0])):
                        return found
                else:
                    self._hang_up(line)
                pause_s = pause(refused) if refused else 0.0
                refused += 1
                if time.monotonic() + pause_s >= until_s:
                    raise
            except exceptions.RedisError as error:
                self._hang_up(line)
                tried += 1
                pause_s = 0.0 if kept else _PAUSE_S * 2**tried * random.uniform(0.5, 1.0)  # noqa: S311 # no secret
                if tried == self._tries or isinstance(error, _FIRM) or time.monotonic() + pause_s >= until_s:
                    raise
            time.sleep(pause_s)  # none after a connection that was kept: most often it had just been closed

    def _asked(self, error: Asked, message: bytes, until_s: float, answers: int) -> list[Any] | None:
        """Return what the node answers that gets the slot, or None if it does not; it is asked for once."""
        line: Line | None = None
        try:
            line = Line(self._client, until_s, error.address)
            found = line.ask(_ASKING + message, until_s, 1 + answers)[1:]
            self._own.peer = line.peer
            return found
        except (exceptions.ConnectionError, exceptions.TimeoutError):
            return None
        finally:
            if line is not None:
                line.close()

    def run(
        self,
        script: str,
        sha: str,
        keys: int,
        *arguments: Any,
        whole: Callable[[Any], bool] | None = None,
        then: Sequence[Any] | None = None,
    ) -> Any:
        """Return what a script answers; it is sent only to a server that does not know it.

        Args:
            script: Its text.
            sha: Its name.
            keys: How many of the arguments are keys.
            arguments: What it is given.
            whole: As for `ask`.
            then: A command that follows on the same connection; both answers are returned.
        """
        after = [] if then is None else [then]
        try:
            answers = self._ask([("EVALSHA", sha, keys, *arguments), *after], whole)
        except exceptions.NoScriptError:
            answers = self._ask([("EVAL", script, keys, *arguments), *after], whole)
        return answers[0] if then is None else answers

    @property
    def peer(self) -> object:
        """Who gave this thread its last answer."""
        return getattr(self._own, "peer", None)

    def close(self) -> None:
        """Close what is open, of all threads; a later question opens anew."""
        for line in list(self._open):
            line.close()
        self._own = threading.local()

    def _hang_up(self, line: Line | None) -> None:
        self._own.line = None
        if line is not None and line.pid == os.getpid():
            line.hang_up()


class Line:
    """One connection, made by the client's library and then used without it, which takes half the time.

    Attributes:
        socket: It.
        peer: Where it leads, as the client names it.
    """

    def __init__(self, client: Redis, until_s: float, address: Address | None = None) -> None:
        """Connect, within the time that is left until then on the monotonic clock.

        Args:
            client: Knows how.
            until_s: When to give up.
            address: Another node of the client's cluster.
        """
        self.pid = os.getpid()
        self._connection = new_connection(client)
        self._in_cluster = isinstance(self._connection, MasterConnection | MasterTlsConnection)
        if address is not None:
            self._connection.fixed = address
        left_s = _left(until_s)
        connect_s = self._connection.socket_connect_timeout
        self._connection.socket_connect_timeout = left_s if connect_s is None else min(left_s, connect_s)
        self._connection.socket_timeout = left_s
        self._connection.connect()
        self.peer = self._connection.host, self._connection.port
        self.socket: socket.socket = self._connection._sock
        self._reader = hiredis.Reader()

    @property
    def is_current(self) -> bool:
        """Whether it leads to where the client would connect to now, as far as that is known."""
        return not self._in_cluster or self._connection.is_current

    def ask(self, message: bytes, until_s: float, answers: int) -> list[Any]:
        """Return the answers to commands; one that is refused keeps none of the others from being taken in."""
        self.send(message, until_s)
        found: list[Any] = []
        refused: exceptions.RedisError | None = None
        for _ in range(answers):
            try:
                found.append(self.receive(until_s))
            except (exceptions.ResponseError, NotServed) as error:
                refused = refused or error
        if refused is not None:
            raise refused
        return found

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
            raise (self._connection.refused(str(answer)) if self._in_cluster else None) or _refusal(str(answer))
        return answer

    def hang_up(self) -> None:
        """Close it after a failure; who the master is will be looked up anew."""
        if self._in_cluster:
            self._connection.doubt()
        self.close()

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
