"""Decodes Protobuf messages, by descriptors from a schema registry or a file, into columns by the fields' names."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import pyarrow.types as pt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from asof.backends.formats.columns import assemble, check, present
from asof.backends.formats.registry import UnreadableMessageError, split_header
from asof.backends.formats.well_known import READERS, add_dependencies
from asof.errors import ConfigError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pyarrow as pa

    from asof.backends.formats.registry import SchemaRegistry
    from asof.interfaces import Decoded

    Getter = Callable[[Any], Any]


class ProtobufDecoder:
    """Reads fields by name, whatever else the messages have.

    A field with presence that is not set is null; one without presence has its default, as Protobuf says. An enum is
    its number in an integer column and its name in a text column; Timestamp, Duration and the wrappers are values;
    a decimal column reads text; a plain integer in a timestamp column counts the column's unit.
    """

    def __init__(
        self,
        schema: pa.Schema,
        registry: SchemaRegistry | None,
        schema_file: Path | None,
        message: str,
        *,
        framed: bool,
    ) -> None:
        """Prepare a decoder.

        Args:
            schema: The columns.
            registry: Where the schema of each message is.
            schema_file: Instead of that, a FileDescriptorSet (`protoc --include_imports --descriptor_set_out`).
            message: With a file: the full name of the message.
            framed: Whether each message begins with a schema registry's header and the place of its type.

        Raises:
            ConfigError: there is neither or both, or the file or the name cannot be used.
            SchemaError: a column has a type that Protobuf cannot fill.
        """
        check(schema)
        if (registry is None) == (schema_file is None) or (registry is not None and not framed):
            raise ConfigError(
                "Protobuf messages need their schema",
                fix="Give a schema registry, for messages with its header, or a schema file and a message.",
            )
        self._schema = schema
        self._registry = registry
        self._framed = framed
        self._fixed = None if schema_file is None else self._from_file(schema_file, message)
        self._files: dict[int, tuple[Any, Any]] = {}
        self._readers: dict[tuple[int, tuple[int, ...]], tuple[Any, list[Getter]]] = {}

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
        rows: list[list[Any]] = []
        for number, message in zip(numbers, messages, strict=True):
            try:
                rows.append(self._row(message))
                index.append(number)
            except UnreadableMessageError as error:
                failures[number] = str(error)
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(self._schema)
        return assemble(self._schema, columns, index, failures)

    def _row(self, message: bytes) -> list[Any]:
        place: tuple[int, ...] = ()
        schema_id = 0
        if self._framed:
            schema_id, message = split_header(message)
            place, message = split_place(message)
        if self._fixed is not None:
            kind, getters = self._fixed
        else:
            key = (schema_id, place)
            if key not in self._readers:
                self._readers[key] = self._reader(self._registered(schema_id, place))
            kind, getters = self._readers[key]
        try:
            found = kind.FromString(message)
        except DecodeError as error:
            raise UnreadableMessageError(f"The message is not what its schema says ({error})") from error
        return [getter(found) for getter in getters]

    def _reader(self, descriptor: Any) -> tuple[Any, list[Getter]]:
        getters = [_getter(descriptor.fields_by_name.get(field.name), field.type) for field in self._schema]
        return message_factory.GetMessageClass(descriptor), getters

    def _from_file(self, file: Path, message: str) -> tuple[Any, list[Getter]]:
        try:
            return self._reader(_described(file, message))
        except UnreadableMessageError as error:
            raise SchemaError(
                f"{message} in {file} does not fit the columns", why=str(error), fix="Leave that column out."
            ) from error

    def _registered(self, schema_id: int, place: Sequence[int]) -> Any:
        if schema_id not in self._files:
            assert self._registry is not None  # noqa: S101 - checked when this was made
            text = self._registry.schema(schema_id, "PROTOBUF", serialized=True)
            self._files[schema_id] = _from_text(text, schema_id)
        pool, file = self._files[schema_id]
        found, names = file.message_type, [file.package] if file.package else []
        for number in place:
            if number >= len(found):
                raise UnreadableMessageError(f"Schema {schema_id} has no message at {list(place)}")
            names.append(found[number].name)
            found = found[number].nested_type
        return pool.FindMessageTypeByName(".".join(names))


def split_place(payload: bytes) -> tuple[tuple[int, ...], bytes]:
    """Return which message of its schema's file this is, as indexes from the outermost to itself, and the rest.

    A single zero stands for the file's first message.

    Raises:
        UnreadableMessageError: the indexes are cut off or negative.
    """
    count, position = _varint(payload, 0)
    if count == 0:
        return (0,), payload[position:]
    if count > len(payload):
        raise UnreadableMessageError("The message's header is damaged")
    place = []
    for _ in range(count):
        number, position = _varint(payload, position)
        place.append(number)
    return tuple(place), payload[position:]


def _varint(payload: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(payload) and shift < 35:
        byte = payload[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            number = value >> 1 ^ -(value & 1)
            if number < 0:
                break
            return number, position
    raise UnreadableMessageError("The message's header is damaged")


def _getter(field: Any, arrow: pa.DataType) -> Getter:
    if field is None:
        return lambda message: None
    name = field.name
    if field.is_repeated:
        one = _reader_of(field, arrow.value_type if pt.is_list(arrow) or pt.is_fixed_size_list(arrow) else arrow)
        return lambda message: [one(value) for value in getattr(message, name)]
    one = _reader_of(field, arrow)
    if field.has_presence:
        return lambda message: one(getattr(message, name)) if message.HasField(name) else None
    return lambda message: one(getattr(message, name))


def _reader_of(field: Any, arrow: pa.DataType) -> Getter:
    if field.message_type is not None:
        reader = READERS.get(field.message_type.full_name)
        if reader is None:
            raise UnreadableMessageError(f"{field.name}: a {field.message_type.full_name} fits no column")
        return reader
    if field.enum_type is not None and pt.is_string(arrow):
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        return lambda number: names.get(number, number)
    return lambda value: value


def _from_text(text: str, schema_id: int) -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto()
    pool = descriptor_pool.DescriptorPool()
    try:
        file.ParseFromString(base64.b64decode(text, validate=True))
        add_dependencies(pool, file)
        pool.Add(file)
        pool.FindFileByName(file.name)
    except (binascii.Error, DecodeError, TypeError, KeyError) as error:
        raise UnreadableMessageError(f"The registry gave no descriptor for schema {schema_id} ({error})") from error
    return pool, file


def _described(path: Path, message: str) -> Any:
    files = descriptor_pb2.FileDescriptorSet()
    pool = descriptor_pool.DescriptorPool()
    try:
        files.ParseFromString(path.read_bytes())
        for file in files.file:
            add_dependencies(pool, file)
            pool.Add(file)
        return pool.FindMessageTypeByName(message)
    except (OSError, DecodeError, TypeError) as error:
        raise ConfigError(
            f"{path} is no FileDescriptorSet",
            why=str(error),
            fix="Write it with `protoc --include_imports --descriptor_set_out=FILE`.",
        ) from error
    except KeyError as error:
        raise ConfigError(
            f"{path} has no message {message!r}", fix="Give its full name, as package.Message."
        ) from error
