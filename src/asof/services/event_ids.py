"""What is known of the event ids of a stream source: kept beside the views, so that an id counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa

from asof import _native, dtypes
from asof.interfaces.online import Progress
from asof.interfaces.scanner import DELETED, EVENT_TIME, ColumnRequest, ScanRequest
from asof.plan.specs import Column
from asof.services.arrivals import EVENT, KEYLESS, RETRACTION, key_columns, sort_by_id
from asof.services.history import column, optional_column
from asof.services.ingest import ids_key, ids_meaning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.clock import Clock
    from asof.interfaces import Scanner
    from asof.interfaces.log import OfflineLog
    from asof.interfaces.online import OnlineStore
    from asof.plan.specs import SourceSpec, ViewSpec


_MARKS = (EVENT, RETRACTION, KEYLESS)


def fill_ids(
    source: SourceSpec,
    views: Sequence[ViewSpec],
    *,
    scanner: Scanner,
    log: OfflineLog,
    store: OnlineStore,
    project: str,
    clock: Clock,
) -> bool:
    """Write what is known of all ids so far, unless the store has it of this meaning; return whether it was written.

    What the store has is of no use any more where the source has other ids, or a view other join keys.

    Raises:
        StoreError, StoreFullError: nothing was switched in.
    """
    place = ids_key(project, source)
    meaning = ids_meaning(source, views)
    there = store.generations(project).get(place)
    if source.event_id is None or (there is not None and there.meaning == meaning):
        return False
    keys = key_columns(source, views)
    dtype = next(c.dtype for c in source.columns if c.name == source.event_id)
    head = log.of(source.name).head()
    types = {one.name: one.dtype for one in source.columns}
    request = ScanRequest(
        source=msgspec.structs.replace(source, max_skew_us=None),
        keys=(Column(name=source.event_id, dtype=dtypes.key_type(dtype) or dtype),),
        columns=tuple(ColumnRequest(f"key{i}", key, types[key]) for i, key in enumerate(keys)),
        until_entry=head.sequence,
    )
    with store.write(place) as writer:
        scan = scanner.scan(request)
        index: _native.KeyIndex | None = None
        marks = np.zeros(0, np.uint8)
        newest = None
        for batch in scan.batches:
            rows = pa.Table.from_batches([batch])
            ids = [column(rows, source.event_id)]
            if index is None:
                index = _native.KeyIndex(ids)
                codes = np.asarray(index.codes)
            else:
                codes = np.asarray(index.extend(ids))
            marks = np.concatenate([marks, np.zeros(len(index) - len(marks), np.uint8)])
            np.bitwise_or.at(marks, codes[codes >= 0], _bits(rows, len(keys))[codes >= 0])
            if rows.num_rows:
                latest = int(np.max(np.asarray(column(rows, EVENT_TIME))))
                newest = latest if newest is None else max(newest, latest)
        if index is not None:
            texts = [b"".join(mark for bit, mark in enumerate(_MARKS) if number >> bit & 1) for number in range(8)]
            writer.put(index.encoded(), pa.array(texts, pa.binary()).take(pa.array(marks)))
        with store.exclusive(project, source.name):
            now = log.of(source.name).head()
            for _, rows in log.of(source.name).read(head.sequence, now.sequence):
                found = sort_by_id(source, rows, writer.get, keys).marks
                writer.replace(found.keys, found.values)
            now_us = clock.now_us()
            progress = Progress(now.sequence, now_us, now_us, newest)
            writer.commit(now.last_us, now_us, meaning, progress)
    return True


def _bits(rows: pa.Table, keys: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return per row which of `_MARKS` it gives its id."""
    gone = optional_column(rows, DELETED)
    taken_back = np.zeros(rows.num_rows, bool) if gone is None else np.asarray(gone)
    keyless = np.zeros(rows.num_rows, bool)
    for i in range(keys):
        keyless |= np.asarray(column(rows, f"key{i}").is_null())
    return np.where(taken_back, 2, np.where(keyless, 5, 1)).astype(np.uint8)
