"""Durations as users write them: "30d", "15m" or a `timedelta`, in whole microseconds inside."""

from __future__ import annotations

import re
from datetime import timedelta

from asof.errors import DefinitionError

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
_UNITS = {"us": 1, "ms": 1000, "s": SECOND_US, "m": MINUTE_US, "h": HOUR_US, "d": DAY_US, "w": 7 * DAY_US}
_PATTERN = re.compile(r"(\d+)\s*(us|ms|s|m|min|h|d|w)")
_MAX_US = 200 * 366 * DAY_US

Duration = str | timedelta


def parse_duration(value: Duration, what: str, *, zero: bool = False) -> int:
    """Return a duration in microseconds.

    Args:
        value: A `timedelta`, or a whole number with us, ms, s, m (or min), h, d or w, as "30d".
        what: What the duration is for, named in the error.
        zero: Whether zero is allowed.

    Raises:
        DefinitionError: not a duration, not positive, or beyond 200 years.
    """
    if isinstance(value, timedelta):
        us = value // timedelta(microseconds=1)
    elif isinstance(value, str) and (match := _PATTERN.fullmatch(value.strip())):
        us = int(match[1]) * _UNITS["m" if match[2] == "min" else match[2]]
    else:
        raise DefinitionError(
            f"{what} {value!r} is not a duration",
            fix='Write a whole number and a unit, as "90s", "15m", "1h", "30d" or "4w", or give a timedelta.',
        )
    if us < 0 or (us == 0 and not zero) or us > _MAX_US:
        raise DefinitionError(
            f"{what} {value!r} is out of range",
            fix="Give a duration above zero and up to 200 years" + (", or zero." if zero else "."),
        )
    return us


def format_duration(us: int) -> str:
    """Return the shortest exact text of a duration, as `parse_duration` reads it: 5_400_000_000 -> "90m"."""
    for unit in ("d", "h", "m", "s", "ms"):
        if us and us % _UNITS[unit] == 0:
            return f"{us // _UNITS[unit]}{unit}"
    return f"{us}us"
