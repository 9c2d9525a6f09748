"""Packs columns of keys and values into commands as they are on the wire, without a Python object per value."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def packed_pairs(name: bytes, keys: pa.BinaryArray, values: pa.BinaryArray, pairs: int) -> list[bytes | memoryview]:
    """Return HSET commands for a hash: in turn the head of one, and its pairs, at most `pairs` each.

    Neither keys nor values are null.
    """
    joined = pc.binary_join_element_wise(
        b"$", _length(keys), b"\r\n", keys, b"\r\n$", _length(values), b"\r\n", values, b"\r\n", b""
    )
    _, offsets, data = joined.buffers()
    ends = np.frombuffer(offsets, np.int32)[joined.offset : joined.offset + len(joined) + 1]
    body = memoryview(data)
    commands: list[bytes | memoryview] = []
    for start in range(0, len(joined), pairs):
        stop = min(start + pairs, len(joined))
        commands.append(b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%s\r\n" % (2 + 2 * (stop - start), len(name), name))
        commands.append(body[ends[start] : ends[stop]])
    return commands


def _length(values: pa.BinaryArray) -> pa.BinaryArray:
    return pc.binary_length(values).cast(pa.string()).cast(pa.binary())
