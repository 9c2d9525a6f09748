"""How Arrow columns become arrays of one dtype and shape each, the same for every batch of a set of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asof.errors import InputError, NotFoundError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    Array = np.ndarray[Any, np.dtype[Any]]

_EXACT = 2**53  # up to here a float64 holds every integer


@dataclass(frozen=True)
class EncodedColumn:
    """One column as an array.

    Attributes:
        name: The column.
        dtype: Of the array.
        shape: Of one row: () for a number, (n,) for a vector.
        counts: Whether the values are whole numbers, though they may be held as floats, with NaN for null.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    counts: bool = False

    def array(self, values: pa.Array | pa.ChunkedArray) -> Array:
        """Return values as an array, which may share their memory.

        Raises:
            InputError: an integer beside nulls is beyond 2**53, or a time finer than a microsecond.
        """
        flat = _one(values)
        if self.shape:
            return self._vectors(flat)
        return np.asarray(self._numbers(flat), dtype=self.dtype)

    def _vectors(self, values: pa.Array) -> Array:
        width = self.shape[0]
        if not values.null_count:
            return np.asarray(values.flatten().to_numpy(zero_copy_only=False)).reshape(-1, width)
        found = np.full((len(values), width), np.nan, self.dtype)
        known = values.is_valid().to_numpy(zero_copy_only=False)
        found[known] = values.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        return found

    def _numbers(self, values: pa.Array) -> Array:
        plain = self._plain(values)
        if self.dtype.kind == "f" and pa.types.is_integer(plain.type):
            self._refuse_inexact(plain)
            plain = plain.cast(pa.float64())
        return np.asarray(plain.to_numpy(zero_copy_only=False))

    def _plain(self, values: pa.Array) -> pa.Array:
        type_ = values.type
        if pa.types.is_boolean(type_):
            return values.cast(pa.uint8()) if self.dtype.kind == "f" else values
        if pa.types.is_decimal(type_):
            return values.cast(pa.float64(), safe=False)
        if pa.types.is_date(type_):
            return values.cast(pa.date32()).view(pa.int32())
        unit = next((make for test, make in _TIMES if test(type_)), None)
        if unit is None:
            return values
        try:
            return values.cast(unit).view(pa.int64())
        except pa.ArrowInvalid as error:
            raise InputError(
                f"Column {self.name!r} holds times finer than a microsecond",
                why=str(error).splitlines()[0],
                fix="Round it to microseconds in the spine.",
            ) from error

    def _refuse_inexact(self, values: pa.Array) -> None:
        wide = pa.types.is_int64(values.type) or pa.types.is_uint64(values.type)
        if not wide or values.null_count == len(values):
            return
        ends = pc.min_max(values).as_py()
        if ends["min"] < -_EXACT or ends["max"] > _EXACT:
            raise InputError(
                f"Column {self.name!r} has nulls, and integers that a float with NaN for null cannot hold",
                why=f"Its values lie between {ends['min']} and {ends['max']}",
                fix="Give the feature a default, or leave it out in features=.",
            )


@dataclass(frozen=True)
class Encoding:
    """What a model is given: columns as arrays, and the label.

    Attributes:
        features: The columns, in order.
        label: What is to be learned, if anything.
    """

    features: tuple[EncodedColumn, ...]
    label: EncodedColumn | None = None

    @property
    def columns(self) -> tuple[EncodedColumn, ...]:
        """All columns, each once."""
        return tuple({one.name: one for one in (*self.features, *([self.label] if self.label else []))}.values())

    @property
    def names(self) -> list[str]:
        """The names of all columns."""
        return [one.name for one in self.columns]

    def element(self, arrays: dict[str, Any]) -> Any:
        """Return (features, label) of arrays by column, or the features alone where there is no label."""
        features = {one.name: arrays[one.name] for one in self.features}
        return features if self.label is None else (features, arrays[self.label.name])


def encode(schema: pa.Schema, features: Sequence[str], label: str | None, nulls: Collection[str]) -> Encoding:
    """Return how columns are encoded, from their types and from whether they hold a null anywhere.

    Numbers and bools keep their types, decimals become float64, timestamps, times and durations int64 microseconds,
    dates int32 days since 1970, vectors rows of numbers. Null is NaN: what is not a float becomes float64 where there
    are nulls.

    Raises:
        NotFoundError: no such column.
        InputError: columns of other types, as texts; the message names all of them.
    """
    asked = [*features, *([label] if label is not None else [])]
    refuse_unknown(schema, asked)
    other = [f"{name} ({schema.field(name).type})" for name in asked if _dtype(schema.field(name).type) is None]
    if other:
        raise InputError(
            f"A tensor cannot hold {', '.join(other)}",
            fix="Name the columns that it can hold in features=, or encode the others with transforms= of a stored "
            "training set, whose read().transformed() gives numbers.",
        )
    return Encoding(
        tuple(_encoded(schema.field(name), name in nulls) for name in features),
        None if label is None else _encoded(schema.field(label), label in nulls),
    )


def refuse_unknown(schema: pa.Schema, names: Sequence[str]) -> None:
    """Refuse columns that are not there.

    Raises:
        NotFoundError: names the first.
    """
    for name in names:
        if name not in schema.names:
            raise NotFoundError(
                f"There is no column {name!r}",
                why=did_you_mean(name, schema.names),
                fix=f"The columns are {', '.join(schema.names)}.",
            )


def _encoded(field: pa.Field, nulls: bool) -> EncodedColumn:
    dtype = _dtype(field.type)
    assert dtype is not None  # noqa: S101 - for mypy: other types were refused
    if pa.types.is_fixed_size_list(field.type):
        return EncodedColumn(field.name, dtype, (field.type.list_size,))
    counts = dtype.kind != "f"
    return EncodedColumn(field.name, np.dtype(np.float64) if nulls and counts else dtype, counts=counts)


def _dtype(type_: pa.DataType) -> np.dtype[Any] | None:
    """Return the dtype of a column without nulls, or None where there is none."""
    if pa.types.is_fixed_size_list(type_):
        return _dtype(type_.value_type) if pa.types.is_floating(type_.value_type) else None
    if pa.types.is_decimal(type_):
        return np.dtype(np.float64)
    if pa.types.is_date(type_):
        return np.dtype(np.int32)
    if any(test(type_) for test, _ in _TIMES):
        return np.dtype(np.int64)
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_) or pa.types.is_floating(type_):
        found: np.dtype[Any] = np.dtype(type_.to_pandas_dtype())
        return found
    return None


def _one(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


_TIMES = (
    (pa.types.is_timestamp, pa.timestamp("us")),
    (pa.types.is_duration, pa.duration("us")),
    (pa.types.is_time, pa.time64("us")),
)
