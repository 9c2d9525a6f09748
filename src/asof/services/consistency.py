"""Reads of all views as of one instant at which every one of them is exact, tried again for a bounded time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.clock import FIRST_US, iso
from asof.errors import InputError, SnapshotUnavailableError
from asof.services.freshness import snapshot_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.clock import Clock
    from asof.interfaces.online import Generation, ViewRead

TRY_S = 0.2
"""How long a read waits for an instant at which all its views are exact."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.02


@dataclass(frozen=True)
class Snapshot:
    """What was found.

    Attributes:
        reads: Per view its values.
        generations: Per view its generation.
        instant_us: All of it is what was known then.
        now_us: The clock before the store was read.
    """

    reads: Sequence[ViewRead]
    generations: Sequence[Generation]
    instant_us: int
    now_us: int


def read_snapshot(
    look_up: Callable[[], tuple[Sequence[ViewRead], Sequence[Generation]]],
    clock: Clock,
    at_us: int | None,
    check: Callable[[Sequence[Generation]], object],
) -> Snapshot:
    """Read until there is an instant at which all views are exact, for at most `TRY_S`.

    Args:
        look_up: Reads the store once.
        clock: Asked anew before every look.
        at_us: The instant of the read. Default: the newest that is exact.
        check: Raises where waiting cannot help.

    Raises:
        InputError: the instant is ahead of the clock, so rows may yet become known before it.
        SnapshotUnavailableError: time is up.
    """
    pause_s, until_s = _FIRST_PAUSE_S, time.monotonic() + TRY_S
    while True:
        now_us = clock.now_us()
        if at_us is not None and at_us > now_us:
            raise InputError(
                f"A snapshot at {iso(at_us)} cannot be read yet, at {iso(now_us)}",
                why="What arrives until then belongs to it",
                fix='Ask for an earlier instant, or for consistency "latest".',
            )
        reads, generations = look_up()
        check(generations)
        newest = max((one.instant_us for one in generations), default=FIRST_US)
        instant = snapshot_instant(generations, now_us, newest, at_us)
        if instant is not None:
            return Snapshot(reads, generations, instant, now_us)
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise SnapshotUnavailableError(
                "There was no instant at which all views are exact",
                why="Arrivals are on their way into one of them, while another shows a later instant already",
                fix='Try again, or read with consistency "latest".',
            )
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
