"""Lets many threads use an environment at once, and one at a time change what all of them share."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Gate:
    """A readers-writer lock that prefers the writer; entering and leaving take well under a microsecond."""

    def __init__(self) -> None:
        """Start open."""
        self._lock = threading.Lock()
        self._state = threading.Condition(self._lock)
        self._inside = 0
        self._waiting = 0
        self._held = False

    def enter(self) -> None:
        """Wait until nobody has or wants the gate alone, then count as inside."""
        with self._lock:
            while self._waiting:
                self._state.wait()
            self._inside += 1

    def leave(self) -> None:
        """Undo one `enter`."""
        with self._lock:
            self._inside -= 1
            if self._waiting:
                self._state.notify_all()

    @contextmanager
    def alone(self, *, inside: int = 0) -> Iterator[None]:
        """Keep everybody else out.

        Args:
            inside: How many times the calling thread has entered and not left; 0 or 1. At most one thread at a
                time may ask from inside (here: the one with the write transaction), else two would wait forever.
        """
        with self._state:
            self._waiting += 1
            while self._held or self._inside != inside:
                self._state.wait()
            self._held = True
        try:
            yield
        finally:
            with self._state:
                self._held = False
                self._waiting -= 1
                self._state.notify_all()
