"""Rows as JAX arrays, whole or in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from asof.errors import InputError
from asof.frameworks.streams import Visit, batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.frameworks.columns import Array, EncodedColumn, Encoding
    from asof.frameworks.streams import Groups


def whole(source: Groups, encoding: Encoding) -> Any:
    """Return all rows as arrays by column."""
    found = next(batches(source, encoding, max(len(source), 1), Visit()), None)
    if found is None:
        found = {one.name: np.empty((0, *one.shape), one.dtype) for one in encoding.columns}
    return encoding.element(_arrays(encoding, found))


def stream(source: Groups, encoding: Encoding, rows: int, visit: Visit) -> Iterator[Any]:
    """Yield batches of arrays by column."""
    return (encoding.element(_arrays(encoding, arrays)) for arrays in batches(source, encoding, rows, visit))


def _arrays(encoding: Encoding, arrays: dict[str, Array]) -> dict[str, Any]:
    return {one.name: jnp.asarray(_narrowed(one, arrays[one.name])) for one in encoding.columns}


def _narrowed(column: EncodedColumn, values: Array) -> Array:
    """Return values in the type that JAX gives them, and refuse whole numbers that it would change."""
    dtype = np.dtype(jax.dtypes.canonicalize_dtype(values.dtype))
    if dtype == values.dtype:
        return values
    with np.errstate(over="ignore"):
        narrow = values.astype(dtype)
    if column.counts and not np.array_equal(narrow.astype(values.dtype), values, equal_nan=dtype.kind == "f"):
        raise InputError(
            f"Column {column.name!r} holds whole numbers beyond {dtype.name}, to which JAX cuts {values.dtype.name}",
            fix='Run jax.config.update("jax_enable_x64", True) first, or leave the column out in features=.',
        )
    return narrow
