"""Turns what the server and its client report into the errors of the store contract."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg

from asof.backends.postgres.patience import NoAnswerError
from asof.errors import ConfigError, CorruptDataError, InputError, StoreError, StoreFullError

if TYPE_CHECKING:
    from types import TracebackType

    from asof.errors import AsofError

_LOGIN = "Check ASOF_POSTGRES_USER and ASOF_POSTGRES_PASSWORD, and what this user may do in the schema."
_ELSEWHERE = "Check that the server in the URL is up and can be reached from here, then try again."
_STATES: tuple[tuple[str, type[AsofError], str], ...] = (
    ("28", ConfigError, _LOGIN),
    ("42501", ConfigError, _LOGIN),
    ("3D000", ConfigError, "Create the database, or correct the URL."),
    ("25006", StoreError, "Name the primary in the URL, or try again after the failover."),
    ("42P01", StoreError, "Somebody deleted the store's tables; materialize again."),
    ("53100", StoreFullError, "Give the server more disk, or prune what nothing reads."),
    ("53300", StoreError, "Raise max_connections of the server, or write fewer connections into the URL."),
    ("54000", InputError, "Use shorter keys: the server takes about 2,700 bytes."),
    ("55P03", StoreError, "Somebody else is writing for long; try again."),
    ("57014", StoreError, "The server is too busy for the timeout in the URL; try again, or raise it."),
    ("XX001", CorruptDataError, "Look at the server's log, then materialize again."),
    ("XX002", CorruptDataError, "Look at the server's log, reindex the table, or materialize again."),
    ("08", StoreError, _ELSEWHERE),
    ("57P", StoreError, _ELSEWHERE),
)
# The client has no code for what keeps it from connecting.
_REFUSED = re.compile(r"authentication failed|no password supplied|role .* does not exist|no pg_hba\.conf entry")
_NO_DATABASE = re.compile(r"database .* does not exist")


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
        if isinstance(error, psycopg.Error):
            ours, fix = _meaning(error)
            why = " ".join(str(error).split())
            raise ours(f"The online store in {self._where} could not {self._doing}", why=why, fix=fix) from error


def _meaning(error: psycopg.Error) -> tuple[type[AsofError], str]:
    state = error.sqlstate
    if state is not None:
        for prefix, ours, fix in _STATES:
            if state.startswith(prefix):
                return ours, fix
        return StoreError, "Try again; if it persists, look at the server's log."
    if isinstance(error, NoAnswerError):
        return StoreError, "Look whether the server hangs; try again."
    if _REFUSED.search(str(error)):
        return ConfigError, _LOGIN
    if _NO_DATABASE.search(str(error)):
        return ConfigError, "Create the database, or correct the URL."
    return StoreError, _ELSEWHERE
