"""Notices a log that ends before what was taken in from it: its newest files are gone, and with them rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.errors import CorruptDataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asof.interfaces.log import LogHead
    from asof.interfaces.online import Generation, ViewKey


def require_log(source: str, head: LogHead, generations: Mapping[ViewKey, Generation]) -> None:
    """Refuse to go on from a log that lacks entries which views hold: they would pass new ones over.

    Args:
        source: Its name.
        head: Where the log ends, asked with the lock of the source held, or after
        generations: of views over the source.

    Raises:
        CorruptDataError: entries are missing.
    """
    ahead = max((one.progress.entry for one in generations.values() if one.progress is not None), default=0)
    if ahead > head.sequence:
        raise CorruptDataError(
            f"The log of source {source!r} ends at entry {head.sequence}, but entries up to {ahead} were taken in",
            why="Its newest files were deleted, or an older copy of it was put in place",
            fix="Restore them. To go on without those rows, delete the project's online store and materialize.",
        )
