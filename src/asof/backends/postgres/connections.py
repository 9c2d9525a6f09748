"""Connections to one database that threads share one at a time, and that forked children leave alone."""

from __future__ import annotations

import os
import select
import threading
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import TransactionStatus

from asof.backends.postgres.packing import ADAPTERS
from asof.backends.postgres.patience import NoAnswerError, PatientConnection
from asof.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from asof.backends.postgres.settings import Settings

    _T = TypeVar("_T")

_WAIT_S = 30.0
_GRACE_S = 1.0
_everyone: weakref.WeakSet[Connections] = weakref.WeakSet()
_abandoned: list[object] = []


class Connections:
    """Opens connections when they are needed, and keeps some of them for the next who needs one.

    They are in autocommit mode: a statement outside `transaction()` stands for itself.
    """

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        self._settings = settings
        self._lock = threading.Lock()
        self._closed = False
        self._idle: list[PatientConnection] = []
        self._open: set[PatientConnection] = set()
        self._free = threading.BoundedSemaphore(settings.connections)
        _everyone.add(self)

    @contextmanager
    def shared(self) -> Iterator[PatientConnection]:
        """Lend one of the connections whose number is limited, for a moment, with a limit to how long it waits.

        Raises:
            StoreError: none became free for long.
        """
        free = self._free
        if not free.acquire(timeout=_WAIT_S):
            raise StoreError(
                f"All {self._settings.connections} connections to {self._settings.where} were busy for {_WAIT_S:.0f} s",
                fix="Write more connections into the URL, or read from fewer threads.",
            )
        try:
            with self.own() as connection:
                connection.patience_s = self._settings.timeout_s + _GRACE_S
                yield connection
        finally:
            free.release()

    @contextmanager
    def own(self) -> Iterator[PatientConnection]:
        """Lend a connection for as long as the block likes; there is no limit to their number."""
        connection = self._take()
        connection.patience_s = None
        try:
            yield connection
        finally:
            self._give_back(connection)

    def repeatable(self, work: Callable[[PatientConnection], _T]) -> _T:
        """Return what work that may be done twice returns; it runs again where its connection turns out to be dead."""
        while True:
            kept = self.idle
            with self.shared() as connection:
                try:
                    return work(connection)
                except NoAnswerError:
                    raise
                except psycopg.OperationalError:
                    if not (connection.closed and kept):  # one that was kept may be dead, a new one may not
                        raise

    @property
    def idle(self) -> int:
        """How many connections wait for their next use."""
        return len(self._idle)

    def close(self) -> None:
        """Close all, those in use when they are given back; more than once is fine."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            self._open.difference_update(idle)
        for connection in idle:
            connection.close()

    def __del__(self) -> None:
        """Close what nobody closed."""
        with suppress(psycopg.Error, OSError, AttributeError):
            self.close()

    def note_fork(self) -> None:
        """In a forked child: leave the parent's sessions as they are, and make new ones."""
        for connection in self._open:
            _abandoned.append(connection)  # closing it would end the parent's session
            with suppress(psycopg.Error, OSError):
                os.close(connection.fileno())  # else the session would outlive the parent, its locks held
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(self._settings.connections)
        self._idle, self._open = [], set()

    def _take(self) -> PatientConnection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                break
            if _is_quiet(connection):
                return connection
            self._discard(connection)
        connection = PatientConnection.connect(self._settings.conninfo, autocommit=True, context=ADAPTERS)
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        with self._lock:
            self._open.add(connection)
        return connection

    def _give_back(self, connection: PatientConnection) -> None:
        usable = not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE
        with self._lock:
            mine = connection in self._open
            if mine and usable and not self._closed and len(self._idle) < self._settings.connections:
                self._idle.append(connection)
                return
        if mine:
            self._discard(connection)

    def _discard(self, connection: PatientConnection) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()


def _is_quiet(connection: PatientConnection) -> bool:
    """Return whether the server has sent nothing unasked for: it only does when it ends the session."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def _note_fork() -> None:
    for connections in _everyone:
        connections.note_fork()


os.register_at_fork(after_in_child=_note_fork)
