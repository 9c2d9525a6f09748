"""Decodes JSON objects, one per message, straight into typed values."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pyarrow.types as pt

from asof.backends.formats.columns import assemble, check, present

if TYPE_CHECKING:
    import pyarrow as pa

    from asof.interfaces import Decoded

_HEADER_BYTES = 5


class JsonDecoder:
    """Reads fields by name.

    Numbers must be JSON numbers of the column's type, or text for decimals, which stay exact. Timestamps are ISO 8601
    text, UTC where they name no zone, or integers that count the column's unit. Dates and times are ISO 8601 text,
    durations ISO 8601 text or integers, binary is base64. Of a field that is there twice the last one counts.
    """

    def __init__(self, schema: pa.Schema, *, framed: bool = False) -> None:
        """Prepare a decoder.

        Args:
            schema: The columns; their names are the fields' names.
            framed: Whether each message begins with a schema registry's header, which is skipped.

        Raises:
            SchemaError: a column has a type that JSON cannot fill.
        """
        check(schema)
        self._schema = schema
        self._skip = _HEADER_BYTES if framed else 0
        names = [f"f{number}" for number in range(len(schema))]
        fields = [(name, _json_type(field.type) | None, None) for name, field in zip(names, schema, strict=True)]
        kind = msgspec.defstruct("Message", fields, gc=False, rename=dict(zip(names, schema.names, strict=True)))
        self._decode = msgspec.json.Decoder(kind).decode
        self._getters = [attrgetter(name) for name in names]

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self._schema

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """Return a row per message that is an object whose fields fit, and why each other one is not."""
        numbers, messages, failures = present(values, skip=self._skip)
        index = list(numbers)
        rows: list[Any] = []
        bad: list[int] = []
        remaining = iter(messages)
        # `extend` keeps what it had when a message fails, and goes on behind it: one pass, whatever is wrong.
        while len(rows) + len(bad) < len(messages):
            try:
                rows.extend(map(self._decode, remaining))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                failed = len(rows) + len(bad)
                bad.append(failed)
                failures[index[failed]] = str(error).replace("`", "")
        for failed in reversed(bad):
            del index[failed]
        columns = [list(map(getter, rows)) for getter in self._getters]
        return assemble(self._schema, columns, index, failures)


def _json_type(arrow: pa.DataType) -> Any:
    if pt.is_list(arrow) or pt.is_fixed_size_list(arrow):
        inner = _json_type(arrow.value_type)
        return list[inner | None]  # type: ignore[valid-type] # made at run time
    if pt.is_integer(arrow):
        return _integer(arrow)
    for test, kind in _TYPES:
        if test(arrow):
            return kind
    return str


def _integer(arrow: pa.DataType) -> Any:
    signed = pt.is_signed_integer(arrow)
    bits = arrow.bit_width - signed
    if bits > 62:
        return int  # the column itself checks what msgspec's limits cannot name
    return Annotated[int, msgspec.Meta(ge=-(2**bits) if signed else 0, le=2**bits - 1)]


_TYPES: tuple[tuple[Any, Any], ...] = (
    (pt.is_boolean, bool),
    (pt.is_floating, float),
    (pt.is_binary, bytes),
    (pt.is_decimal, Decimal),
    (pt.is_timestamp, int | str),
    (pt.is_duration, int | timedelta),
)
