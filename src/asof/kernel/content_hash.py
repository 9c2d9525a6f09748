"""A hash of what a table holds: names, types, rows, values and their order, whatever the batches they come in."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asof.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Iterable

_TYPES = pa.types
_TEXTS = (
    *(_TYPES.is_string, _TYPES.is_large_string, _TYPES.is_string_view),
    *(_TYPES.is_binary, _TYPES.is_large_binary, _TYPES.is_binary_view),
)
_LISTS = (_TYPES.is_list, _TYPES.is_large_list, _TYPES.is_fixed_size_list)
_PLAIN = (
    *(_TYPES.is_null, _TYPES.is_primitive, _TYPES.is_decimal, _TYPES.is_fixed_size_binary),
    *(_TYPES.is_struct, _TYPES.is_map, *_LISTS),
)


class ContentHash:
    """Takes batches and gives a SHA-256.

    Dictionaries count as their values, large and view types as the plain ones. Floats count by their bits.
    """

    def __init__(self, schema: pa.Schema) -> None:
        """Hash batches of this schema.

        Raises:
            UnsupportedOperationError: a column's type has no canonical bytes, as unions.
        """
        self._head = "\n".join(f"{field.name!r} {_plain(field.type)}" for field in schema)
        self._columns = [_Column(_plain(field.type)) for field in schema]
        self._rows = 0

    def update(self, batch: pa.RecordBatch) -> None:
        """Take the next rows."""
        self._rows += batch.num_rows
        for column, values in zip(self._columns, batch.columns, strict=True):
            column.update(values)

    def hexdigest(self) -> str:
        """Return the hash of the rows so far, in hex."""
        whole = hashlib.sha256(f"{self._head}\n{self._rows}\n".encode())
        for column in self._columns:
            whole.update(column.digest())
        return whole.hexdigest()


def table_hash(table: pa.Table) -> str:
    """Return the content hash of a table, in hex."""
    found = ContentHash(table.schema)
    for batch in table.to_batches():
        found.update(batch)
    return found.hexdigest()


class _Column:
    """Streams of one column, each independent of where batches end: which rows are null, lengths, values, children."""

    def __init__(self, type_: pa.DataType) -> None:
        self._type = type_
        self._valid = hashlib.sha256()
        self._lengths = hashlib.sha256()
        self._values = hashlib.sha256()
        self._children = [_Column(_plain(child)) for child in _children(type_)]

    def update(self, values: pa.Array) -> None:
        values = _as_plain(values, self._type)
        self._valid.update(pc.is_valid(values).cast(pa.uint8()).to_numpy().tobytes())
        present = values.drop_null()
        if pa.types.is_null(self._type):
            return
        if pa.types.is_struct(self._type):
            for child, part in zip(self._children, present.flatten(), strict=True):
                child.update(part)
        elif pa.types.is_map(self._type) or pa.types.is_list(self._type) or pa.types.is_large_list(self._type):
            offsets = present.offsets.to_numpy()
            self._lengths.update(np.diff(offsets).astype(np.int64).tobytes())
            first, last = int(offsets[0]), int(offsets[-1])
            parts = [present.keys, present.items] if pa.types.is_map(self._type) else [present.values]
            for child, part in zip(self._children, parts, strict=True):
                child.update(part.slice(first, last - first))
        elif pa.types.is_fixed_size_list(self._type):
            self._children[0].update(present.flatten())
        elif pa.types.is_large_binary(self._type):
            self._lengths.update(pc.binary_length(present).to_numpy().astype(np.int64).tobytes())
            self._values.update(_binary_bytes(present))
        else:
            self._values.update(_fixed_bytes(present))

    def digest(self) -> bytes:
        whole = hashlib.sha256(self._valid.digest() + self._lengths.digest() + self._values.digest())
        for child in self._children:
            whole.update(child.digest())
        return whole.digest()


def _children(type_: pa.DataType) -> Iterable[pa.DataType]:
    if pa.types.is_struct(type_):
        return [field.type for field in type_]
    if pa.types.is_map(type_):
        return [type_.key_type, type_.item_type]
    return [type_.value_type] if any(test(type_) for test in _LISTS) else []


def _plain(type_: pa.DataType) -> pa.DataType:
    """Return the type whose bytes are hashed."""
    if isinstance(type_, pa.BaseExtensionType):
        return _plain(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return _plain(type_.value_type)
    if pa.types.is_boolean(type_):
        return pa.uint8()
    if any(test(type_) for test in _TEXTS):
        return pa.large_binary()
    if pa.types.is_map(type_):  # its text may name fields, and Parquet names them anew
        return pa.map_(type_.key_type, type_.item_type)
    if not any(test(type_) for test in _PLAIN):
        raise UnsupportedOperationError(
            f"Columns of type {type_} cannot be part of a training set",
            fix="Convert the column to a plain type, or leave it out of the spine.",
        )
    return type_


def _as_plain(values: pa.Array, plain: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_large_binary(plain) and not pa.types.is_large_binary(values.type):
        # Views become plain text first: Arrow casts them to their own kind only.
        if pa.types.is_string_view(values.type) or pa.types.is_string(values.type):
            values = values.cast(pa.large_string())
        return values.cast(pa.large_binary())
    return values.cast(plain) if pa.types.is_boolean(values.type) else values


def _fixed_bytes(values: pa.Array) -> bytes:
    width = values.type.bit_width // 8
    data = values.buffers()[1]
    if data is None or not len(values):
        return b""
    return bytes(memoryview(data)[values.offset * width : (values.offset + len(values)) * width])


def _binary_bytes(values: pa.Array) -> bytes:
    _, offsets, data = values.buffers()
    if offsets is None or data is None or not len(values):
        return b""
    bounds = np.frombuffer(offsets, dtype=np.int64)[values.offset : values.offset + len(values) + 1]
    return bytes(memoryview(data)[int(bounds[0]) : int(bounds[-1])])
