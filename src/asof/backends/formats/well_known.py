"""Protobuf's own message types that stand for one value."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)

from asof.backends.formats.registry import UnreadableMessageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

_SHIPPED = {
    module.DESCRIPTOR.name: module.DESCRIPTOR
    for module in (any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)
}
_WRAPPERS = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")


def add_dependencies(pool: Any, file: Any) -> None:
    """Give a pool those of Protobuf's own files that a file imports.

    Raises:
        TypeError: the file contradicts them.
    """
    for name in file.dependency:
        if name in _SHIPPED:
            shipped = descriptor_pb2.FileDescriptorProto()
            _SHIPPED[name].CopyToProto(shipped)
            pool.Add(shipped)


def _timestamp(value: Any) -> datetime:
    if value.nanos % 1000:
        raise UnreadableMessageError("A time in nanoseconds does not fit microseconds")
    try:
        found: datetime = value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise UnreadableMessageError(f"A time is out of range ({error})") from error
    return found


def _duration(value: Any) -> timedelta:
    if value.nanos % 1000:
        raise UnreadableMessageError("A duration in nanoseconds does not fit microseconds")
    try:
        found: timedelta = value.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise UnreadableMessageError(f"A duration is out of range ({error})") from error
    return found


def _wrapped(value: Any) -> Any:
    return value.value


READERS: dict[str, Callable[[Any], Any]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    **{f"google.protobuf.{name}Value": _wrapped for name in _WRAPPERS},
}
"""By full name: how the value of a message is read."""
