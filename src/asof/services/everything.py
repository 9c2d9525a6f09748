"""Entities without join keys: there is one of each, whose constant key in the kernel is given here and only here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

_DTYPE = "bool"


def kernel_keys(columns: Sequence[pa.Array], rows: int) -> list[pa.Array]:
    """Return join key columns as the kernel takes them: of an entity without any, a constant for every row."""
    return list(columns) or [pa.repeat(pa.scalar(True), rows)]


def kernel_values(types: list[str], columns: list[list[Any]], rows: int) -> tuple[list[str], list[list[Any]]]:
    """Return the types and values of join keys likewise, for the few of an online read."""
    return (types, columns) if types else ([_DTYPE], [[True] * rows])
