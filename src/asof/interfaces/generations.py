"""What every writer of generations refuses, in the same words whatever the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.clock import iso
from asof.errors import ConflictError, InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from asof.interfaces.online import Pairs, ViewKey


def with_values(keys: pa.BinaryArray, values: pa.BinaryArray) -> Pairs:
    """Return the pairs that have a value.

    Raises:
        InputError: a key is null, or there is not one per value.
    """
    if len(keys) != len(values) or keys.null_count:
        raise InputError(
            f"{len(keys)} keys, {keys.null_count} of them null, for {len(values)} values",
            fix="Give one key per value, and no null key.",
        )
    if not values.null_count:
        return keys, values
    known = values.is_valid()
    return keys.filter(known), values.filter(known)


def repeated(view: ViewKey, count: int) -> InputError:
    """Return the error for keys that come twice in one generation."""
    return InputError(
        f"{count} keys of view {view.view!r} come twice",
        why="A generation has one value per entity",
        fix="Report this: it is a defect of what builds the values.",
    )


def later(view: ViewKey, current_us: int, instant_us: int) -> ConflictError:
    """Return the error for a generation of an instant before that of the present one."""
    return ConflictError(
        f"View {view.view}@{view.version} already holds what was known at {iso(current_us)}, "
        f"later than {iso(instant_us)}",
        why="Someone materialized it meanwhile, or the instant asked for lies before the last one",
        fix="Materialize it at a later instant.",
    )
