"""Cron expressions of five fields, read by the optional library cronsim: checked, and as times in UTC."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from asof.errors import DefinitionError, UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANY = datetime(2000, 1, 1, tzinfo=UTC)
_FIX = 'Write minute, hour, day of month, month and day of week, as "0 6 * * *" for every day at 06:00.'


def is_cron(text: object) -> bool:
    """Return whether a schedule is meant as a cron expression: text of more than two words."""
    return isinstance(text, str) and len(text.split()) > 2


def check_cron(text: str, what: str) -> str:
    """Return a cron expression in the one form that equal ones have: single blanks, capital letters.

    Args:
        text: Five fields; days of the month L and LW, of the week MON, 5L and MON#2 too.
        what: What it is for, named in the error.

    Raises:
        DefinitionError: it is none, or matches no minute ever.
        UnsupportedOperationError: the library is not installed.
    """
    written = " ".join(text.upper().split())
    why = f"It has {len(written.split())} fields instead of five" if len(written.split()) != 5 else ""
    try:
        if not why and len(list(islice(cron_times(written, _ANY), 2))) < 2:
            why = "It matches no two minutes within fifty years"
    except ValueError as error:
        why = str(error)
    if why:
        raise DefinitionError(f"{what} {text!r} is not a cron expression", why=why, fix=_FIX)
    return written


def cron_times(expression: str, start: datetime, *, backwards: bool = False) -> Iterator[datetime]:
    """Give the minutes in UTC that an expression matches, after `start` or, backwards, before it.

    Day of month and day of week must both match where one of them begins with a star, else one is enough.

    Raises:
        ValueError: it is no cron expression.
        UnsupportedOperationError: the library is not installed.
    """
    try:
        from cronsim import CronSim, CronSimError
    except ImportError as error:
        raise UnsupportedOperationError(
            f"The schedule {expression!r} needs the library cronsim, which is not installed",
            why="Cron expressions are an extra",
            fix='Install it with pip install "asof[cron]", or write an interval\'s length, as "1d".',
        ) from error
    try:
        times = CronSim(expression, start, reverse=backwards)
    except CronSimError as error:
        raise ValueError(str(error)) from error
    with suppress(OverflowError):  # at the end of the years that dates have
        yield from times
