"""Functions that come with on-demand views: each is a name, the columns it takes and its constants, as data.

Columns are named as the view's function sees them: an input by `view__feature`, a request field by its name, the
read's instant by `event_timestamp`. A null in any column gives null; NaN is null. Results do not depend on how many
rows are computed together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any

from asof.definitions.names import check_name
from asof.errors import DefinitionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INSTANT = "event_timestamp"
UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
PARTS = ("year", "quarter", "month", "day", "day_of_year", "weekday", "hour", "minute", "second")
EARTH_RADIUS = {"km": 6371.0088, "mi": 6371.0088 / 1.609344}


@dataclass(frozen=True)
class Computed:
    """A feature of an on-demand view that a built-in function gives; made by the functions of this module."""

    name: str
    function: str
    inputs: tuple[str, ...]
    parameters: Mapping[str, Any]
    description: str = ""

    def __post_init__(self) -> None:
        check_name("Feature", self.name)
        for column in self.inputs:
            if not isinstance(column, str):
                raise DefinitionError(
                    f"Feature {self.name!r} takes {column!r}", fix="Name a column, as spend__amount_sum_30d."
                )


def ratio(name: str, numerator: str, denominator: str, *, description: str = "") -> Computed:
    """Return numerator / denominator as float64; null where the denominator is 0, or the quotient is not a number."""
    return Computed(name, "ratio", (numerator, denominator), {}, description)


def elapsed(name: str, since: str, until: str = INSTANT, *, unit: str = "s", description: str = "") -> Computed:
    """Return the time from `since` to `until`, timestamps or dates (their midnight, UTC), as float64.

    Negative where `since` is the later one.

    Args:
        name: The feature's name.
        since: The event's time.
        until: Default: the instant of the read.
        unit: us, ms, s, min, h or d (24 hours).
        description: For people.

    Raises:
        DefinitionError: no such unit.
    """
    return Computed(
        name, "elapsed", (since, until), {"unit": _one_of(name, "unit", unit, tuple(UNITS_US))}, description
    )


def calendar(name: str, part: str, of: str = INSTANT, *, description: str = "") -> Computed:
    """Return a part of a timestamp or date in UTC, as int64.

    Args:
        name: The feature's name.
        part: year, quarter (1 to 4), month, day (of the month), day_of_year (from 1), weekday (Monday is 0), hour,
            minute or second.
        of: Default: the instant of the read.
        description: For people.

    Raises:
        DefinitionError: no such part.
    """
    return Computed(name, "calendar", (of,), {"part": _one_of(name, "part", part, PARTS)}, description)


def haversine(
    name: str,
    latitude: str,
    longitude: str,
    to_latitude: str,
    to_longitude: str,
    *,
    unit: str = "km",
    description: str = "",
) -> Computed:
    """Return the great-circle distance of two points in degrees as float64, on a sphere of radius 6371.0088 km.

    Null where a latitude is beyond 90 degrees either way, or a coordinate is infinite.

    Args:
        name: The feature's name.
        latitude: Of the first point; north is positive.
        longitude: Of the first point; any number of turns.
        to_latitude: Of the second point.
        to_longitude: Of the second point.
        unit: km or mi.
        description: For people.

    Raises:
        DefinitionError: no such unit.
    """
    columns = (latitude, longitude, to_latitude, to_longitude)
    return Computed(name, "haversine", columns, {"unit": _one_of(name, "unit", unit, tuple(EARTH_RADIUS))}, description)


def bucketize(name: str, value: str, boundaries: Sequence[float], *, description: str = "") -> Computed:
    """Return how many of the boundaries are at most the value, as int64: 0 below the first, len(boundaries) at the end.

    Values are compared as float64.

    Raises:
        DefinitionError: the boundaries are not ascending finite numbers.
    """
    try:
        found = [float(one) for one in boundaries]
        ascending = bool(found) and all(map(isfinite, found)) and all(a < b for a, b in pairwise(found))
    except (TypeError, ValueError):
        ascending = False
    if not ascending:
        raise DefinitionError(
            f"The boundaries of feature {name!r} are {boundaries!r}", fix="List finite numbers, ascending, each once."
        )
    return Computed(name, "bucketize", (value,), {"boundaries": found}, description)


def hash_text(name: str, value: str, buckets: int, *, description: str = "") -> Computed:
    """Return a bucket of the text from 0 to `buckets` - 1, as int64; the same on every machine and in every release.

    Raises:
        DefinitionError: `buckets` is not from 1 to 2^31 - 1.
    """
    if not isinstance(buckets, int) or isinstance(buckets, bool) or not 1 <= buckets < 2**31:
        raise DefinitionError(f"Feature {name!r} has {buckets!r} buckets", fix="Give a number from 1 to 2147483647.")
    return Computed(name, "hash_text", (value,), {"buckets": buckets}, description)


def cosine(name: str, left: str, right: str, *, description: str = "") -> Computed:
    """Return the cosine similarity of two vectors of one length as float64.

    Null where a vector has length 0, or an element that is null, NaN or infinite.
    """
    return Computed(name, "cosine", (left, right), {}, description)


def sql(name: str, expression: str, *, description: str = "") -> Computed:
    """Return a SQL expression over the view's columns, in DuckDB's dialect, with the type that it has there.

    It looks at one row: no subquery, aggregate or window, and no function whose answer depends on the moment or the
    machine. Its nulls are SQL's, and a NaN in the result is null. The same engine computes it in training and online,
    where a read takes about a millisecond more; the other functions take microseconds.

    Raises:
        DefinitionError: there is no expression.
    """
    if not isinstance(expression, str) or not expression.strip():
        raise DefinitionError(f"Feature {name!r} has no SQL expression", fix='Write one, as "amount / 2".')
    return Computed(name, "sql", (), {"expression": expression}, description)


def _one_of(feature: str, what: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise DefinitionError(
            f"Feature {feature!r} has {what} {value!r}",
            why=did_you_mean(str(value), known),
            fix=f"Use one of {', '.join(known)}.",
        )
    return value
