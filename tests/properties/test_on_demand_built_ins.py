"""Built-in functions give what plain Python gives row by row, and one row gives the bits that many rows give."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asof import _native, on_demand
from asof.kernel.on_demand import compile_call
from asof.plan.specs import CallSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.definitions.on_demand import Computed

TIME = pa.timestamp("us", "UTC")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FLOATS = st.none() | st.sampled_from([0.0, -0.0, 1.0, -2.5, 1e300, math.inf, -math.inf, math.nan]) | st.floats()
INTEGERS = st.none() | st.sampled_from([0, 1, -1, 2**62]) | st.integers(-(2**63), 2**63 - 1)
TIMES = st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(lambda t: t.replace(tzinfo=UTC))
DEGREES = st.none() | st.sampled_from([0.0, 90.0, -90.0, 180.0, 90.1, math.inf]) | st.floats(-400, 400)
VECTORS = st.none() | st.lists(
    st.sampled_from([0.0, 1.0, -1.5, 2.0**-20]) | st.floats(width=32), min_size=3, max_size=3
)


def evaluate(call: Computed, *columns: pa.Array) -> pa.Array:
    spec = CallSpec(function=call.function, inputs=call.inputs, parameters=dict(call.parameters))
    return compile_call(spec)(dict(zip(call.inputs, columns, strict=True)))


def check(
    call: Computed, types: Sequence[pa.DataType], rows: Sequence[Sequence[Any]], reference: Callable[..., Any]
) -> None:
    """Refuse a result that is not the reference's, or that depends on how many rows are computed together."""
    columns = [pa.array([row[i] for row in rows], type_) for i, type_ in enumerate(types)]
    whole = evaluate(call, *columns)
    assert whole.type in (pa.float64(), pa.int64())
    for position, row in enumerate(rows):
        expected = None if any(value is None or value != value for value in row) else reference(*row)
        found = whole[position].as_py()
        if call.function == "haversine" and expected is not None:
            assert found == pytest.approx(expected, rel=1e-12, abs=1e-6), (row, found, expected)
        else:
            assert found == (None if expected is not None and expected != expected else expected), (row, found)
        alone = evaluate(call, *[pa.array([value], type_) for value, type_ in zip(row, types, strict=True)])
        sliced = evaluate(call, *[column.slice(position, 1) for column in columns])
        assert [bits(alone), bits(sliced)] == [bits(whole.slice(position, 1))] * 2


def bits(one: pa.Array) -> str | None:
    value = one[0].as_py()
    return value.hex() if isinstance(value, float) else None if value is None else str(value)


def quotient(above: float, below: float) -> float | None:
    if below == 0:
        return None
    return float(above) / float(below)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=20))
def test_ratio_of_floats(rows: list[tuple[Any, ...]]) -> None:
    """Division by either zero, and what is not a number, is null; infinity is a value."""
    check(on_demand.ratio("r", "a", "b"), [pa.float64()] * 2, rows, quotient)


@given(st.lists(st.tuples(INTEGERS, st.none() | st.integers(-128, 127)), min_size=1, max_size=20))
def test_ratio_of_integers(rows: list[tuple[Any, ...]]) -> None:
    """Integers are divided as floats."""
    check(on_demand.ratio("r", "a", "b"), [pa.int64(), pa.int8()], rows, quotient)


