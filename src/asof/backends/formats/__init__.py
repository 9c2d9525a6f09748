"""Decoders of message values, by the name of their format."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from asof.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from asof.interfaces import Decoder

__all__ = ["FORMATS", "open_decoder"]

FORMATS = ("json", "avro", "protobuf")
_EXTRAS = {"fastavro": "avro", "google": "protobuf", "google.protobuf": "protobuf"}


def open_decoder(
    name: str,
    schema: pa.Schema,
    *,
    registry: str = "",
    schema_file: Path | None = None,
    message: str = "",
    framed: bool | None = None,
) -> Decoder:
    """Return a decoder of messages into the columns of `schema`.

    Args:
        name: json, avro or protobuf.
        schema: The columns: names of the messages' fields and types. An integer in a timestamp or duration column
            counts the units of that column's type.
        registry: URL of a schema registry; user and password come from `ASOF_SCHEMA_REGISTRY_USERNAME` and
            `ASOF_SCHEMA_REGISTRY_PASSWORD`.
        schema_file: Instead of a registry: an Avro schema (.avsc), or a Protobuf FileDescriptorSet.
        message: With a FileDescriptorSet: the full name of the message.
        framed: Whether values begin with the header of a schema registry (a zero byte, four bytes of schema id). By
            default they do if there is a registry.

    Raises:
        ConfigError: there is no such format, its library is not installed, or a file or URL cannot be used.
        SchemaError: a column has a type that the format cannot fill.
    """
    if name not in FORMATS:
        raise ConfigError(
            f"There is no message format {name!r}", why=did_you_mean(name, FORMATS), fix=f"Use {', '.join(FORMATS)}."
        )
    header = bool(registry) if framed is None else framed
    try:
        if name == "json":
            from asof.backends.formats.json import JsonDecoder

            return JsonDecoder(schema, framed=header)
        from asof.backends.formats.registry import SchemaRegistry

        source = SchemaRegistry(registry, os.environ) if registry else None
        if name == "avro":
            from asof.backends.formats.avro import AvroDecoder

            return AvroDecoder(schema, source, schema_file, framed=header)
        from asof.backends.formats.protobuf import ProtobufDecoder

        return ProtobufDecoder(schema, source, schema_file, message, framed=header)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        if extra is None:
            raise
        raise ConfigError(
            f"The library for {name} messages is not installed", fix=f'Run `pip install "asof[{extra}]"`.'
        ) from error
