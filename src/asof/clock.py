"""The one source of "now": injected everywhere, so that tests and replays choose the instant."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

from asof.errors import InputError

Instant = datetime | str
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
FIRST_US = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
LAST_US = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND


class Clock(Protocol):
    """Tells the present instant in microseconds since the Unix epoch, UTC."""

    def now_us(self) -> int:
        """Return the present instant."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Return the machine's present instant."""
        return time.time_ns() // 1000


class FixedClock:
    """A clock that shows what it was told, and moves only when told."""

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """Return the instant last set."""
        return self._now_us

    def set(self, now_us: int) -> None:
        """Show `now_us` from now on."""
        self._now_us = now_us


def to_us(instant: datetime) -> int:
    """Return `instant` in microseconds since the epoch; a naive datetime is read as UTC."""
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return (instant - EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """Return the UTC datetime of `us` microseconds since the epoch.

    Raises:
        OverflowError: outside the years 1 to 9999.
    """
    return EPOCH + timedelta(microseconds=us)


def iso(us: int) -> str:
    """Return `us` as ISO 8601 with a `Z`, without trailing zero fractions."""
    second, fraction = divmod(us, 1_000_000)
    text = _iso_second(second)
    return f"{text}Z" if fraction == 0 else f"{text}.{fraction:06}".rstrip("0") + "Z"


@lru_cache(maxsize=256)
def _iso_second(second: int) -> str:
    return from_us(second * 1_000_000).isoformat().removesuffix("+00:00")


def parse_instant(text: str) -> int:
    """Return the microseconds since the epoch of an ISO 8601 date or datetime; no zone means UTC.

    Raises:
        ValueError: `text` is not ISO 8601.
    """
    return to_us(datetime.fromisoformat(text))


def as_us(instant: Instant) -> int:
    """Return an instant in microseconds since the epoch.

    Raises:
        InputError: the text is not ISO 8601.
    """
    if isinstance(instant, datetime):
        return to_us(instant)
    try:
        return parse_instant(instant)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{instant!r} is not an instant", fix='Give a datetime, or ISO 8601 text as "2013-06-01T12:00".'
        ) from error
