"""Turns what the Redis client reports into the errors of the store's and the stream's contracts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis import exceptions

from asof.backends.redis.online.topology import NotACluster, NotServed
from asof.errors import (
    ConfigError,
    StoreError,
    StoreFullError,
    StreamError,
    StreamRefusedError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from types import TracebackType

    from asof.errors import AsofError

_LOGIN = "Check ASOF_REDIS_USERNAME and ASOF_REDIS_PASSWORD, and the rights of this user."
_ELSEWHERE = "Check that the server in the URL is up and can be reached from here, then try again."
_CLUSTER = "For an online store add cluster=true to the URL; streams are read from a server outside of clusters."
_NO_CLUSTER = "Leave cluster=true out of the URL."
_SLOT = "The cluster moves the project's slot, or elects another master: try again."
_OLD = "Use Redis 6.2 or newer, or Valkey."


@dataclass(frozen=True)
class _Kinds:
    """Which error of a contract stands for what happened."""

    login: type[AsofError]
    cluster: type[AsofError]
    full: type[AsofError]
    passing: type[AsofError]
    other: type[AsofError]


_STORE = _Kinds(ConfigError, UnsupportedOperationError, StoreFullError, StoreError, StoreError)
_STREAM = _Kinds(StreamRefusedError, StreamRefusedError, StreamError, StreamError, StreamRefusedError)

_CLIENT: tuple[tuple[type[exceptions.RedisError], str, str], ...] = (
    (exceptions.AuthenticationError, "login", _LOGIN),
    (exceptions.AuthorizationError, "login", _LOGIN),
    (exceptions.NoPermissionError, "login", _LOGIN),
    (NotACluster, "cluster", _NO_CLUSTER),
    (NotServed, "passing", _SLOT),
    (exceptions.ClusterError, "cluster", _CLUSTER),
    (exceptions.AskError, "cluster", _CLUSTER),
    (exceptions.ClusterCrossSlotError, "cluster", _CLUSTER),
    (exceptions.OutOfMemoryError, "full", "Give the server more memory, or delete what nothing reads."),
    (exceptions.BusyLoadingError, "passing", "The server reads its data from disk; try again."),
    (exceptions.ReadOnlyError, "passing", "Name the primary in the URL, or try again after the failover."),
    (exceptions.ConnectionError, "passing", _ELSEWHERE),
    (exceptions.TimeoutError, "passing", _ELSEWHERE),
)
# What scripts run into comes as text within another error.
_TEXTS: tuple[tuple[str, type[exceptions.RedisError]], ...] = (
    ("OOM ", exceptions.OutOfMemoryError),
    ("READONLY ", exceptions.ReadOnlyError),
    ("MASTERDOWN ", exceptions.ReadOnlyError),
    ("NOREPLICAS ", exceptions.ReadOnlyError),
    ("NOPERM ", exceptions.NoPermissionError),
    ("NOAUTH ", exceptions.NoPermissionError),
    ("MOVED ", exceptions.AskError),
    ("CLUSTERDOWN ", exceptions.ClusterError),
    ("CROSSSLOT ", exceptions.ClusterCrossSlotError),
    ("do not hash to the same slot", exceptions.ClusterCrossSlotError),
    ("non local key", exceptions.ClusterCrossSlotError),
    ("MISCONF ", exceptions.OutOfMemoryError),  # it cannot save to its disk
)


class translated:
    """Raises the contract's errors for those of the client in its block."""

    __slots__ = ("_kinds", "_what")

    def __init__(self, what: str, kinds: _Kinds) -> None:
        """Guard a block; `what` says what cannot be done if it fails."""
        self._what = what
        self._kinds = kinds

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Translate what left the block."""
        if isinstance(error, exceptions.RedisError):
            raise _translation(error, self._what, self._kinds) from error


def reading(where: str) -> translated:
    """Guard reads of the online store at `where`."""
    return translated(f"The online store on {where} could not be read", _STORE)


def writing(where: str) -> translated:
    """Guard writes to the online store at `where`."""
    return translated(f"The online store on {where} could not be written", _STORE)


def consuming(topic: str) -> translated:
    """Guard reads of a topic."""
    return translated(f"The Redis stream {topic!r} cannot be read", _STREAM)


def _translation(error: exceptions.RedisError, what: str, kinds: _Kinds) -> AsofError:
    text = str(error)
    found = type(error)
    if not isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError):
        found = next((kind for part, kind in _TEXTS if part in text), found)
    for kind, role, fix in _CLIENT:
        if issubclass(found, kind):
            ours: type[AsofError] = getattr(kinds, role)
            return ours(what, why=text, fix=fix)
    fix = "Name the key of a stream as the topic." if "WRONGTYPE" in text and kinds is _STREAM else _OLD
    return kinds.other(what, why=text, fix=fix)
