"""One matrix of floats and a label, as scikit-learn, XGBoost and LightGBM take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from asof.errors import InputError
from asof.frameworks.columns import refuse_unknown
from asof.frameworks.streams import Visit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asof.frameworks.columns import Array
    from asof.frameworks.streams import Groups

_NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)


def refuse_other(schema: pa.Schema, features: Sequence[str], label: str | None) -> None:
    """Refuse what is not there, and features that are no numbers.

    Raises:
        NotFoundError: no such column.
        InputError: a feature is neither number nor bool.
    """
    refuse_unknown(schema, [*features, *([label] if label is not None else [])])
    other = [f"{name} ({schema.field(name).type})" for name in features if not numeric(schema.field(name).type)]
    if other:
        raise InputError(
            f"A matrix cannot hold {', '.join(other)}",
            fix="Name the numeric features in features=, or encode the others yourself from to_arrow().",
        )


def xy(source: Groups, features: Sequence[str], label: str) -> tuple[Array, Array]:
    """Return all rows as a float64 matrix, NaN for null, and the labels as NumPy has them."""
    refuse_other(source.schema, features, label)
    wanted = list(dict.fromkeys([*features, label]))
    matrix = np.empty((len(source), len(features)), dtype=np.float64)
    labels, start = [], 0
    for table in Visit().tables(source, wanted):
        _fill(matrix[start : start + table.num_rows], table, features)
        labels += table.column(label).chunks
        start += table.num_rows
    return matrix, to_numpy(pa.chunked_array(labels, source.schema.field(label).type))


def parts(source: Groups, features: Sequence[str], label: str | None) -> Iterator[tuple[Array, Array | None]]:
    """Yield float64 matrices and float64 labels, group by group, in order.

    Raises:
        InputError: a label is null or no number.
    """
    refuse_other(source.schema, features, label)
    if label is not None and not numeric(source.schema.field(label).type):
        raise InputError(
            f"The label {label!r} is {source.schema.field(label).type}, and trees learn numbers",
            fix="Encode it as a number, or name another column in label=.",
        )
    for table in Visit().tables(source, list(dict.fromkeys([*features, *([label] if label is not None else [])]))):
        matrix = np.empty((table.num_rows, len(features)), dtype=np.float64)
        _fill(matrix, table, features)
        yield matrix, None if label is None else _labels(table.column(label), label)


def _fill(matrix: Array, table: pa.Table, features: Sequence[str]) -> None:
    for place, name in enumerate(features):
        matrix[:, place] = floats(table.column(name))


def _labels(values: pa.ChunkedArray, label: str) -> Array:
    if values.null_count:
        raise InputError(
            f"The label {label!r} is null in {values.null_count} rows of a group",
            why="A tree cannot learn from a row without a label",
            fix="Leave such rows out of the spine, or give the label a value.",
        )
    return floats(values)


def numeric(type_: pa.DataType) -> bool:
    """Return whether values are numbers or bools."""
    return any(test(type_) for test in _NUMERIC)


def floats(values: pa.ChunkedArray) -> Array:
    """Return numbers or bools as float64, NaN for null."""
    plain = values.cast(pa.uint8()) if pa.types.is_boolean(values.type) else values
    return np.asarray(plain.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def to_numpy(values: pa.ChunkedArray) -> Array:
    """Return a column as NumPy has it: see `to_numpy` of rows."""
    type_ = values.type
    if values.null_count and (pa.types.is_integer(type_) or pa.types.is_boolean(type_)):
        return floats(values)
    if pa.types.is_timestamp(type_):
        values = values.cast(pa.timestamp(type_.unit))
    return np.asarray(values.to_numpy())
