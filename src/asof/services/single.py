"""Questions about one entity: its join keys, checked and in the entity's types, as a spine of one row."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof.clock import from_us, parse_instant
from asof.errors import InputError, did_you_mean
from asof.services.spine import make_spine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asof.plan.specs import EntitySpec
    from asof.services.spine import Spine

_AT = "__at"


def one_entity(entity: EntitySpec, keys: Mapping[str, Any], at_us: int) -> Spine:
    """Return a spine of one row: the entity of these keys at an instant.

    Raises:
        InputError: a key is missing, unknown, null, several values, or not of its type.
    """
    names = [key.name for key in entity.join_keys]
    if not hasattr(keys, "items"):
        raise InputError(f"Keys are a {type(keys).__name__}", fix='Give one value per join key: {"customer_id": 42}.')
    if unknown := [name for name in keys if name not in names]:
        raise InputError(
            f"{unknown[0]!r} is not a join key of entity {entity.name!r}",
            why=did_you_mean(unknown[0], names),
            fix=f"Its keys are {', '.join(names)}.",
        )
    if missing := [name for name in names if name not in keys]:
        raise InputError(f"The join key {missing[0]!r} is missing", fix=f"Give {', '.join(names)}.")
    columns = {key.name: [_key_value(key.name, keys[key.name], key.dtype)] for key in entity.join_keys}
    try:
        table = pa.table({**columns, _AT: pa.array([at_us], pa.timestamp("us", "UTC"))})
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise InputError(
            "A join key's value cannot be read", why=str(error), fix="Give one plain value per join key."
        ) from error
    return make_spine(table, _AT)


def _key_value(name: str, value: Any, dtype: str) -> Any:
    if value is None or isinstance(value, list | tuple | dict | set):
        raise InputError(
            f"The join key {name!r} is {value!r}", fix='An explanation is about one entity: {"customer_id": 42}.'
        )
    try:
        if isinstance(value, str) and dtype == "timestamp":
            return from_us(parse_instant(value))
        if isinstance(value, str) and dtype == "date":
            return date.fromisoformat(value)
    except ValueError as error:
        raise InputError(f"The join key {name!r} is {value!r}, not a {dtype}", fix="Write it as ISO 8601.") from error
    return value
