"""Until when whoever asked for a read waits for it: known to the store on the same thread, without a parameter."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class _Own(threading.local):
    until_s: float = float("inf")


_own = _Own()


class waiting_until:
    """Lets stores know, within the block, when nobody waits for them any more."""

    __slots__ = ("_before_s", "_until_s")

    def __init__(self, until_s: float) -> None:
        """Wait until then, on the monotonic clock."""
        self._until_s = until_s

    def __enter__(self) -> None:
        """Begin the block."""
        self._before_s = _own.until_s
        _own.until_s = min(self._before_s, self._until_s)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait as long as before."""
        _own.until_s = self._before_s


def not_after(until_s: float) -> float:
    """Return the earlier of a store's own limit and the moment when nobody waits any more, on the monotonic clock."""
    return min(until_s, _own.until_s)


def nobody_waits() -> bool:
    """Return whether that moment is past."""
    return time.monotonic() >= _own.until_s
