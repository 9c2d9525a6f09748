"""Spines: what a caller asks about, in one form: join keys, instants, and the caller's own columns untouched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from asof import dtypes
from asof.clock import FIRST_US, LAST_US
from asof.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.definitions.roles import Role
    from asof.plan.specs import EntitySpec

EVENT_TIMESTAMP = "event_timestamp"
_EXACT = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): 2**53}


@dataclass(frozen=True)
class Spine:
    """A spine ready to be joined.

    Attributes:
        table: The caller's columns, in the caller's order and types.
        instants: int64 microseconds since the epoch, UTC, one per row, no nulls.
        event_time: The name of the column that the instants came from.
    """

    table: pa.Table
    instants: pa.Array
    event_time: str

    def keys(self, entity: EntitySpec, role: Role | None = None) -> list[pa.Array]:
        """Return the entity's join keys, in its order and types, from the columns where the role finds them.

        Raises:
            InputError: a key column is missing, or has values that are not of the key's type.
        """
        return [
            key_array(self.table, role.column(key.name) if role else key.name, key.dtype, entity.name)
            for key in entity.join_keys
        ]


def make_spine(frame: Any, event_time: str | None) -> Spine:
    """Return the spine of an Arrow table, a pandas or Polars frame, or a dict of columns.

    Args:
        frame: Rows of join keys, an instant, and whatever else the caller wants back.
        event_time: The column of instants. Default: `event_timestamp`, else the only timestamp column.

    Raises:
        InputError: not a table, repeated columns, no such column, or instants that are not times.
    """
    table = to_table(frame, "The spine")
    if len(set(table.column_names)) != table.num_columns:
        repeated = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
        raise InputError(f"The spine has two columns named {repeated[0]!r}", fix="Rename one of them.")
    name = event_time or _find_event_time(table)
    if name not in table.column_names:
        raise InputError(
            f"The spine has no column {name!r}",
            why=did_you_mean(name, table.column_names),
            fix=f"Its columns are {', '.join(table.column_names)}; say event_time=.",
        )
    return Spine(table, instants_us(table.column(name), f"Spine column {name!r}"), name)


def to_table(frame: Any, what: str) -> pa.Table:
    """Return an Arrow table of any frame that speaks Arrow, of a pandas frame, or of a dict of columns.

    Raises:
        InputError: it is none of these, or its columns cannot be converted.
    """
    try:
        if isinstance(frame, pa.Table):
            return frame
        if isinstance(frame, pa.RecordBatch):
            return pa.Table.from_batches([frame])
        if isinstance(frame, pa.RecordBatchReader):
            return frame.read_all()
        if isinstance(frame, dict):
            return pa.table(frame)
        if isinstance(frame, list) and all(isinstance(row, dict) for row in frame):
            return pa.Table.from_pylist(frame)
        if type(frame).__module__.partition(".")[0] == "pandas":
            return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
        if hasattr(frame, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(frame).read_all()
    except (pa.ArrowException, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{what} cannot be read as a table",
            why="; ".join(str(part) for part in error.args).split("\n")[0],
            fix="Give it columns of one length, each with a name of its own and values of one type.",
        ) from error
    raise InputError(
        f"{what} is a {type(frame).__name__}, not a table",
        fix="Give an Arrow table, a pandas or Polars frame, a dict of columns, a list of rows, or a path.",
    )


def _find_event_time(table: pa.Table) -> str:
    if EVENT_TIMESTAMP in table.column_names:
        return EVENT_TIMESTAMP
    times: list[str] = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    if len(times) == 1:
        return times[0]
    raise InputError(
        "The spine does not say which column holds its instants",
        why=f"It has {'several timestamp columns' if times else 'no timestamp column'}"
        + (f": {', '.join(times)}" if times else ""),
        fix=f'Name one: event_time="…", or call it {EVENT_TIMESTAMP}.',
    )


def instants_us(column: pa.ChunkedArray | pa.Array, what: str) -> pa.Array:
    """Return times as int64 microseconds since the epoch; naive ones are UTC, dates are their midnight.

    Raises:
        InputError: not times, some are null, between two microseconds, or outside the years 1 to 9999.
    """
    array = column_array(column)
    if not len(array) and (pa.types.is_null(array.type) or pa.types.is_floating(array.type)):
        return pa.array([], pa.int64())  # what libraries make of a column without values
    if not (pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)):
        text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
        raise InputError(
            f"{what} is {array.type}, not a timestamp",
            why="Text is not guessed at" if text else "",
            fix="Convert it first, as with pandas.to_datetime(…, utc=True) or pyarrow's cast; naive times mean UTC.",
        )
    if array.null_count:
        first = pc.index(pc.is_null(array), True).as_py()
        raise InputError(
            f"{what} is null in {array.null_count} rows, first in row {first}",
            why="A feature is asked for at an instant",
            fix="Fill or drop these rows.",
        )
    zone = array.type.tz if pa.types.is_timestamp(array.type) else None
    try:
        instants = array.cast(pa.timestamp("us", zone)).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise _out_of_range(what, str(error).splitlines()[0]) from error
    bounds = pc.min_max(instants).as_py()
    if len(instants) and (bounds["min"] < FIRST_US or bounds["max"] > LAST_US):
        raise _out_of_range(what, "")
    return instants


def _out_of_range(what: str, why: str) -> InputError:
    return InputError(
        f"{what} has instants between two microseconds, or outside the years 1 to 9999",
        why=why,
        fix="Round them down to microseconds, and correct those that are out of range.",
    )


def column_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array, a dictionary as its values."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_dictionary(array.type):
        return array
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    values = array.dictionary
    return values.cast(plain.get(values.type, values.type)).take(array.indices)


def key_array(table: pa.Table, name: str, dtype: str, entity: str) -> pa.Array:
    """Return a join key column in the entity's type, nulls kept.

    Raises:
        InputError: it is missing, or holds what that type cannot.
    """
    if name not in table.column_names:
        raise InputError(
            f"There is no column {name!r}, a join key of entity {entity!r}",
            why=did_you_mean(name, table.column_names),
            fix=f"The columns are {', '.join(table.column_names)}.",
        )
    array = column_array(table.column(name))
    wanted = dtypes.to_arrow(dtype)
    if array.type == wanted:
        return array
    found = dtypes.from_arrow(array.type)
    whole_floats = dtype == "int64" and found in dtypes.FLOATS
    if not (pa.types.is_null(array.type) or whole_floats or (found is not None and dtypes.key_type(found) == dtype)):
        raise InputError(
            f"Column {name!r} is {array.type}, but the join key of entity {entity!r} is {dtype}",
            fix=f"Convert the column to {dtype}.",
        )
    try:
        if whole_floats:
            array = exact_floats(array, name)
        if dtype == "timestamp" and array.type.tz is None:
            array = array.cast(pa.timestamp("us")).cast(pa.int64())
        return array.cast(wanted)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"Column {name!r} holds values that are not {dtype}, the join key of entity {entity!r}",
            why=str(error).splitlines()[0],
            fix="Correct these values, or make them null.",
        ) from error


def exact_floats(array: pa.Array, name: str) -> pa.Array:
    """Return floats with null for NaN, refusing those so large that they may stand for several integers."""
    array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    exact = _EXACT[array.type]
    if pc.any(pc.greater(pc.abs(array), pa.scalar(exact, array.type))).as_py():
        raise InputError(
            f"Column {name!r} is {array.type} and holds values beyond {exact:,}",
            why="Floats of that size have lost the integer's last digits",
            fix="Keep the column an integer; in pandas, one with nulls as Int64.",
        )
    return array


def check_columns(spine: Spine, columns: Sequence[str]) -> None:
    """Refuse a spine that already has a column of a feature's name.

    Raises:
        InputError: the names collide.
    """
    if taken := [name for name in columns if name in spine.table.column_names]:
        raise InputError(
            f"The spine already has a column {taken[0]!r}",
            why="The feature of that name would need the same column",
            fix="Rename the spine's column.",
        )
