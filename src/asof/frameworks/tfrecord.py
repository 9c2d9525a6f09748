"""Writes rows as a TFRecord file of tf.train.Example, with the writer that TensorFlow maintains."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from asof.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write one Example per row, in order.

    An Example has integers, 32-bit floats and bytes: bools, dates (days since 1970), times and durations (microseconds)
    are integers, decimals floats, texts UTF-8. A vector or list is several values. A null is a feature left out.

    Raises:
        UnsupportedOperationError: a column is of another type, or a list holds a null.
        OSError: the file cannot be written.
    """
    kinds = {field.name: _kind(field) for field in schema}
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for batch in batches:
                columns = [(name, kinds[name], _values(batch.column(name), name)) for name in schema.names]
                for row in range(batch.num_rows):
                    writer.write(_example((name, kind, values[row]) for name, kind, values in columns))
    except tf.errors.OpError as error:
        raise OSError(_errno(error), str(error.message)) from error


def _example(row: Iterable[tuple[str, str, list[Any] | None]]) -> bytes:
    example = tf.train.Example()
    features = example.features.feature
    for name, kind, values in row:
        if values is not None:
            held = getattr(features[name], kind)
            held.SetInParent()  # an empty list is still one
            held.value.extend(values)
    found: bytes = example.SerializeToString()
    return found


def _errno(error: Any) -> int:
    return errno.ENOSPC if isinstance(error, tf.errors.ResourceExhaustedError) else errno.EIO


def _kind(field: pa.Field) -> str:
    """Return which of a feature's lists holds a column."""
    type_ = _item(field.type)
    if pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return "float_list"
    if pa.types.is_integer(type_) or pa.types.is_boolean(type_) or pa.types.is_temporal(type_):
        return "int64_list"
    if any(test(type_) for test in _BYTES):
        return "bytes_list"
    raise UnsupportedOperationError(
        f"A TFRecord file cannot hold column {field.name!r}, which is {field.type}",
        fix="Leave it out, or write Parquet, Arrow or Delta.",
    )


def _is_list(type_: pa.DataType) -> bool:
    return any(test(type_) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _item(type_: pa.DataType) -> pa.DataType:
    """Return the type of the single values in a column; of a list in a list that is a list."""
    inner = type_.value_type if _is_list(type_) else type_
    return inner.value_type if pa.types.is_dictionary(inner) else inner


def _values(values: pa.Array, name: str) -> list[Any]:
    """Return of every row the list of its values, or None."""
    nested = _is_list(values.type)
    for type_ in _steps(_item(values.type)):
        values = values.cast(pa.list_(type_) if nested else type_, safe=False)
    if pa.types.is_uint64(values.type) and (pc.max(values).as_py() or 0) >= 2**63:
        raise UnsupportedOperationError(
            f"A TFRecord file cannot hold the integers of column {name!r} from 2**63 on",
            fix="Leave the column out, or write Parquet, Arrow or Delta.",
        )
    if not nested:
        return [None if value is None else [value] for value in values.to_pylist()]
    if pc.list_flatten(values).null_count:
        raise UnsupportedOperationError(
            f"A TFRecord file cannot hold the null inside a list of column {name!r}",
            fix="Leave the column out, or write Parquet, Arrow or Delta.",
        )
    found: list[Any] = values.to_pylist()
    return found


def _steps(type_: pa.DataType) -> list[pa.DataType]:
    """Return the types over which single values become those of an Example."""
    if pa.types.is_decimal(type_):
        return [pa.float64()]
    if pa.types.is_date(type_):
        return [pa.date32(), pa.int32()]
    for test, unit in _TIMES:
        if test(type_):
            return [unit, pa.int64()]
    if pa.types.is_boolean(type_):
        return [pa.uint8()]
    return [pa.large_binary()] if any(test(type_) for test in _BYTES) else [type_]


_BYTES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)
_TIMES = (
    (pa.types.is_timestamp, pa.timestamp("us", "UTC")),
    (pa.types.is_duration, pa.duration("us")),
    (pa.types.is_time, pa.time64("us")),
)
