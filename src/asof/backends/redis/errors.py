"""Turns what the client reports into the errors of the store contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis import exceptions

from asof.errors import ConfigError, StoreError, StoreFullError

if TYPE_CHECKING:
    from types import TracebackType

    from asof.errors import AsofError

_LOGIN = "Check ASOF_REDIS_USERNAME and ASOF_REDIS_PASSWORD, and that this user may use keys that begin with asof:."
_ELSEWHERE = "Check that the server in the URL is up and can be reached from here, then try again."
_KINDS: tuple[tuple[type[exceptions.RedisError], type[AsofError], str], ...] = (
    (exceptions.AuthenticationError, ConfigError, _LOGIN),
    (exceptions.AuthorizationError, ConfigError, _LOGIN),
    (exceptions.NoPermissionError, ConfigError, _LOGIN),
    (exceptions.OutOfMemoryError, StoreFullError, "Give the server more memory, or prune what nothing reads."),
    (exceptions.BusyLoadingError, StoreError, "The server reads its data from disk; try again."),
    (exceptions.ReadOnlyError, StoreError, "Name the primary in the URL, or try again after the failover."),
    (exceptions.ConnectionError, StoreError, _ELSEWHERE),
    (exceptions.TimeoutError, StoreError, _ELSEWHERE),
)
_REPLIES = {"NOAUTH": _LOGIN, "NOPERM": _LOGIN}


class translated:
    """Raises the contract's errors for those of the client in its block."""

    __slots__ = ("_doing", "_where")

    def __init__(self, where: str, doing: str) -> None:
        """Guard a block.

        Args:
            where: Names the server.
            doing: What the block does, as "be read".
        """
        self._where = where
        self._doing = doing

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Translate what left the block."""
        if not isinstance(error, exceptions.RedisError):
            return
        what = f"The online store on {self._where} could not {self._doing}"
        for kind_, ours, fix in _KINDS:
            if isinstance(error, kind_):
                raise ours(what, why=str(error), fix=fix) from error
        if "OOM" in str(error):
            raise StoreFullError(what, why=str(error), fix="Give the server more memory.") from error
        raise StoreError(
            what, why=str(error), fix=_REPLIES.get(str(error).partition(" ")[0], "Use Redis 6.2 or newer.")
        ) from error
