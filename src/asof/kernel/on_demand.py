"""The built-in functions of on-demand views over Arrow columns; a row's result never depends on the other rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from asof import _native
from asof.definitions.on_demand import EARTH_RADIUS, UNITS_US

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asof.plan.specs import CallSpec

    Values = np.ndarray[Any, np.dtype[Any]]
    Lane = tuple[Values, Values | None]

_DAY_US = UNITS_US["d"]
_MONDAY = 3  # the epoch was a Thursday


def compile_call(call: CallSpec) -> Callable[[Mapping[str, pa.Array]], pa.Array]:
    """Return the function of a call: from columns by name, all of one length, to the feature's column.

    Rules of each function are those of `asof.on_demand`.
    """
    function, names, parameters = _FUNCTIONS[call.function], call.inputs, call.parameters

    def run(columns: Mapping[str, pa.Array]) -> pa.Array:
        return function([columns[name] for name in names], parameters)

    return run


def _ratio(columns: Sequence[pa.Array], _: Mapping[str, Any]) -> pa.Array:
    (above, known), (below, also) = _floats(columns[0]), _floats(columns[1])
    with np.errstate(all="ignore"):
        return _array(above / below, known, also, None if np.count_nonzero(below) == len(below) else below != 0)


def _elapsed(columns: Sequence[pa.Array], parameters: Mapping[str, Any]) -> pa.Array:
    (since, known), (until, also) = _micros(columns[0]), _micros(columns[1])
    return _array((until - since) / float(UNITS_US[parameters["unit"]]), known, also)


def _calendar(columns: Sequence[pa.Array], parameters: Mapping[str, Any]) -> pa.Array:
    micros, known = _micros(columns[0])
    return _array(_PARTS[parameters["part"]](micros), known)


def _months(micros: Values) -> Values:
    months: Values = micros.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    return months


def _day(micros: Values, unit: str) -> Values:
    days = (micros // _DAY_US).astype("datetime64[D]")
    number: Values = (days - days.astype(f"datetime64[{unit}]")).astype(np.int64) + 1
    return number


_PARTS: dict[str, Callable[[Values], Values]] = {
    "year": lambda micros: _months(micros) // 12 + 1970,
    "quarter": lambda micros: _months(micros) % 12 // 3 + 1,
    "month": lambda micros: _months(micros) % 12 + 1,
    "day": lambda micros: _day(micros, "M"),
    "day_of_year": lambda micros: _day(micros, "Y"),
    "weekday": lambda micros: (micros // _DAY_US + _MONDAY) % 7,
    "hour": lambda micros: micros % _DAY_US // UNITS_US["h"],
    "minute": lambda micros: micros % UNITS_US["h"] // UNITS_US["min"],
    "second": lambda micros: micros % UNITS_US["min"] // UNITS_US["s"],
}


def _haversine(columns: Sequence[pa.Array], parameters: Mapping[str, Any]) -> pa.Array:
    lanes = [_floats(column) for column in columns]
    degrees = [values for values, _ in lanes]
    with np.errstate(all="ignore"):
        latitude, longitude, to_latitude, to_longitude = (np.radians(one) for one in degrees)
        across = np.sin((to_latitude - latitude) / 2.0)
        along = np.sin((to_longitude - longitude) / 2.0)
        part = across * across + np.cos(latitude) * np.cos(to_latitude) * along * along
        distance = 2.0 * EARTH_RADIUS[parameters["unit"]] * np.arcsin(np.sqrt(np.minimum(part, 1.0)))
        on_earth = (np.abs(degrees[0]) <= 90.0) & (np.abs(degrees[2]) <= 90.0)
    return _array(distance, *(known for _, known in lanes), on_earth)


def _bucketize(columns: Sequence[pa.Array], parameters: Mapping[str, Any]) -> pa.Array:
    values, known = _floats(columns[0])
    found = np.searchsorted(np.array(parameters["boundaries"], np.float64), values, side="right").astype(np.int64)
    return _array(found, known, values == values)


def _hash_text(columns: Sequence[pa.Array], parameters: Mapping[str, Any]) -> pa.Array:
    column = columns[0]
    buckets = _native.partition([column], int(parameters["buckets"])).to_numpy().astype(np.int64)
    return _array(buckets, _valid(column))


def _cosine(columns: Sequence[pa.Array], _: Mapping[str, Any]) -> pa.Array:
    (left, known), (right, also) = _vectors(columns[0]), _vectors(columns[1])
    with np.errstate(all="ignore"):
        norms = np.sqrt(_sums(left * left)) * np.sqrt(_sums(right * right))
        cosine = _sums(left * right) / norms
        usable = np.isfinite(left).all(axis=1) & np.isfinite(right).all(axis=1) & (norms != 0)
    return _array(cosine, known, also, usable)


def _sums(products: Values) -> Values:
    """Return the sum of each row, added one after the other: NumPy's own sum groups by the shape of the whole."""
    return np.ascontiguousarray(np.add.accumulate(products, axis=1)[:, -1])


_FUNCTIONS: dict[str, Callable[[Sequence[pa.Array], Mapping[str, Any]], pa.Array]] = {
    "ratio": _ratio,
    "elapsed": _elapsed,
    "calendar": _calendar,
    "haversine": _haversine,
    "bucketize": _bucketize,
    "hash_text": _hash_text,
    "cosine": _cosine,
}


def _valid(column: pa.Array) -> Values | None:
    return np.asarray(column.is_valid()) if column.null_count else None


def _fixed(column: pa.Array, dtype: Any) -> Values:
    """Return the values of a fixed-width column as they are in memory, whatever stands where it is null."""
    buffer, length = column.buffers()[1], len(column)
    if buffer is None or not length:
        return np.zeros(length, dtype)
    return np.frombuffer(buffer, dtype, length, column.offset * np.dtype(dtype).itemsize)


def _floats(column: pa.Array) -> Lane:
    values = _fixed(column, column.type.to_pandas_dtype())
    return values if values.dtype == np.float64 else values.astype(np.float64), _valid(column)


def _micros(column: pa.Array) -> Lane:
    if pa.types.is_date(column.type):
        return _fixed(column, np.int32).astype(np.int64) * _DAY_US, _valid(column)
    return _fixed(column, np.int64), _valid(column)


def _vectors(column: pa.Array) -> Lane:
    """Return vectors as a matrix of float64; an element that is null is NaN."""
    size, start = column.type.list_size, column.offset
    elements = column.values.slice(start * size, len(column) * size)
    values, known = _floats(elements)
    if known is not None:
        values = np.where(known, values, np.nan)
    return values.reshape(len(column), size), _valid(column)


def _array(values: Values, *known: Values | None) -> pa.Array:
    """Return values as Arrow; null where one of the masks is false or a float is NaN."""
    mask: Values | None = None
    numbers = values == values if values.dtype == np.float64 else None
    if numbers is not None and np.count_nonzero(numbers) == len(numbers):
        numbers = None
    for one in (*known, numbers):
        if one is not None:
            mask = one if mask is None else mask & one
    return pa.array(values) if mask is None else pa.array(values, mask=~mask)
