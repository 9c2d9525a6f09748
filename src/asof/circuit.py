"""A circuit breaker: reads of a store that keeps failing fail at once for a moment, until one of them finds it back."""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from asof.deadline import nobody_waits
from asof.errors import StoreError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

CircuitName = Literal["closed", "open", "half_open"]

_AFTER = 3
_LONGEST_S = 5.0
_LOST_S = 60.0


@dataclass(frozen=True)
class CircuitState:
    """A circuit at one moment.

    Attributes:
        where: Names the store.
        state: closed: reads reach the store. open: they fail at once. half_open: one of them reaches it, to see.
        failures: How many reads in a row failed.
        opened: How often the circuit has opened since the process began.
        refused: How many reads failed at once, likewise.
    """

    where: str
    state: CircuitName
    failures: int
    opened: int
    refused: int


class Circuit:
    """A context manager around each read of one store; safe with threads and after a fork.

    A failure is a `StoreError` worth a retry: whoever refuses a login or holds damaged values did answer. Three in a
    row open the circuit for a pause, of a length by chance, so that many processes do not come back at one moment; then
    one read is let through. If it fails, the next pause is twice as long, up to 5 seconds; else the circuit is closed.
    """

    def __init__(
        self,
        where: str,
        pause_s: float = 1.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Begin closed.

        Args:
            where: Names the store.
            pause_s: The first pause is between half of it and all of it.
            clock: Seconds that only rise.
            chance: Draws a number between two others.
        """
        self._where = where
        self._pause_s = pause_s
        self._clock = clock
        self._chance = chance
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._failures = self._opened = self._refused = 0
        self._until_s: float | None = None
        self._prober: int | None = None
        _everyone.add(self)

    def state(self) -> CircuitState:
        """Return how it is now."""
        name: CircuitName = "closed"
        if (until_s := self._until_s) is not None:
            name = "open" if self._prober is None and self._clock() < until_s else "half_open"
        return CircuitState(self._where, name, self._failures, self._opened, self._refused)

    def __enter__(self) -> None:
        """Begin a read.

        Raises:
            StoreError: the store failed several times until a moment ago.
        """
        if self._until_s is None:
            return
        if self._pid != os.getpid():
            self._renew()
        with self._lock:
            if self._until_s is None:
                return
            if self._clock() >= self._until_s:
                self._prober = threading.get_ident()
                self._until_s = self._clock() + _LOST_S  # nobody else, unless this one is never heard of again
                return
            self._refused += 1
        raise StoreError(
            f"{self._where} is left alone for a moment",
            why="It did not answer in time, or not at all, several times until a moment ago",
            fix="Check that it is up and can be reached from here, then try again.",
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take note of how the read ended."""
        if isinstance(error, StoreError) and error.retryable and not isinstance(error, StoreFullError):
            with self._lock:
                if not nobody_waits():
                    self._fail()
                elif self._prober == threading.get_ident():  # it was impatient, and has found nothing out
                    self._until_s, self._prober = self._clock(), None
        elif self._failures or self._prober is not None:
            with self._lock:
                self._failures, self._until_s, self._prober = 0, None, None

    def _fail(self) -> None:
        if self._until_s is not None and self._prober != threading.get_ident():
            return  # a read that began before the circuit opened
        self._failures += 1
        self._prober = None
        if self._failures >= _AFTER:
            longest_s = min(self._pause_s * 2 ** min(self._failures - _AFTER, 10), max(_LONGEST_S, self._pause_s))
            self._until_s = self._clock() + self._chance(longest_s / 2, longest_s)
            self._opened += 1

    def _renew(self) -> None:
        """In a forked child: what other threads of the parent were about does not end here."""
        self._lock = threading.Lock()
        self._pid = os.getpid()
        if self._prober is not None:
            self._until_s, self._prober = self._clock(), None


_everyone: weakref.WeakSet[Circuit] = weakref.WeakSet()


def circuit_states() -> list[CircuitState]:
    """Return the state of every circuit of this process, by the names of their stores."""
    return sorted((one.state() for one in list(_everyone)), key=lambda state: state.where)
