"""Notices a store that shows an older state than this process has read before, because it lost its newest writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.interfaces.online import Generation, ViewKey


class Seen:
    """The newest generation of each view that reads have shown; safe with threads."""

    def __init__(self) -> None:
        """Start without any."""
        self._newest: dict[ViewKey, Generation] = {}

    def of(self, views: Sequence[ViewKey]) -> list[Generation | None]:
        """Return what was seen of these views; to be asked before they are read, as another thread may see newer."""
        return [self._newest.get(view) for view in views]

    def check(
        self,
        views: Sequence[ViewKey],
        before: Sequence[Generation | None],
        generations: Sequence[Generation | None],
        refuse: Callable[[int, StoreError], None],
    ) -> None:
        """Remember what a read found.

        Args:
            views: What was read.
            before: What `of` returned before the read.
            generations: What the read found; None for a view that could not be read.
            refuse: Called with the position of a view that is older than what was seen before, and the error: the store
                lost writes, and cannot be trusted.
        """
        for position, (view, old, new) in enumerate(zip(views, before, generations, strict=True)):
            if new is None:
                continue
            if old is not None and _went_back(old, new):
                error = StoreError(
                    f"View {view.view}@{view.version} is older in the online store than it was before",
                    why="The store lost its newest writes, as a restart or a failover may do",
                    fix=f"Take arrivals in, by `asof stream` or a push, or run `asof materialize {view.view}`.",
                )
                refuse(position, error)
                continue
            self._newest[view] = new


def _went_back(old: Generation, new: Generation) -> bool:
    if new.number == old.number and new.written_at_us == old.written_at_us:
        if old.progress is None or new.progress is None:
            return False
        return new.progress.entry < old.progress.entry
    return new.number < old.number and new.written_at_us < old.written_at_us
