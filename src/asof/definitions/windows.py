"""Windows and their hops: how far back an aggregate looks, and the grid its tail sits on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Duration, format_duration, parse_duration
from asof.errors import DefinitionError

if TYPE_CHECKING:
    from datetime import timedelta

LIFETIME = "lifetime"
_DEFAULT_HOPS_US = (
    DAY_US,
    6 * HOUR_US,
    HOUR_US,
    15 * MINUTE_US,
    5 * MINUTE_US,
    MINUTE_US,
    10 * SECOND_US,
    SECOND_US,
)


@dataclass(frozen=True, init=False)
class Window:
    """A window `[floor(t - length, hop), t)`: its head is exact, its tail sits on a grid of `hop` from the epoch, UTC.

    Attributes:
        length_us: Microseconds, or None for the whole lifetime.
        hop_us: Microseconds; 0 for a lifetime window, which has no tail.
    """

    length_us: int | None
    hop_us: int

    def __init__(self, length: Duration, *, hop: Duration | None = None) -> None:
        """Define a window.

        Args:
            length: As "30d", a timedelta, or "lifetime".
            hop: A divisor of the length. Default: the largest of 1 s, 10 s, 1 min, 5 min, 15 min, 1 h, 6 h, 1 d that
                is at most length/60, or the length's own 60th where even a second is too long.

        Raises:
            DefinitionError: not a duration, or a hop that does not divide the length.
        """
        if length == LIFETIME:
            if hop is not None:
                raise DefinitionError("A lifetime window has no tail, so it has no hop", fix="Leave hop out.")
            object.__setattr__(self, "length_us", None)
            object.__setattr__(self, "hop_us", 0)
            return
        length_us = parse_duration(length, "Window")
        hop_us = _default_hop(length_us) if hop is None else parse_duration(hop, "Hop")
        if length_us % hop_us:
            raise DefinitionError(
                f"Hop {format_duration(hop_us)} does not divide the window {format_duration(length_us)}",
                why="A tail that is not on the grid would make the window longer than it says",
                fix="Choose a hop that is a divisor of the window, or leave it out.",
            )
        object.__setattr__(self, "length_us", length_us)
        object.__setattr__(self, "hop_us", hop_us)

    @property
    def label(self) -> str:
        """The text that ends a feature's default name: 30d, 90m, lifetime."""
        return LIFETIME if self.length_us is None else format_duration(self.length_us)


def _default_hop(length_us: int) -> int:
    """Return the default hop; a window with no whole divisor among the usual ones takes the largest that divides it."""
    for hop_us in _DEFAULT_HOPS_US:
        if hop_us <= length_us // 60 and length_us % hop_us == 0:
            return hop_us
    return _largest_divisor(length_us, length_us // 60)


def _largest_divisor(length_us: int, limit_us: int) -> int:
    """Return the largest round divisor of `length_us` that is at most `limit_us`, and at least 1 microsecond."""
    for hop_us in (100_000, 10_000, 1_000, 100, 10):
        if hop_us <= limit_us and length_us % hop_us == 0:
            return hop_us
    return 1


def as_window(value: str | timedelta | Window) -> Window:
    """Return a window from a duration, "lifetime" or a window."""
    return value if isinstance(value, Window) else Window(value)
