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

    from asof.frameworks.columns import Array, Encoding
    from asof.frameworks.streams import Groups


def whole(source: Groups, encoding: Encoding) -> Any:
    """Return all rows as arrays by column."""
    found = next(batches(source, encoding, max(len(source), 1), Visit()), None)
    if found is None:
        found = {one.name: np.empty((0, *one.shape), one.dtype) for one in encoding.columns}
    return encoding.element(_arrays(found))


def stream(source: Groups, encoding: Encoding, rows: int, visit: Visit) -> Iterator[Any]:
    """Yield batches of arrays by column."""
    return (encoding.element(_arrays(arrays)) for arrays in batches(source, encoding, rows, visit))


def _arrays(arrays: dict[str, Array]) -> dict[str, Any]:
    return {name: jnp.asarray(_narrowed(name, values)) for name, values in arrays.items()}


def _narrowed(name: str, values: Array) -> Array:
    """Return values in the type that JAX gives them, and refuse integers that it would wrap around."""
    dtype = np.dtype(jax.dtypes.canonicalize_dtype(values.dtype))
    if dtype == values.dtype:
        return values
    if dtype.kind in "iu" and len(values):
        limits = np.iinfo(dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise InputError(
                f"Column {name!r} holds integers beyond {dtype.name}, to which JAX cuts {values.dtype.name} down",
                fix='Run jax.config.update("jax_enable_x64", True) first, or leave the column out in features=.',
            )
    return values.astype(dtype)
