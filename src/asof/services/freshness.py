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


def lacking(views: Sequence[ViewSpec], generations: Sequence[Generation | None]) -> frozenset[int]:
    """Return the positions of views that hold less of their source's log than another view of the same read does.

    At the instant of the read, which the other one has reached, they lack rows that were known. That happens where
    arrivals were cut off by a crash, or could not be taken into one view, and another view was built anew.
    """
    entries = [None if one is None or one.progress is None else one.progress.entry for one in generations]
    newest: dict[str, int] = {}
    for view, entry in zip(views, entries, strict=True):
        if entry is not None:
            newest[view.source.name] = max(entry, newest.get(view.source.name, entry))
    return frozenset(
        position
        for position, (view, entry) in enumerate(zip(views, entries, strict=True))
        if entry is not None and entry < newest[view.source.name]
    )


def snapshot_instant(
    generations: Sequence[Generation], now_us: int, newest_us: int, at_us: int | None = None
) -> int | None:
    """Return an instant at which every view is exact, or None where there is none in this snapshot.

    That is an instant that no view is past, that lies before whatever is on its way was announced, however long ago
    that was, and that the clock had reached before the snapshot was taken, so that no row can be known at it any more
    that is not there already.

    Args:
        generations: Of the views that are read, from one snapshot.
        now_us: The clock, asked before the snapshot was taken.
        newest_us: The newest instant that a view shows.
        at_us: The instant that is asked for. Default: the newest there is.
    """
    pending = [one.progress.pending_us for one in generations if one.progress is not None]
    latest = min([now_us, *(since - 1 for since in pending if since is not None)])
    if at_us is None:
        return latest if latest >= newest_us else None
    return at_us if newest_us <= at_us <= latest else None


def is_stale(view: ViewSpec, generation: Generation | None, now_us: int, instant_us: int) -> bool:
    """Return whether a view's values are older than its freshness objective, or lack rows that are known by now.

    Those are arrivals on their way, where the instant of the read is not before them or they are stuck, and rows of a
    stream source's history that became known after it was read.
    """
    if generation is None:
        return False
    progress = generation.progress
    if progress is not None and progress.pending_us is not None:
        since_us = progress.pending_us
        if instant_us >= since_us or now_us - since_us > LOST_AFTER_US:
            return True
    if progress is not None and progress.due_us is not None and now_us >= progress.due_us:
        return True
    if view.freshness_us is None:
        return False
    checked = generation.instant_us if progress is None else progress.checked_at_us
    return checked is None or now_us - checked > view.freshness_us
