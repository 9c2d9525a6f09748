"""The keys of an online read: columns or rows of values, checked and encoded as the store knows them."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from asof import _native
from asof.clock import EPOCH, parse_instant, to_us
from asof.errors import InputError, did_you_mean
from asof.services.everything import kernel_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asof.services.online import ReadPlan

    Keys = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def encode_keys(plan: ReadPlan, keys: Keys) -> list[list[bytes | None]]:
    """Return, for each set of keys of a plan, one encoded key per entity; None for an entity without a key.

    Raises:
        InputError: keys are missing, unknown, of different lengths or of the wrong type.
    """
    columns = keys if isinstance(keys, dict) else as_columns(keys)
    if not columns:
        if plan.key_names:
            _refuse_names(plan, columns)
        if not plan.entities:
            return []
        lengths = {1 if hasattr(keys, "items") else len(keys)}
    else:
        lengths = {-1 if isinstance(values, str) else len(values) for values in columns.values()}
    if len(lengths) != 1 or -1 in lengths:
        raise InputError(
            "Keys are not columns of one length",
            fix='Give per join key a list with one value per entity, as {"customer_id": [17, 42]}.',
        )
    if columns.keys() != plan.key_names:
        _refuse_names(plan, columns)
    (rows,) = lengths
    encoded: list[list[bytes | None]] = []
    for names, types in plan.entities:
        try:
            values = [normalise(dtype, columns[name]) for name, dtype in zip(names, types, strict=True)]
            encoded.append(_native.encode_keys_py(*kernel_values(types, values, rows)))
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"A value of {' or '.join(names)} is not a key",
                why=str(error),
                fix=f"Give {', '.join(f'{name} as {dtype}' for name, dtype in zip(names, types, strict=True))}.",
            ) from error
    return encoded


def in_words(plan: ReadPlan, keys: Keys, row: int) -> str:
    """Return the keys of a row for people."""
    columns = as_columns(keys)
    return ", ".join(f"{name}={columns[name][row]!r}" for name in columns if name in plan.key_names) or f"row {row}"


def normalise(dtype: str, values: Any) -> list[Any]:
    """Return a list of Python values, times as the integers that keys hold; the kernel checks the rest."""
    if not isinstance(values, list):
        convert = getattr(values, "to_pylist", None) or getattr(values, "tolist", None)
        values = list(convert() if convert else values)
    if dtype == "timestamp":
        return [None if v is None else _timestamp_us(v) for v in values]
    if dtype == "date":
        return [None if v is None else _date_days(v) for v in values]
    listed: list[Any] = values
    return listed


def _timestamp_us(value: Any) -> int:
    if isinstance(value, str):
        return parse_instant(value)
    if isinstance(value, datetime):
        return to_us(value)
    raise TypeError(f"expected a datetime or ISO 8601 text, got {value!r}")


def _date_days(value: Any) -> int:
    if isinstance(value, str):
        value = date.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return (value - EPOCH.date()).days
    raise TypeError(f"expected a date or ISO 8601 text, got {value!r}")


def as_columns(keys: Any) -> dict[str, list[Any]]:
    """Return keys as columns, also where they are given as rows.

    Raises:
        InputError: they are neither.
    """
    if hasattr(keys, "items"):
        return {name: list(values) for name, values in keys.items()}
    rows = list(keys) if hasattr(keys, "__iter__") else []
    if not rows or not all(hasattr(row, "items") for row in rows):
        raise InputError(
            f"Keys are a {type(keys).__name__}",
            fix='Give {"customer_id": [17, 42]}, or a list of rows: [{"customer_id": 17}].',
        )
    return {name: [row.get(name) for row in rows] for name in rows[0]}


def _refuse_names(plan: ReadPlan, columns: Mapping[str, Any]) -> None:
    wanted = sorted(plan.key_names)
    if missing := [name for name in wanted if name not in columns]:
        raise InputError(
            f"The join key {missing[0]!r} is missing",
            fix=f"These features need {', '.join(wanted)}.",
        )
    unknown = next(name for name in columns if name not in plan.key_names)
    raise InputError(
        f"{unknown!r} is not a join key of these features",
        why=did_you_mean(unknown, wanted),
        fix=f"They take {', '.join(wanted) or 'no keys'}.",
    )
