"""Rows as JSON objects: read into a source's columns, each bad one by itself, and written so that they read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from asof import dtypes
from asof.plan.streams import row_schema
from asof.services.door import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from asof.plan.specs import SourceSpec

NO_OBJECT = "the row is no JSON object"
_FORMS: dict[str, type] = {"binary": bytes, "date": date, "time": time, "duration": timedelta}


def parse(values: Iterable[bytes | None]) -> tuple[list[Any], dict[int, str]]:
    """Return what JSON texts stand for, and why some are no JSON, by their position: None stands for those."""
    records: list[Any] = []
    refused: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            records.append(json.loads(value or b""))
        except (ValueError, RecursionError) as error:
            refused[row] = f"the row is no JSON: {error}"
            records.append(None)
    return records, refused


def columns_of(
    source: SourceSpec, records: Sequence[Any], refused: Mapping[int, str] | None = None
) -> tuple[pa.Table, dict[int, str]]:
    """Return decoded JSON as columns, and why some of its rows cannot be, by their position.

    Dates, times and timestamps are ISO 8601 texts, durations as "P1DT2H", decimals texts or numbers, bytes base64.

    Args:
        source: A stream source; fields that it does not have are ignored.
        records: What should be objects.
        refused: Rows that are known to be refused, and why.
    """
    found = dict(refused or {})
    rows: list[Mapping[str, Any]] = []
    for row, record in enumerate(records):
        if isinstance(record, Mapping):
            rows.append(record)
        else:
            found.setdefault(row, NO_OBJECT)
            rows.append({})
    special = {field.name: dtype for field in row_schema(source) if (dtype := _special(field.type)) is not None}
    if special:
        rows = [_converted(record, special, row, found) for row, record in enumerate(rows)]
    table, unfit = table_of(source, rows)
    return table, {**unfit, **found}


def write(record: Any) -> bytes:
    """Return a row as JSON; what JSON has no form for is written as text."""
    return json.dumps(record, default=_builtin, skipkeys=True).encode()


def _special(arrow: pa.DataType) -> str | None:
    dtype = dtypes.from_arrow(arrow) or ""
    return dtype if dtype in _FORMS or dtypes.is_decimal(dtype) else None


def _converted(
    record: Mapping[str, Any], special: Mapping[str, str], row: int, refused: dict[int, str]
) -> Mapping[str, Any]:
    changed: dict[str, Any] = {}
    for name, dtype in special.items():
        value = record.get(name)
        if value is None:
            continue
        try:
            if dtype in _FORMS:
                changed[name] = msgspec.convert(value, _FORMS[dtype])
            elif isinstance(value, float):
                changed[name] = Decimal(repr(value))
            else:
                changed[name] = msgspec.convert(value, Decimal)
        except (msgspec.ValidationError, ArithmeticError) as error:
            refused.setdefault(row, f"column {name!r} is no {dtype}: {str(error).replace('`', '')}")
            changed[name] = None
    return {**record, **changed} if changed else record


def _builtin(value: Any) -> Any:
    if isinstance(value, bytes | date | time | timedelta | Decimal | UUID):  # datetimes are dates
        return msgspec.to_builtins(value)
    if hasattr(value, "tolist"):  # of NumPy
        return value.tolist()
    return str(value)
