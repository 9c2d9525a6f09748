"""The aggregates of the specification in plain Python: exact, one line of reasoning each, no speed.

Every function takes the non-null values of a window in (event time, ingest order) and gives the answer. Float
arithmetic is done in fractions and rounded once at the end.
"""

from __future__ import annotations

import decimal
import math
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from asof.errors import FeatureValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.definitions import Aggregate

    Values = Sequence[Any]


def count(values: Values) -> int:
    """Return how many there are; 0 for none."""
    return len(values)


def total(values: Values) -> int | float | Decimal | None:
    """Return the sum: exact integers and decimals, floats rounded once; None for none, or for +inf with -inf.

    Raises:
        FeatureValueError: an integer beyond 64 bits, a decimal beyond 38 digits.
    """
    if not values:
        return None
    if isinstance(values[0], float):
        return _unless_infinite(values, lambda: _rounded(_fraction(values)))
    if isinstance(values[0], Decimal):
        with decimal.localcontext(prec=100):
            exact = sum(values, Decimal(0))
        if len(exact.as_tuple().digits) > 38:
            raise FeatureValueError("A decimal sum has more than 38 digits", fix="Sum over a shorter window.")
        return exact
    whole = sum(values)
    if not -(2**63) <= whole < 2**63:
        raise FeatureValueError("An integer sum does not fit 64 bits", fix="Convert the column to a decimal or float.")
    return int(whole)


def mean(values: Values) -> float | None:
    """Return the mean, rounded once; None for none, or for +inf with -inf."""
    if not values:
        return None
    return _unless_infinite(values, lambda: _rounded(_fraction(values) / len(values)))


def variance(values: Values) -> float | None:
    """Return the sample variance, rounded once; None for fewer than two, or where one is infinite."""
    n = len(values)
    if n < 2 or any(map(math.isinf, values)):
        return None
    exact = [Fraction(value) for value in values]
    return _rounded((n * _fraction([x * x for x in exact]) - _fraction(exact) ** 2) / (n * (n - 1)))


def stddev(values: Values) -> float | None:
    """Return the square root of the sample variance."""
    found = variance(values)
    return None if found is None else math.sqrt(found)


def smallest(values: Values) -> Any:
    """Return the smallest value, -0.0 below 0.0; None for none."""
    return min(values, key=_size, default=None)


def largest(values: Values) -> Any:
    """Return the largest value, 0.0 above -0.0; None for none."""
    return max(values, key=_size, default=None)


def percentile(values: Values, quantile: float) -> float | None:
    """Return the exact order statistic of rank floor(quantile * (n - 1)), from 0; None for none."""
    if not values:
        return None
    return float(sorted(values, key=_size)[math.floor(quantile * (len(values) - 1))])


def count_distinct(values: Values) -> int:
    """Return how many different values there are; 0.0 and -0.0 are one."""
    return len(set(values))


def top_k(values: Values, n: int) -> list[Any] | None:
    """Return the `n` most frequent, most frequent first, ties by value ascending; None for none."""
    counts = Counter(value + 0.0 if isinstance(value, float) else value for value in values)
    return sorted(counts, key=lambda value: (-counts[value], value))[:n] or None


def aggregate(spec: Aggregate, values: Values) -> Any:
    """Return the answer of `spec` over the non-null values of one window, in (event time, ingest order)."""
    function, n = spec.function, spec.n or 0
    if function == "percentile":
        return percentile(values, spec.quantile or 0.0)
    if function == "top_k":
        return top_k(values, n)
    if function == "first_n":
        return list(values[:n]) or None
    if function == "last_n":
        return list(values[-n:]) or None
    return _SIMPLE[function](values)


_SIMPLE: dict[str, Callable[[Values], Any]] = {
    "count": count,
    "sum": total,
    "mean": mean,
    "variance": variance,
    "stddev": stddev,
    "min": smallest,
    "max": largest,
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "count_distinct": count_distinct,
    "approx_count_distinct": count_distinct,
}


def _unless_infinite(values: Values, finite: Callable[[], float]) -> float | None:
    infinite = {value for value in values if math.isinf(value)}
    if len(infinite) == 2:
        return None
    return float(infinite.pop()) if infinite else finite()


def _fraction(values: Values) -> Fraction:
    return sum(map(Fraction, values), Fraction(0))


def _rounded(exact: Fraction) -> float:
    """Return the nearest float, ties to even; what lies beyond the floats is infinite."""
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _size(value: Any) -> Any:
    return (value, math.copysign(1.0, value)) if isinstance(value, float) else value
