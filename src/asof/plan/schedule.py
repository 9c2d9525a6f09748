"""When intervals of a batch source begin and end: on a grid of one length, or at the times of a cron expression."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Protocol

from asof.clock import from_us, iso, to_us
from asof.cron import cron_times
from asof.durations import format_duration
from asof.errors import InputError

if TYPE_CHECKING:
    from asof.plan.specs import BatchSpec


_SAMPLED = 400


class Schedule(Protocol):
    """The instants at which one interval ends and the next begins, in microseconds since the epoch."""

    def floor(self, us: int) -> int:
        """Return the newest of them that is not after `us`."""
        ...

    def after(self, us: int) -> int:
        """Return the first of them that is after `us`."""
        ...

    def between(self, first_us: int, last_us: int) -> list[int]:
        """Return those in `[first_us, last_us]`, in order."""
        ...


class Grid:
    """Every so often from the epoch on, and before it."""

    def __init__(self, every_us: int) -> None:
        self._every_us = every_us

    def floor(self, us: int) -> int:
        """Return the newest instant that is not after `us`."""
        return us // self._every_us * self._every_us

    def after(self, us: int) -> int:
        """Return the first instant that is after `us`."""
        return self.floor(us) + self._every_us

    def between(self, first_us: int, last_us: int) -> list[int]:
        """Return those in `[first_us, last_us]`, in order."""
        return list(range(-(-first_us // self._every_us) * self._every_us, last_us + 1, self._every_us))


class CronTimes:
    """The minutes that a cron expression matches, in UTC.

    Raises (each method):
        InputError: there is none within the years that dates have.
        UnsupportedOperationError: the library that reads cron expressions is not installed.
    """

    def __init__(self, expression: str) -> None:
        self._expression = expression

    def floor(self, us: int) -> int:
        """Return the newest time that is not after `us`."""
        return self._first(us + 1, backwards=True)

    def after(self, us: int) -> int:
        """Return the first time that is after `us`."""
        return self._first(us)

    def between(self, first_us: int, last_us: int) -> list[int]:
        """Return those in `[first_us, last_us]`, in order."""
        return list(_matches(self._expression, first_us, last_us))

    def _first(self, us: int, *, backwards: bool = False) -> int:
        try:
            found: datetime | None = next(cron_times(self._expression, from_us(us), backwards=backwards), None)
        except OverflowError:
            found = None
        if found is None:
            raise InputError(
                f"The schedule {self._expression!r} has no time {'before' if backwards else 'after'} {iso(us)}",
                fix="Give an instant of this era.",
            )
        return to_us(found)


@lru_cache(maxsize=64)  # a scan asks for the same range again, to find what is missing in it
def _matches(expression: str, first_us: int, last_us: int) -> tuple[int, ...]:
    found = []
    for time in cron_times(expression, from_us(first_us - 1)):
        if (us := to_us(time)) > last_us:
            break
        found.append(us)
    return tuple(found)


def schedule_of(batch: BatchSpec) -> Schedule:
    """Return when the intervals of a batch source begin and end."""
    return Grid(batch.every_us) if batch.cron is None else CronTimes(batch.cron)


def steps_us(batch: BatchSpec) -> tuple[int, int]:
    """Return the shortest and the longest time between two runs; of a cron expression, as its next runs from 2000 on.

    Of an expression that is rare, those of some years are looked at; of a frequent one, those of some days.
    """
    if batch.cron is None:
        return batch.every_us, batch.every_us
    times = islice(cron_times(batch.cron, datetime(2000, 1, 1, tzinfo=UTC)), _SAMPLED)
    gaps = [to_us(after) - to_us(before) for before, after in pairwise(times)]
    return min(gaps), max(gaps)


def schedule_text(batch: BatchSpec) -> str:
    """Return a schedule as it is written: "1d", or "0 6 * * *"."""
    return format_duration(batch.every_us) if batch.cron is None else batch.cron


def cadence(batch: BatchSpec) -> str:
    """Return a schedule as people say it: "every 1d", or "at 0 6 * * * UTC"."""
    return f"every {schedule_text(batch)}" if batch.cron is None else f"at {batch.cron} UTC"
