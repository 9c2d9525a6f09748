"""What follows from the spec of a stream source: its stream, and the columns of its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof import dtypes
from asof.definitions.streams import ARRIVED_AT
from asof.errors import DefinitionError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asof.plan.specs import SourceSpec, StreamSpec


def stream_of(source: SourceSpec) -> StreamSpec:
    """Return the stream of a source.

    Raises:
        DefinitionError: it has none.
    """
    if source.stream is None:
        raise DefinitionError(
            f"Source {source.name!r} takes no rows one by one",
            why=f"It is a {source.kind} source",
            fix="Make it a StreamSource, with what it is now as its history.",
        )
    return source.stream


def declared_types(source: SourceSpec, past: pa.Schema | None) -> dict[str, pa.DataType]:
    """Return the columns of a stream source's rows, the moment of arrival last.

    Args:
        source: The spec; one without columns takes those of its history, without the ones that play a part there only.
        past: The columns of its history, None where it has none.

    Raises:
        SchemaError: a column of the history has a type that features cannot have.
    """
    columns = {column.name: column.dtype for column in source.columns if column.name != ARRIVED_AT}
    if not columns and past is not None:
        columns = _of_history(source, past)
    return {name: dtypes.to_arrow(dtype) for name, dtype in columns.items()} | {
        ARRIVED_AT: dtypes.to_arrow("timestamp")
    }


def row_schema(source: SourceSpec) -> pa.Schema:
    """Return the columns that a row must have when it arrives."""
    types = declared_types(source, None)
    del types[ARRIVED_AT]
    return pa.schema(list(types.items()))


def handover_us(source: SourceSpec) -> int | None:
    """Return the event time from which rows are the stream's; None where all of them are."""
    return source.stream.handover_us if source.stream is not None else None


def earliest_handover_us(sources: Iterable[SourceSpec]) -> int | None:
    """Return the event time before which no version of a stream source takes rows; None where some takes all."""
    found = [handover_us(source) for source in sources]
    known = [us for us in found if us is not None]
    return min(known) if len(known) == len(found) else None


def _of_history(source: SourceSpec, past: pa.Schema) -> dict[str, str]:
    stream = stream_of(source)
    own = {*(stream.positions or ()), stream.history.available_at if stream.history is not None else None}
    columns = {}
    for field in past:
        if field.name in own:
            continue
        dtype = dtypes.from_arrow(field.type)
        if dtype is None:
            raise SchemaError(
                f"Column {field.name!r} of the history of source {source.name!r} is {field.type}",
                why="A log cannot hold it",
                fix="Leave it out: write schema= with the columns that you need.",
            )
        columns[field.name] = dtype
    return columns
