"""What the columns of a table look like: counts, moments, bins and frequent values, the reference for later drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asof.clock import FIRST_US, LAST_US, iso
from asof.durations import DAY_US

if TYPE_CHECKING:
    Floats = np.ndarray[tuple[int], np.dtype[np.float64]]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_BINS = 10
_TOP = 20


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """Counts between edges: bins of about a tenth of the values each.

    Attributes:
        edges: Ascending.
        counts: One more than edges: values below the first edge, from the first to below the second, …, from the last
            edge on; so values that were never seen before have a bin, too.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class ColumnStatistics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column.

    Attributes:
        name: The column.
        type: Its Arrow type.
        rows: How many rows there are.
        nulls: How many of them are null.
        non_finite: NaN and infinite numbers; the numbers below leave them out.
        mean: Of numbers.
        stddev: Of numbers: the sample's; None of fewer than two.
        min: Of numbers; of dates and timestamps as ISO 8601.
        max: Like `min`.
        quantiles: Of numbers: the smallest value that this share of values does not exceed, as {"0.5": 3.0}.
        histogram: Of numbers.
        distinct: Of text and bools: how many values there are.
        top: Of text and bools: the most frequent values, at most 20, as (value, rows); equally frequent ones by value.
    """

    name: str
    type: str
    rows: int
    nulls: int
    non_finite: int = 0
    mean: float | None = None
    stddev: float | None = None
    min: int | float | str | None = None
    max: int | float | str | None = None
    quantiles: dict[str, float] = msgspec.field(default_factory=dict)
    histogram: Histogram | None = None
    distinct: int | None = None
    top: tuple[tuple[str | bool, int], ...] = ()


def describe_column(name: str, values: pa.ChunkedArray) -> ColumnStatistics:
    """Return the statistics of a column; of lists, maps, structs and binary just the counts."""
    shown = str(pa.map_(values.type.key_type, values.type.item_type) if pa.types.is_map(values.type) else values.type)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    more: dict[str, Any] = {}
    type_ = values.type
    present = values.drop_null()
    if pa.types.is_boolean(type_) or _is_text(type_):
        more = _frequencies(present)
    elif pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        more = _numbers(present)
    elif (pa.types.is_timestamp(type_) or pa.types.is_date(type_)) and len(present):
        bounds = pc.min_max(present)
        more = {side: _iso(bounds[side]) for side in ("min", "max")}
    return ColumnStatistics(name=name, type=shown, rows=len(values), nulls=values.null_count, **more)


def _iso(instant: pa.Scalar) -> str | None:
    """Return a date or timestamp as ISO 8601, UTC; None outside the years 1 to 9999, which have no such text."""
    if pa.types.is_date(instant.type):
        us = instant.value * (DAY_US if pa.types.is_date32(instant.type) else 1000)
    else:
        us = instant.value * 1_000_000 // _PER_SECOND[instant.type.unit]
    if not FIRST_US <= us <= LAST_US:
        return None
    return iso(us).partition("T")[0] if pa.types.is_date(instant.type) else iso(us)


def _is_text(type_: pa.DataType) -> bool:
    return any(test(type_) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _frequencies(present: pa.ChunkedArray) -> dict[str, Any]:
    if not pa.types.is_boolean(present.type):
        present = present.cast(pa.large_string())
    counted = present.value_counts()
    pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
    top = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:_TOP]
    return {"distinct": len(counted), "top": tuple(top)}


def _numbers(present: pa.ChunkedArray) -> dict[str, Any]:
    floats = present.cast(pa.float64(), safe=False).combine_chunks().to_numpy(zero_copy_only=False)
    finite = np.isfinite(floats)
    values = floats[finite]
    found: dict[str, Any] = {"non_finite": int(len(floats) - len(values))}
    if not len(values):
        return found
    exact = pa.types.is_integer(present.type)
    bounds = pc.min_max(present).as_py() if exact else {"min": float(values.min()), "max": float(values.max())}
    quantiles = np.quantile(values, QUANTILES, method="inverted_cdf")
    # Huge values overflow in sums and squares; there is no number to keep then.
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values.mean())
        stddev = float(values.std(ddof=1)) if len(values) > 1 else None
    return found | {
        "mean": mean if np.isfinite(mean) else None,
        "stddev": stddev if stddev is not None and np.isfinite(stddev) else None,
        "min": bounds["min"],
        "max": bounds["max"],
        "quantiles": {str(q): float(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
        "histogram": _histogram(values),
    }


def _histogram(values: Floats) -> Histogram:
    inner = [step / _BINS for step in range(1, _BINS)]
    edges = np.unique(np.quantile(values, inner, method="inverted_cdf"))
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))
