"""At which instant a read of the present is exact, and when a view's values are too old to pass for the present's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.interfaces.online import Generation
    from asof.plan.specs import ViewSpec

LOST_AFTER_US = 5_000_000
"""Arrivals that are on their way for longer are taken to be stuck: whoever was taking them in died, or cannot."""


def exact_instant(generations: Sequence[Generation], now_us: int, newest_us: int) -> int:
    """Return the instant of a read of the present.

    While arrivals are on their way, what a view holds is what was known just before they were announced; so that is the
    instant of the read, and a training row at that instant has the same values. Where that lies before what another
    view holds it is that, and where arrivals are stuck the clock's; values that lack arrivals are then stale.

    Args:
        generations: Of the views that are read, from one snapshot.
        now_us: The clock, asked before the snapshot was taken: arrivals announced since were known later than that.
        newest_us: The newest instant that a view shows.
    """
    pending = [
        one.progress.pending_us
        for one in generations
        if one.progress is not None
        and one.progress.pending_us is not None
        and now_us - one.progress.pending_us <= LOST_AFTER_US
    ]
    exact = min([now_us, *(since - 1 for since in pending)])
    return max(exact, newest_us)


def is_stale(view: ViewSpec, generation: Generation | None, now_us: int, instant_us: int) -> bool:
    """Return whether a view's values are older than its freshness objective, or lack rows that are known by now.

    Those are arrivals on their way, where the instant of the read is not before them, and rows of a stream source's
    history that became known after it was read.
    """
    if generation is None:
        return False
    progress = generation.progress
    if progress is not None and progress.pending_us is not None and instant_us >= progress.pending_us:
        return True
    if progress is not None and progress.due_us is not None and now_us >= progress.due_us:
        return True
    if view.freshness_us is None:
        return False
    checked = generation.instant_us if progress is None else progress.checked_at_us
    return checked is None or now_us - checked > view.freshness_us
