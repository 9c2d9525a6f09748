"""Rows that a unit test writes by hand, as the frames that views read: times parsed, missing columns null."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof import dtypes
from asof.backends.local.predicates import names_in
from asof.clock import from_us, parse_instant, to_us
from asof.definitions import EventView, StateView
from asof.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asof.definitions import FeatureView, Source

    Row = Mapping[str, Any]

TIME = pa.timestamp("us", "UTC")
_NUMERIC = frozenset({"sum", "mean", "stddev", "variance", "percentile"})
_TYPES: tuple[tuple[type, pa.DataType], ...] = (
    (bool, pa.bool_()),
    (int, pa.int64()),
    (float, pa.float64()),
    (str, pa.string()),
    (bytes, pa.binary()),
    (Decimal, pa.decimal128(38, 9)),
    (datetime, TIME),
    (date, pa.date32()),
)


def source_table(
    source: Source,
    rows: Sequence[Row],
    views: Sequence[FeatureView],
    spine: pa.Table,
    known: Mapping[str, pa.DataType],
) -> pa.Table:
    """Return rows with every column that the views of a source read.

    A column that no row has a value for takes its type from what is known of it: `known`, a role in the source, a join
    key's declaration or the spine, a default, an aggregate that takes numbers only; else it is text. One that only
    predicates use is null without a type.

    Raises:
        InputError: a time that is none, or a column of mixed types.
    """
    check_rows(rows, what := f"Rows of source {source.name!r}")
    times = {column for column in (source.event_time, source.available_at) if column is not None}
    types: dict[str, pa.DataType | None] = {**known, **dict.fromkeys(times, TIME)}
    if source.deleted is not None:
        types[source.deleted] = pa.bool_()
    if source.event_id is not None:
        types[source.event_id] = pa.int64()
    floats: set[str] = set()
    for view in views:
        made = derived_names(view)
        for key, dtype in view.entity.join_keys:
            if key in made:
                continue
            if dtype is None and key in spine.column_names and not pa.types.is_null(spine.schema.field(key).type):
                types.setdefault(key, spine.schema.field(key).type)
            types.setdefault(key, dtypes.to_arrow(dtype or "int64"))
        for column, numeric, default in _inputs(view):
            if column in made:
                continue
            found = _type_of(default)
            types.setdefault(column, found or (pa.float64() if numeric else pa.string()))
            if found == pa.float64():
                floats.add(column)
    there = {name.lower() for name in (*types, *(name for row in rows for name in row))}
    for view in views:
        made = {name.lower() for name in derived_names(view)}
        for text in (*predicates_of(view), *(sql for _, sql in view.select)):
            types |= {n: None for n in names_in(source.name, text) if n.lower() not in there and n.lower() not in made}
    table = table_of(rows, times, types, what)
    for column in floats:  # 5 stands for 5.0 where the view says so
        position = table.schema.get_field_index(column)
        if pa.types.is_integer(table.schema.field(position).type):
            table = table.set_column(position, column, table.column(position).cast(pa.float64()))
    return table


def table_of(rows: Sequence[Row], times: set[str], types: Mapping[str, pa.DataType | None], what: str) -> pa.Table:
    """Return rows as a table: `times` are instants, as text or not; `types` are of columns without any value,
    None for one that nothing but predicates reads.

    Raises:
        InputError: a row is no mapping, a time is none, or a column mixes types.
    """
    check_rows(rows, what)
    columns: dict[str, pa.Array] = {}
    for name in dict.fromkeys([*(name for row in rows for name in row), *types]):
        values = [row.get(name) for row in rows]
        try:
            if name in times:
                columns[name] = pa.array([None if v is None else from_us(instant_us(v)) for v in values], TIME)
                continue
            array = pa.array(values)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise InputError(
                f"{what} cannot be read: column {name!r}",
                why=str(error).splitlines()[0],
                fix="Give a column values of one type; instants as datetimes or ISO 8601 text.",
            ) from error
        if pa.types.is_null(array.type) and types.get(name) is not None:
            array = array.cast(types[name])
        columns[name] = array.cast(TIME) if pa.types.is_timestamp(array.type) else array
    return pa.table(columns)


def predicates_of(view: FeatureView) -> list[str]:
    """Return the SQL predicates of a view and of its aggregates."""
    texts = [view.where, *(a.where for a in view.aggregates)] if isinstance(view, EventView) else [view.where]
    return list(dict.fromkeys(text for text in texts if text is not None))


def derived_names(view: FeatureView) -> set[str]:
    """Return the names of the columns that a view adds to its source's."""
    outputs = view.transform.outputs if view.transform is not None else ()
    return {name for name, _ in (*outputs, *view.select)}


def check_rows(rows: Any, what: str) -> None:
    """Refuse what is no list of mappings.

    Raises:
        InputError: says what was given.
    """
    if not isinstance(rows, list | tuple) or not all(hasattr(row, "items") for row in rows):
        raise InputError(f"{what} are not rows", fix='Give a list of mappings, as [{"customer_id": 1, "amount": 5.0}].')


def instant_us(value: object) -> int:
    """Return an instant in microseconds since the epoch; naive ones are UTC, dates their midnight.

    Raises:
        ValueError, TypeError: it is none.
    """
    if isinstance(value, str):
        return parse_instant(value)
    if isinstance(value, datetime):
        return to_us(value)
    if isinstance(value, date):
        return to_us(datetime(value.year, value.month, value.day))
    raise TypeError(f"{value!r} is no instant")


def _inputs(view: FeatureView) -> Iterable[tuple[str, bool, Any]]:
    """Yield the columns that a view reads, whether they must be numbers, and the default that tells their type."""
    if isinstance(view, StateView):
        for feature in view.features:
            yield feature.column or feature.name, False, feature.default
    elif isinstance(view, EventView):
        for aggregate in view.aggregates:
            if aggregate.column is not None:
                numeric = aggregate.function in _NUMERIC
                counts = aggregate.function.endswith(("count", "count_distinct", "mean", "stddev", "variance"))
                yield aggregate.column, numeric, None if counts else aggregate.default
            if aggregate.by is not None:
                yield aggregate.by, False, None


def _type_of(default: Any) -> pa.DataType | None:
    if isinstance(default, list | tuple):
        default = next(iter(default), None)
    return next((arrow for kind, arrow in _TYPES if isinstance(default, kind)), None)
