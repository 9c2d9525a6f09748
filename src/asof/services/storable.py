"""Tables in the types that every Arrow function and file format takes: views of text and bytes become plain ones."""

from __future__ import annotations

import pyarrow as pa

_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


def storable(table: pa.Table) -> pa.Table:
    """Return the same values in one chunk per column where they fit, each dictionary once.

    Text and binary views, which Polars makes, become large text and binary.
    """
    columns = []
    for column in table.columns:
        wanted = _plain(column.type)
        if wanted == column.type:
            columns.append(column)
        elif pa.types.is_dictionary(wanted):
            chunks = [
                pa.DictionaryArray.from_arrays(
                    chunk.indices, chunk.dictionary.cast(wanted.value_type), ordered=wanted.ordered
                )
                for chunk in column.chunks
            ]
            columns.append(pa.chunked_array(chunks, wanted))
        else:
            columns.append(column.cast(wanted))
    return pa.table(columns, names=table.column_names).unify_dictionaries().combine_chunks()


def _plain(type_: pa.DataType) -> pa.DataType:
    if type_ in _VIEWS:
        return _VIEWS[type_]
    if pa.types.is_dictionary(type_):
        return pa.dictionary(type_.index_type, _plain(type_.value_type), type_.ordered)
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(_plain(type_.value_type), type_.list_size)
    if pa.types.is_list(type_):
        return pa.list_(_plain(type_.value_type))
    if pa.types.is_large_list(type_):
        return pa.large_list(_plain(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_plain(field.type)) for field in type_])
    return type_
