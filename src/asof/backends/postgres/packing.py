"""Keys and values in PostgreSQL's binary forms, whole columns at a time: arrays of bytea, and rows for COPY."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BYTEA, _BYTEA_ARRAY = 17, 1001
_ROWS = 50_000
_BYTES = 32 * 2**20
_ARRAY_HEADER = struct.Struct(">iiIii")
_NULL = b"\xff\xff\xff\xff"
_EMPTY = _ARRAY_HEADER.pack(0, 0, _BYTEA, 0, 0)[:12]
COPY_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"


class ByteaArray:
    """A parameter: an array of bytea, packed."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        """Take what was packed."""
        self.data = data


class _ByteaArrayDumper(Dumper):
    format = Format.BINARY
    oid = _BYTEA_ARRAY

    def dump(self, obj: ByteaArray) -> bytes:
        """Return it as it is."""
        return obj.data


class _Adapters:
    """What connections are made with, so that they know the parameter."""

    def __init__(self) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)
        self.adapters.register_dumper(ByteaArray, _ByteaArrayDumper)
        self.connection = None


ADAPTERS = _Adapters()


def from_list(keys: Sequence[bytes | None]) -> ByteaArray:
    """Return keys as a parameter, in order."""
    if not keys:
        return ByteaArray(_EMPTY)
    parts = [_NULL if key is None else len(key).to_bytes(4, "big") + key for key in keys]
    return ByteaArray(_ARRAY_HEADER.pack(1, 1, _BYTEA, len(keys), 1) + b"".join(parts))


def from_arrow(values: pa.Array) -> ByteaArray:
    """Return a column as a parameter, in order."""
    if not len(values):
        return ByteaArray(_EMPTY)
    body = _joined([_lengths(values), pc.fill_null(values, b"")])
    return ByteaArray(_ARRAY_HEADER.pack(1, 1, _BYTEA, len(values), 1) + bytes(body))


def rows(keys: pa.Array, values: pa.Array) -> Iterator[memoryview]:
    """Yield rows of two columns for COPY, without its beginning and end; neither column has nulls."""
    for at, count in slices(keys, values):
        key, value = keys.slice(at, count), values.slice(at, count)
        yield _joined([_lengths(key, b"\0\2"), key, _lengths(value), value])


def slices(keys: pa.Array, values: pa.Array) -> Iterator[tuple[int, int]]:
    """Yield starts and lengths of slices that are small enough to be sent at once."""
    total = len(keys)
    size = max(1, min(_ROWS, total * _BYTES // max(1, keys.nbytes + values.nbytes)))
    for at in range(0, total, size):
        yield at, min(size, total - at)


def _lengths(values: pa.Array, before: bytes = b"") -> pa.Array:
    """Return four bytes for the length of each value, -1 for a null, behind the same bytes in each."""
    lengths = pc.fill_null(pc.binary_length(values), -1).to_numpy(zero_copy_only=False).astype(">i4")
    width = len(before) + 4
    out = np.empty((len(values), width), dtype=np.uint8)
    out[:, : len(before)] = np.frombuffer(before, dtype=np.uint8)
    out[:, len(before) :] = lengths.view(np.uint8).reshape(-1, 4)
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(values), [None, pa.py_buffer(out.tobytes())])
    return fixed.cast(pa.large_binary())


def _joined(columns: Sequence[pa.Array]) -> memoryview:
    """Return the bytes of the columns, row by row."""
    wide = [column.cast(pa.large_binary()) for column in columns]
    found = pc.binary_join_element_wise(*wide, pa.scalar(b"", pa.large_binary()))
    _, _, data = found.buffers()
    offsets = np.frombuffer(found.buffers()[1], dtype=np.int64)[found.offset : found.offset + len(found) + 1]
    return memoryview(data)[int(offsets[0]) : int(offsets[-1])]
