"""Reads of all views as of one instant at which every one of them is exact, tried again for a bounded time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from asof.clock import iso
from asof.errors import InputError, SnapshotUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

TRY_S = 0.2
"""How long a read waits for an instant at which all its views are exact."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.02


class Found(Protocol):
    """What a read of the store found."""

    @property
    def exact(self) -> bool:
        """Whether every view is exact at its instant."""
        ...


_T = TypeVar("_T", bound=Found)


def until_exact(fetch: Callable[[], _T]) -> _T:
    """Read until what is found is exact, for at most `TRY_S`.

    Args:
        fetch: Asks the clock and reads the store anew.

    Raises:
        SnapshotUnavailableError: time is up.
    """
    pause_s, until_s = _FIRST_PAUSE_S, time.monotonic() + TRY_S
    while True:
        found = fetch()
        if found.exact:
            return found
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise SnapshotUnavailableError(
                "There was no instant at which all views are exact",
                why="Arrivals are on their way into one of them, while another shows a later instant already",
                fix='Try again, or read with consistency "latest".',
            )
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def no_snapshot_yet(at_us: int, now_us: int) -> InputError:
    """Return the error of a snapshot at an instant that is ahead of the clock."""
    return InputError(
        f"A snapshot at {iso(at_us)} cannot be read yet, at {iso(now_us)}",
        why="What arrives until then belongs to it",
        fix='Ask for an earlier instant, or for consistency "latest".',
    )
