"""Which split every row of a spine is in, from the row's number, instant or group alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from asof.definitions import GroupSplit, RandomSplit, TimeSplit
from asof.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asof.definitions.training import Split
    from asof.services.spine import Spine

    Integers = np.ndarray[tuple[int], np.dtype[np.uint64]]
    Floats = np.ndarray[tuple[int], np.dtype[np.float64]]

SPLIT = "split"


def assign(split: Split, spine: Spine) -> pa.Array:
    """Return the name of every spine row's split.

    Raises:
        InputError: the spine lacks the group's column.
    """
    if isinstance(split, TimeSplit):
        bounds = np.array(split.at_us, dtype=np.int64)
        places = np.searchsorted(bounds, spine.instants.to_numpy(), side="right")
        return _named(tuple(split.names), places)
    if isinstance(split, RandomSplit):
        numbers = np.arange(spine.table.num_rows, dtype=np.uint64)
        return _by_share(split.fractions, _uniform(numbers, split.seed))
    if split.column not in spine.table.column_names:
        raise InputError(
            f"The spine has no column {split.column!r} to split by",
            why=did_you_mean(split.column, spine.table.column_names),
            fix=f"Its columns are {', '.join(spine.table.column_names)}.",
        )
    return _by_share(split.fractions, _of_groups(split, spine.table.column(split.column)))


def split_names(split: Split) -> tuple[str, ...]:
    """Return the names of a split's parts, in order."""
    return tuple(split.names) if isinstance(split, TimeSplit) else tuple(split.fractions)


def _of_groups(split: GroupSplit, column: pa.ChunkedArray) -> Floats:
    """Return a number in [0, 1) per row, the same for equal groups, from a hash of the seed and the group's text."""
    array = column.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        try:
            array = array.dictionary_encode(null_encoding="mask")
        except pa.ArrowNotImplementedError as error:
            raise InputError(
                f"The column {split.column!r} is {column.type}, which groups cannot be made of",
                fix="Split by a column of numbers, text, dates or times.",
            ) from error
    draws = [_draw(split.seed, value) for value in array.dictionary.to_pylist()]
    # An index beyond the values stands for null.
    places = array.indices.cast(pa.int64()).fill_null(len(draws)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*draws, _draw(split.seed, None)])[places])


def _draw(seed: int, group: Any) -> float:
    text = f"{seed}\n{group!r}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big") / 2**48


def _uniform(numbers: Integers, seed: int) -> Floats:
    """Return a number in [0, 1) per row number: SplitMix64 (Steele, Lea and Flood, 2014) started at a mixed seed."""
    start = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:8], "big")
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) / 2.0**53)


def _by_share(fractions: Mapping[str, float], uniform: Floats) -> pa.Array:
    ends = np.cumsum(list(fractions.values()))[:-1]
    return _named(tuple(fractions), np.searchsorted(ends, uniform, side="right"))


def _named(names: tuple[str, ...], places: Any) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(places))
