"""Request inputs: what a caller brings to a read of on-demand views, in the declared types, before any work is done."""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asof import dtypes
from asof.clock import parse_instant, to_us
from asof.errors import InputError, did_you_mean
from asof.services.spine import column_array, exact_floats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asof.plan.specs import RequestSpec

    Fields = Mapping[str, RequestSpec]
    Request = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def from_table(table: pa.Table, fields: Fields) -> dict[str, pa.Array | None]:
    """Return the request fields of a spine's rows; None where a field with a default has no column.

    Raises:
        InputError: a field without default has no column, or a column holds what its type cannot.
    """
    found: dict[str, pa.Array | None] = {}
    for name, field in fields.items():
        if name in table.column_names:
            found[name] = _clean(_column(column_array(table.column(name)), field))
        else:
            _refuse_without_default(field, table.column_names, "The spine has no column")
            found[name] = None
    return found


def require_defaults(fields: Fields) -> None:
    """Refuse request fields without default where there is no spine to bring them.

    Raises:
        InputError: names the first of them.
    """
    for field in fields.values():
        _refuse_without_default(field, (), "A grid of entities and instants has no column")


def from_request(request: Request | None, fields: Fields, rows: int | None) -> dict[str, pa.Array | None]:
    """Return the request fields of an online read; None where a field with a default is left out.

    Args:
        request: Per field one value per key, as {"distance": [229.0]}; or one mapping per key.
        fields: What the read asks for.
        rows: How many keys there are; None where the read takes no keys.

    Raises:
        InputError: a field is missing, unknown, of another length than the keys, or holds what its type cannot.
    """
    columns = _as_columns(request)
    for name in columns:
        if name not in fields:
            raise InputError(
                f"{name!r} is not a request field of these features",
                why=did_you_mean(str(name), fields),
                fix=f"They take {', '.join(fields)}." if fields else "They take none; leave the request out.",
            )
    found: dict[str, pa.Array | None] = {}
    for name, field in fields.items():
        if name not in columns:
            _refuse_without_default(field, columns, "The request has no field")
            found[name] = None
            continue
        values = columns[name]
        listed = hasattr(values, "__len__") and not isinstance(values, str | bytes | dict)
        if not listed or (rows is not None and len(values) != rows):
            raise InputError(
                f"The request field {name!r} does not have one value per key",
                fix=f'Give a list of {"as many values as keys" if rows is None else rows}, as {{"{name}": [1, 2]}}.',
            )
        rows = len(values)
        found[name] = _values(values, field)
    return found


def _as_columns(request: Request | None) -> Mapping[str, Any]:
    if request is None:
        return {}
    if isinstance(request, dict):
        return request
    if hasattr(request, "items"):
        return dict(request.items())
    rows = list(request) if hasattr(request, "__iter__") and not isinstance(request, str) else []
    if not rows or not all(hasattr(row, "items") for row in rows):
        raise InputError(
            f"The request is a {type(request).__name__}",
            fix='Give {"distance": [229.0, 1089.0]}, or a list of rows: [{"distance": 229.0}].',
        )
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _refuse_without_default(field: RequestSpec, known: Any, what: str) -> None:
    if field.default is None:
        raise InputError(
            f"{what} {field.name!r}, a request input of these features",
            why=did_you_mean(field.name, known),
            fix=f"Give it as {field.dtype}, or declare a default.",
        )


def _column(array: pa.Array, field: RequestSpec) -> pa.Array:
    """Return a spine's column in the field's type where no value changes by it."""
    wanted = dtypes.to_arrow(field.dtype)
    if array.type == wanted:
        return array
    dtype, found = field.dtype, dtypes.from_arrow(array.type)
    floats = found in dtypes.FLOATS
    fits = (
        pa.types.is_null(array.type)
        or found == dtype
        or (found in dtypes.INTEGERS and dtype in dtypes.INTEGERS | dtypes.FLOATS)
        or (floats and (dtype in dtypes.INTEGERS or dtype == "float64"))
        or (dtype.startswith(("list<", "vector<")) and found is not None and found.startswith(("list<", "vector<")))
    )
    if not fits:
        raise _not_a(field, f"It is {array.type}")
    try:
        if floats and dtype in dtypes.INTEGERS:
            array = exact_floats(array, field.name)
        if dtype == "timestamp" and pa.types.is_timestamp(array.type) and array.type.tz is None:
            array = array.cast(pa.timestamp("us")).cast(pa.int64())
        return array.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _not_a(field, str(error).splitlines()[0]) from error


def _values(values: Any, field: RequestSpec) -> pa.Array:
    """Return Python values, or an array of any library, in the field's type."""
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return _clean(_column(column_array(values), field))
    if not isinstance(values, list):
        values = values.tolist() if hasattr(values, "tolist") else list(values)
    kinds, convert = _KINDS.get(_family(field.dtype), ((), None))
    try:
        for one in values if kinds else ():
            if one is not None and type(one) not in kinds and not (datetime in kinds and isinstance(one, datetime)):
                raise _not_a(field, f"It holds {one!r}")
        if convert is not None:
            values = [None if one is None else convert(one) for one in values]
        return pa.array(values, _arrow(field.dtype))
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise _not_a(field, str(error).splitlines()[0]) from error


def _exact_float(value: float) -> float | None:
    found = float(value)
    if found != value:
        if value != value:  # NaN
            return None
        raise ValueError(f"{value} has more digits than a float")
    return found


def _instant(value: Any) -> int:
    if isinstance(value, str):
        return parse_instant(value)
    return to_us(value)


def _date(value: Any) -> Any:
    return date.fromisoformat(value) if isinstance(value, str) else value


_KINDS: dict[str, tuple[tuple[type, ...], Any]] = {
    "int": ((int,), None),
    "float": ((float, int), _exact_float),
    "bool": ((bool,), None),
    "string": ((str,), None),
    "timestamp": ((datetime, str), _instant),
    "date": ((date, str), _date),
}


_arrow = lru_cache(dtypes.to_arrow)


def _family(dtype: str) -> str:
    if dtype in dtypes.INTEGERS:
        return "int"
    return "float" if dtype in dtypes.FLOATS else dtype


def _not_a(field: RequestSpec, why: str) -> InputError:
    return InputError(
        f"The request input {field.name!r} is not {field.dtype}", why=why, fix=f"Give it as {field.dtype}."
    )


def _clean(array: pa.Array) -> pa.Array:
    """Return a column with null for NaN."""
    if not pa.types.is_floating(array.type) or not len(array):
        return array
    if not np.isnan(array.to_numpy(zero_copy_only=False)).any():
        return array
    return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
