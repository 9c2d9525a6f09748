"""Decodes Avro records, by the schema they were written with, into columns by the fields' names."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import UUID

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from asof.backends.formats.columns import assemble, check, present
from asof.backends.formats.registry import UnreadableMessageError, split_header
from asof.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from asof.backends.formats.registry import SchemaRegistry
    from asof.interfaces import Decoded

_BAD_SCHEMA = (SchemaParseException, UnknownType, ValueError, TypeError, KeyError)


class AvroDecoder:
    """Reads fields by name, whatever else the writer's schema has.

    An integer fits a float column and any wider integer. Logical types (dates, times, decimals, UUIDs) are read as what
    they are; a plain long in a timestamp column counts the column's unit. Nanoseconds are refused.
    """

    def __init__(
        self, schema: pa.Schema, registry: SchemaRegistry | None, schema_file: Path | None, *, framed: bool
    ) -> None:
        """Prepare a decoder.

        Args:
            schema: The columns.
            registry: Where the writer's schema of each message is.
            schema_file: Instead of that, the schema that all messages were written with.
            framed: Whether each message begins with a schema registry's header.

        Raises:
            ConfigError: there is neither or both, or the file cannot be used.
            SchemaError: a column has a type that Avro cannot fill.
        """
        check(schema)
        if (registry is None) == (schema_file is None) or (registry is not None and not framed):
            raise ConfigError(
                "Avro messages need the schema that they were written with",
                fix="Give a schema registry, for messages with its header, or a schema file.",
            )
        self._schema = schema
        self._registry = registry
        self._framed = framed
        self._fixed = None if schema_file is None else self._read(schema_file)
        self._parsed: dict[int, Any] = {}

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self._schema

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """Return a row per message that its schema reads and whose fields fit, and why each other one is not.

        Raises:
            StreamError: the registry cannot be reached or refuses the request.
        """
        if self._registry is not None:
            self._registry.begin()
        numbers, messages, failures = present(values)
        index: list[int] = []
        records: list[dict[str, Any]] = []
        for number, message in zip(numbers, messages, strict=True):
            try:
                record = self._record(message)
            except UnreadableMessageError as error:
                failures[number] = str(error)
            else:
                index.append(number)
                records.append(record)
        columns = [[_plain(record.get(name)) for record in records] for name in self._schema.names]
        return assemble(self._schema, columns, index, failures)

    def _record(self, message: bytes) -> dict[str, Any]:
        schema_id, payload = split_header(message) if self._framed else (0, message)
        written = self._fixed if self._fixed is not None else self._written(schema_id)
        stream = BytesIO(payload)
        try:
            record = fastavro.schemaless_reader(stream, written, None)
        except Exception as error:
            raise UnreadableMessageError(
                f"The message is not what its schema says ({str(error) or type(error).__name__})"
            ) from error
        if stream.tell() != len(payload):
            raise UnreadableMessageError("The message is longer than its schema says")
        if not isinstance(record, dict):
            raise UnreadableMessageError("The message is no record")
        return record

    def _written(self, schema_id: int) -> Any:
        if schema_id not in self._parsed:
            assert self._registry is not None  # noqa: S101 - checked when this was made
            text = self._registry.schema(schema_id, "AVRO")
            try:
                self._parsed[schema_id] = self._parse(text)
            except _BAD_SCHEMA as error:
                raise UnreadableMessageError(f"Schema {schema_id} cannot be read ({error})") from error
        return self._parsed[schema_id]

    def _read(self, file: Path) -> Any:
        try:
            return self._parse(file.read_text(encoding="utf-8"))
        except (OSError, *_BAD_SCHEMA) as error:
            raise ConfigError(f"{file} is no Avro schema", why=str(error), fix="Give a readable .avsc file.") from error

    def _parse(self, text: str) -> Any:
        written = json.loads(text)
        fields = written.get("fields", ()) if isinstance(written, dict) else ()
        for field in fields:
            if field["name"] in self._schema.names:
                _refuse_nanoseconds(field["type"])
        return fastavro.parse_schema(written)


def _plain(value: Any) -> Any:
    return str(value) if type(value) is UUID else value


def _refuse_nanoseconds(schema: Any) -> None:
    """Raise where a reader that does not know them would take them for the unit of a column."""
    if isinstance(schema, dict):
        if str(schema.get("logicalType", "")).endswith("-nanos"):
            raise ValueError("times in nanoseconds are not supported")
        for part in schema.values():
            _refuse_nanoseconds(part)
    elif isinstance(schema, list):
        for part in schema:
            _refuse_nanoseconds(part)
