"""Maps as rows: one row per entry of a map, such as one per merchant of every customer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from asof.errors import InputError, did_you_mean


def map_rows(table: pa.Table, column: str) -> pa.Table:
    """Return a table with a row per entry of a map column; rows whose map is null or empty have none.

    Rows keep their order, and entries theirs: ascending by key. In the map's place stand `<column>__key` and
    `<column>__value`; all other columns are repeated.

    Raises:
        InputError: there is no such column, or it holds no maps.
    """
    if column not in table.column_names:
        raise InputError(
            f"There is no column {column!r}", why=did_you_mean(column, table.column_names), fix="Name a map column."
        )
    position = table.column_names.index(column)
    type_ = table.schema.field(position).type
    if not pa.types.is_map(type_):
        raise InputError(f"Column {column!r} is {type_}", fix="Name a map column: an aggregate with `by` gives one.")
    maps = table.column(position).combine_chunks()
    if isinstance(maps, pa.ChunkedArray):
        maps = pa.concat_arrays(maps.chunks) if maps.num_chunks else pa.array([], type_)
    present = maps.drop_null()
    offsets = present.offsets.to_numpy()
    first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    owners = np.repeat(np.flatnonzero(maps.is_valid().to_numpy(zero_copy_only=False)), np.diff(offsets))
    rows = table.remove_column(position).take(pa.array(owners))
    for shift, (suffix, values) in enumerate((("key", present.keys), ("value", present.items))):
        rows = rows.add_column(position + shift, f"{column}__{suffix}", values.slice(first, count))
    return rows