@pytest.mark.parametrize("unit", ["us", "ms", "s", "min", "h", "d"])
@given(rows=st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=10))
def test_elapsed(unit: str, rows: list[tuple[Any, ...]]) -> None:
    """Whole microseconds, divided once."""
    lengths = {"us": 1, "ms": 10**3, "s": 10**6, "min": 6 * 10**7, "h": 36 * 10**8, "d": 864 * 10**8}

    def reference(since: datetime, until: datetime) -> float:
        return float((until - since) // timedelta(microseconds=1)) / float(lengths[unit])

    check(on_demand.elapsed("e", "a", "b", unit=unit), [TIME, TIME], rows, reference)


def test_elapsed_takes_dates_as_midnight() -> None:
    """A date is its first instant in UTC."""
    since = pa.array([date(2026, 1, 1), None], pa.date32())
    until = pa.array([datetime(2026, 1, 2, 6, tzinfo=UTC)] * 2, TIME)
    assert evaluate(on_demand.elapsed("e", "a", "b", unit="h"), since, until).to_pylist() == [30.0, None]


PARTS: dict[str, Callable[[datetime], int]] = {
    "year": lambda t: t.year,
    "quarter": lambda t: (t.month - 1) // 3 + 1,
    "month": lambda t: t.month,
    "day": lambda t: t.day,
    "day_of_year": lambda t: t.timetuple().tm_yday,
    "weekday": lambda t: t.weekday(),
    "hour": lambda t: t.hour,
    "minute": lambda t: t.minute,
    "second": lambda t: t.second,
}


@pytest.mark.parametrize("part", PARTS)
@given(times=st.lists(TIMES, min_size=1, max_size=10))
def test_calendar(part: str, times: list[Any]) -> None:
    """Parts are those of Python's datetime, before the epoch too."""
    check(on_demand.calendar("c", part, "a"), [TIME], [(t,) for t in times], PARTS[part])


@given(st.lists(st.tuples(DEGREES, DEGREES, DEGREES, DEGREES), min_size=1, max_size=20))
def test_haversine(rows: list[tuple[Any, ...]]) -> None:
    """The formula on the sphere; latitudes beyond the poles and infinities are null."""

    def reference(a: float, b: float, c: float, d: float) -> float | None:
        if abs(a) > 90 or abs(c) > 90 or math.isinf(b) or math.isinf(d):
            return None
        a, b, c, d = map(math.radians, (a, b, c, d))
        part = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
        return 2 * 6371.0088 * math.asin(math.sqrt(min(part, 1.0)))

    check(on_demand.haversine("h", "a", "b", "c", "d"), [pa.float64()] * 4, rows, reference)


@given(st.lists(st.tuples(FLOATS), min_size=1, max_size=20))
def test_bucketize(rows: list[tuple[Any, ...]]) -> None:
    """A boundary belongs to the bucket above it."""
    boundaries = [-2.5, 0.0, 1.0]
    check(
        on_demand.bucketize("b", "a", boundaries),
        [pa.float64()],
        rows,
        lambda value: sum(one <= value for one in boundaries),
    )


@given(st.lists(st.tuples(st.none() | st.text(max_size=5)), min_size=1, max_size=20))
def test_hash_text(rows: list[tuple[Any, ...]]) -> None:
    """Buckets are those that the kernel gives to keys."""
    check(
        on_demand.hash_text("t", "a", 7),
        [pa.string()],
        rows,
        lambda text: _native.partition([pa.array([text])], 7)[0].as_py(),
    )


def test_hash_text_never_changes() -> None:
    """Models are trained on these numbers."""
    found = evaluate(on_demand.hash_text("t", "a", 1000), pa.array(["", "EWR", "Zürich"]))
    assert found.to_pylist() == [904, 705, 4]


@given(st.lists(st.tuples(VECTORS, VECTORS), min_size=1, max_size=20))
def test_cosine(rows: list[tuple[Any, ...]]) -> None:
    """Products are added one after the other; zero vectors and what is not finite is null."""

    def reference(left: list[float], right: list[float]) -> float | None:
        if not all(map(math.isfinite, [*left, *right])):
            return None
        norms = math.sqrt(added(left, left)) * math.sqrt(added(right, right))
        return added(left, right) / norms if norms else None

    check(on_demand.cosine("c", "a", "b"), [pa.list_(pa.float32(), 3)] * 2, rows, reference)


def added(left: list[float], right: list[float]) -> float:
    total = left[0] * right[0]
    for a, b in zip(left[1:], right[1:], strict=True):
        total += a * b
    return total


def test_a_vector_with_a_null_element_is_null() -> None:
    """It has no direction."""
    vectors = pa.array([[1.0, None], [1.0, 0.0]], pa.list_(pa.float64(), 2))
    other = pa.array([[1.0, 1.0], [3.0, 0.0]], pa.list_(pa.float64(), 2))
    assert evaluate(on_demand.cosine("c", "a", "b"), vectors, other).to_pylist() == [None, 1.0]


@pytest.mark.parametrize(
    "call",
    [
        on_demand.ratio("r", "a", "b"),
        on_demand.elapsed("e", "a", "b"),
        on_demand.calendar("c", "day", "a"),
        on_demand.haversine("h", "a", "b", "c", "d"),
        on_demand.bucketize("b", "a", [0]),
        on_demand.hash_text("t", "a", 7),
        on_demand.cosine("v", "a", "b"),
    ],
    ids=lambda call: call.function,
)
def test_no_rows_give_no_rows(call: Computed) -> None:
    """An empty spine is answered with the right types."""
    types = {"elapsed": TIME, "calendar": TIME, "hash_text": pa.string(), "cosine": pa.list_(pa.float64(), 2)}
    empty = pa.array([], types.get(call.function, pa.float64()))
    assert len(evaluate(call, *[empty] * len(call.inputs))) == 0
