"""When an answer agrees with the oracle's: bit for bit, or within the error that an aggregate states."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

from asof.definitions import EventView

if TYPE_CHECKING:
    from asof.definitions import FeatureView
    from asof.testing.oracle import Answer

_ROUNDED_TWICE = frozenset({"mean", "variance", "stddev"})
_SMALLEST_NORMAL = 2.0**-1022


def identical(a: Any, b: Any) -> bool:
    """Return whether two values are the same: of one type, floats bit for bit (so 0.0 is not -0.0), maps in order."""
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return identical([*a], [*b]) and identical([*a.values()], [*b.values()])
    return type(a) is type(b) and bool(a == b)


def agrees(function: str | None, exact: Any, given: Any) -> bool:
    """Return whether `given` is a right answer of an aggregate where the oracle says `exact`.

    Everything is identical but for: mean, variance and stddev, which round an exact intermediate and then the
    quotient, so may be 4 units in the last place off; percentile, within 1/128 of the exact order statistic (below the
    normal floats: zero); approx_count_distinct, within five standard errors of 1.6%, and within 1 for small counts.

    Args:
        function: The aggregate's name; None for a column of a state view.
        exact: The oracle's value.
        given: The value under test.
    """
    if isinstance(exact, dict) and isinstance(given, dict):
        return identical([*exact], [*given]) and all(agrees(function, exact[key], given[key]) for key in exact)
    if exact is None or given is None or type(exact) is not type(given):
        return exact is None and given is None
    if function in _ROUNDED_TWICE:
        return _close(exact, given, 2.0**-50, 4 * 2.0**-1074)
    if function == "percentile":
        return _close(exact, given, 1 / 128, _SMALLEST_NORMAL)
    if function == "approx_count_distinct":
        return bool(abs(exact - given) <= max(1, 0.08 * exact))
    return identical(exact, given)


def differences(view: FeatureView, exact: Answer, given: Answer) -> list[str]:
    """Return what is wrong with an answer of `view`, one line per value, status or event time; nothing if it agrees."""
    functions: dict[str, str] = {}
    if isinstance(view, EventView):
        functions = {a.feature_name(w): a.function for a in view.aggregates for w in a.windows}
    found = []
    for name in view.feature_names():
        if not agrees(functions.get(name), exact.values[name], given.values[name]):
            found.append(f"{view.name}:{name} is {given.values[name]!r}, not {exact.values[name]!r}")
        if exact.statuses[name] != given.statuses[name]:
            found.append(f"{view.name}:{name} has status {given.statuses[name]}, not {exact.statuses[name]}")
    if exact.event_time != given.event_time:
        found.append(f"{view.name} has event time {given.event_time}, not {exact.event_time}")
    return found


def _close(exact: float, given: float, relative: float, absolute: float) -> bool:
    if math.isinf(exact) or math.isinf(given):
        return exact == given
    return abs(given - exact) <= max(relative * abs(exact), absolute)
