"""Turns what the Redis client reports into the errors of the stream contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis import exceptions

from asof.errors import StreamError, StreamRefusedError

if TYPE_CHECKING:
    from types import TracebackType

_LOGIN = "Check ASOF_REDIS_USERNAME and ASOF_REDIS_PASSWORD, and that this user may read and write the topic's keys."
_ELSEWHERE = "Check that the server in the URL is up and can be reached from here, then try again."
_KINDS: tuple[tuple[type[exceptions.RedisError], type[StreamError], str], ...] = (
    (exceptions.AuthenticationError, StreamRefusedError, _LOGIN),
    (exceptions.AuthorizationError, StreamRefusedError, _LOGIN),
    (exceptions.NoPermissionError, StreamRefusedError, _LOGIN),
    (exceptions.BusyLoadingError, StreamError, "The server reads its data from disk; try again."),
    (exceptions.ReadOnlyError, StreamError, "Name the primary in the URL, or try again after the failover."),
    (exceptions.OutOfMemoryError, StreamError, "Give the server more memory, or trim its streams."),
    (exceptions.ConnectionError, StreamError, _ELSEWHERE),
    (exceptions.TimeoutError, StreamError, _ELSEWHERE),
    (exceptions.ClusterError, StreamError, _ELSEWHERE),
)
_REPLIES = {
    "WRONGTYPE": "Name the key of a stream as the topic.",
    "NOAUTH": _LOGIN,
    "NOPERM": _LOGIN,
    "MOVED": "Name a server that is not part of a cluster in the URL.",
    "CROSSSLOT": "Name a server that is not part of a cluster in the URL.",
}


class translated:
    """Raises the contract's errors for those of the client in its block."""

    __slots__ = ("_topic",)

    def __init__(self, topic: str) -> None:
        """Guard a block that reads `topic`."""
        self._topic = topic

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Translate what left the block."""
        if isinstance(error, exceptions.RedisError):
            raise _from_client(error, f"The Redis stream {self._topic!r} cannot be read") from error


def _from_client(error: exceptions.RedisError, what: str) -> StreamError:
    for kind, ours, fix in _KINDS:
        if isinstance(error, kind):
            return ours(what, why=str(error), fix=fix)
    fix = _REPLIES.get(str(error).partition(" ")[0], "Use Redis 6.2 or newer, or Valkey.")
    return StreamRefusedError(what, why=str(error), fix=fix)
