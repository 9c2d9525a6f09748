"""Fits model-dependent transforms on a column of training rows, and applies the fitted ones: to a million rows or one.

Parameters are plain data. Applying is row by row: what a row gets does not depend on the rows beside it.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asof.definitions.model_transforms import Impute, MinMax, ModelTransform, OneHot, Ordinal, Standardize
from asof.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)


class FittedStep(msgspec.Struct, frozen=True, tag_field="step"):
    """Base of the fitted steps, which are stored as JSON."""


class FittedImpute(FittedStep, frozen=True, tag="impute"):
    """Replaces null by `value`; None where the training rows had no value to learn from."""

    value: bool | int | float | str | None


class FittedScale(FittedStep, frozen=True, tag="scale"):
    """Gives (x - offset) / divisor."""

    offset: float
    divisor: float


class FittedOneHot(FittedStep, frozen=True, tag="one_hot"):
    """One column per category."""

    categories: tuple[bool | int | str, ...]


class FittedOrdinal(FittedStep, frozen=True, tag="ordinal"):
    """The place among the categories."""

    categories: tuple[bool | int | str, ...]


Step = FittedImpute | FittedScale | FittedOneHot | FittedOrdinal


class FittedColumn(msgspec.Struct, frozen=True):
    """The fitted steps of one column, applied in order."""

    column: str
    steps: tuple[Step, ...]


def fit(column: str, values: pa.Array | pa.ChunkedArray, transforms: Sequence[ModelTransform]) -> FittedColumn:
    """Fit transforms in order, each on what the one before gives, nulls and infinite numbers left out.

    Args:
        column: The column's name, for the names of what it becomes.
        values: Its training rows.
        transforms: The steps; OneHot can only be the last.

    Raises:
        SchemaError: a step cannot take the column's type, stands after OneHot, or has numbers whose spread overflows.
    """
    steps: list[Step] = []
    current = _array(values)
    for position, transform in enumerate(transforms):
        if isinstance(transform, OneHot) and position < len(transforms) - 1:
            raise SchemaError(
                f"Column {column!r} has a transform after OneHot", why="It gives several columns", fix="Put it last."
            )
        step = _fit(column, current, transform)
        steps.append(step)
        if position < len(transforms) - 1:
            (current,) = _apply(column, current, step).values()
    return FittedColumn(column, tuple(steps))


def apply(fitted: FittedColumn, values: pa.Array | pa.ChunkedArray) -> dict[str, pa.Array]:
    """Return what the fitted steps make of a column: one column of its name, or the columns of a OneHot."""
    found = {fitted.column: _array(values)}
    for step in fitted.steps:
        found = _apply(fitted.column, found[fitted.column], step)
    return found


def apply_table(fitted: Sequence[FittedColumn], table: pa.Table) -> pa.Table:
    """Return the table with each fitted column replaced, in its place, by what its steps make of it."""
    by_name = {one.column: one for one in fitted}
    columns: dict[str, pa.Array] = {}
    for name in table.column_names:
        columns |= apply(by_name[name], table.column(name)) if name in by_name else {name: table.column(name)}
    return pa.table(columns)


def _fit(column: str, values: pa.Array, transform: ModelTransform) -> Step:
    known = values.drop_null()
    if isinstance(transform, Impute):
        return FittedImpute(_imputed(column, known, transform))
    if isinstance(transform, Standardize):
        return _scale(column, _numbers(column, known, "Standardize"), around_mean=True)
    if isinstance(transform, MinMax):
        return _scale(column, _numbers(column, known, "MinMax"), around_mean=False)
    _categorical(column, values, type(transform).__name__)
    if isinstance(transform, Ordinal):
        return FittedOrdinal(tuple(sorted(known.unique().to_pylist())))
    return FittedOneHot(tuple(sorted(_ranked(known)[: transform.most])))


def _scale(column: str, numbers: np.ndarray[Any, np.dtype[np.float64]], *, around_mean: bool) -> FittedScale:
    if not len(numbers):
        return FittedScale(0.0, 1.0)
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:  # the mean of equal numbers may be off by a rounding, and their deviation then not 0
        return FittedScale(low, 1.0)
    if not around_mean:
        return FittedScale(low, _finite(column, high - low) or 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = float(numbers.mean()), float(numbers.std())
    return FittedScale(_finite(column, mean), _finite(column, spread) or 1.0)


def _finite(column: str, parameter: float) -> float:
    """Return a parameter, which has to be a number that JSON can hold."""
    if not isfinite(parameter):
        raise SchemaError(
            f"The values of column {column!r} are too far apart to be fitted",
            why="Their mean, spread or squares are beyond 64-bit floats",
            fix="Scale the column in its view, or leave its transform out.",
        )
    return parameter


def _imputed(column: str, known: pa.Array, transform: Impute) -> Any:
    if transform.strategy == "constant":
        _cast_constant(column, transform.value, known.type)
        return transform.value
    if not len(known):
        return None
    if transform.strategy == "most_frequent":
        _categorical(column, known, "Impute most_frequent")
        return _ranked(known)[0]
    numbers = _numbers(column, known, f"Impute {transform.strategy}")
    if not len(numbers):
        return None
    with np.errstate(over="ignore"):
        return _finite(column, float(numbers.mean() if transform.strategy == "mean" else np.median(numbers)))


def _ranked(known: pa.Array) -> list[Any]:
    """Return the distinct values, the most frequent first, of equally frequent ones the smallest."""
    counts = known.value_counts()
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    return [value for value, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))]


def _apply(column: str, values: pa.Array, step: Step) -> dict[str, pa.Array]:
    if isinstance(step, FittedImpute):
        return {column: _filled(column, values, step.value)}
    if isinstance(step, FittedScale):
        scaled = pc.divide(pc.subtract(_floats(values), step.offset), step.divisor)
        return {column: scaled}
    if isinstance(step, FittedOrdinal):
        places = pc.index_in(values, _categories(values, step.categories), skip_nulls=True)
        return {column: pc.if_else(values.is_null(), None, places.cast(pa.int64()).fill_null(-1))}
    categories = _categories(values, step.categories)
    return {
        f"{column}={_shown(category)}": pc.equal(values, value).fill_null(False).cast(pa.int8())
        for category, value in zip(step.categories, categories, strict=True)
    }


def _filled(column: str, values: pa.Array, value: Any) -> pa.Array:
    if value is None:
        return values
    if isinstance(value, float) and not pa.types.is_floating(values.type):
        values = _floats(values)  # the mean of integers is no integer
    return values.fill_null(_cast_constant(column, value, values.type))


def _cast_constant(column: str, value: Any, arrow: pa.DataType) -> pa.Scalar:
    try:
        if isinstance(value, float) and not pa.types.is_floating(arrow):
            return pa.scalar(value, pa.float64())
        return pa.scalar(value).cast(arrow) if pa.types.is_decimal(arrow) else pa.scalar(value, arrow)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise SchemaError(
            f"Column {column!r} is {arrow} and cannot be filled with {value!r}", fix="Give a value of its type."
        ) from error


def _categories(values: pa.Array, categories: tuple[Any, ...]) -> pa.Array:
    return pa.array(categories, type=values.type)


def _shown(category: Any) -> str:
    return str(category).lower() if isinstance(category, bool) else str(category)


def _floats(values: pa.Array) -> pa.Array:
    return (values.cast(pa.int8()) if pa.types.is_boolean(values.type) else values).cast(pa.float64(), safe=False)


def _numbers(column: str, known: pa.Array, what: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    if not any(check(known.type) for check in _NUMERIC):
        raise SchemaError(
            f"{what} is asked for column {column!r}, which is {known.type}",
            fix="Use it on numbers; OneHot and Ordinal take texts.",
        )
    numbers: np.ndarray[Any, np.dtype[np.float64]] = _floats(known).to_numpy(zero_copy_only=False)
    finite: np.ndarray[Any, np.dtype[np.float64]] = numbers[np.isfinite(numbers)]
    return finite


def _categorical(column: str, values: pa.Array, what: str) -> None:
    kind = values.type
    if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise SchemaError(
            f"{what} is asked for column {column!r}, which is {kind}",
            fix="Use it on texts, integers or bools; bucket or scale other numbers.",
        )


def _array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
