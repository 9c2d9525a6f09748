"""What rows that arrive change in the stored values of a view: the same scan, the same kernel as for all of history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asof import _native, dtypes
from asof.definitions.streams import ARRIVED_AT
from asof.interfaces.scanner import AVAILABLE_AT, DELETED, EVENT_TIME, RETRACTED_AT, ColumnRequest, ScanRequest
from asof.kernel.programs import compile_events, compile_states, stored_error, value_error
from asof.plan.specs import Column
from asof.plan.streams import declared_types, handover_us
from asof.services.everything import kernel_keys
from asof.services.history import column, one_batch, optional_column
from asof.services.plain_rows import plain_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from asof.interfaces import Scanner
    from asof.plan.specs import SourceSpec, ViewSpec

    Get = Callable[[Sequence[bytes]], Sequence[bytes | None]]
    MakeScanner = Callable[[Mapping[str, Any]], Scanner]

EVENT, RETRACTION, KEYLESS = b"e", b"r", b"k"
"""What is known of an event id, a letter each: its event arrived; its retraction; an event of it without a join key.

An event without a join key of a view is set apart there, so another one with its id may be the first that counts.
"""


@dataclass(frozen=True)
class Pairs:
    """Keys and what is to be stored of them; a null value forgets its key."""

    keys: pa.BinaryArray
    values: pa.BinaryArray


@dataclass(frozen=True)
class Sorted:
    """Rows of an event source by what they mean for the windows.

    Attributes:
        fresh: The rows that are counted as they are: the first with their id, of events that nothing takes back.
        touched: Ids whose events have to be counted anew from the log; None where there are none.
        repeated: Those, and the ids with more than one event; None where there are none. Where join keys are computed,
            nobody knows before whether the first event of an id had one.
        marks: What is now known of the ids.
    """

    fresh: pa.Table
    touched: pa.Array | None
    repeated: pa.Array | None
    marks: Pairs


class Arrivals:
    """Takes arrivals in, for one view version. The order of rows is the order of arrival."""

    def __init__(self, view: ViewSpec, scanner: MakeScanner, threads: int) -> None:
        """Compile a view; `scanner` makes one that reads frames by the name of their source."""
        self._view = view
        self._scanner = scanner
        self._threads = threads
        self._events = compile_events(view, view.features) if view.kind == "event" else None
        self._states = compile_states(view, view.features) if view.kind == "state" else None
        self._columns = (self._events or self._states).columns  # type: ignore[union-attr] # one of them is there
        self._keys = [key.name for key in view.entity.join_keys]
        roles: dict[str, Any] = {"event_id": None, "deleted": None} if view.kind == "event" else {}
        self._frame = msgspec.structs.replace(view.source, kind="frame", stream=None, max_skew_us=None, **roles)

    @property
    def computes_keys(self) -> bool:
        """Whether some join key of the view is no column of its source."""
        own = {one.name for one in self._view.source.columns}
        return not own.issuperset(self._keys)

    def take_in(self, rows: pa.Table, get: Get, instant_us: int) -> Pairs:
        """Return what is to be stored of the entities of these rows, known at `instant_us`.

        Args:
            rows: The columns of the source, and when each row arrived; of an event source with ids the fresh ones.
            get: Gives what is stored of keys now.
            instant_us: The present.
        """
        return self._fold(self._scan(rows), get, instant_us)

    def _scan(self, rows: pa.Table) -> pa.Table:
        request = ScanRequest(
            source=self._frame,
            derived=self._view.derived,
            keys=self._view.entity.join_keys,
            columns=self._columns,
            where=self._view.where,
            events=self._events is not None,
        )
        rows = self._own(rows)
        plain = plain_rows(request, rows)
        if plain is not None:
            return plain
        scan = self._scanner({self._frame.name: rows}).scan(request)
        return pa.Table.from_batches(list(scan.batches), schema=scan.schema)

    def _own(self, rows: pa.Table) -> pa.Table:
        """Return the rows that are the stream's in the view's version of the source, with its columns and no other."""
        source = self._view.source
        since_us = handover_us(source)
        if since_us is not None:
            times = column(rows, source.event_time).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
            rows = rows.filter(pc.greater_equal(times, since_us))
        types = declared_types(source, None)
        if not source.columns or types.keys() == set(rows.column_names):
            return rows
        known = set(rows.column_names)
        return pa.table(
            {
                name: rows.column(name) if name in known else pa.nulls(rows.num_rows, dtype)
                for name, dtype in types.items()
            }
        )

    def _fold(self, rows: pa.Table, get: Get, instant_us: int) -> Pairs:
        index = self._index(rows)
        keys = index.encoded()
        old = get(keys.to_pylist())
        lanes = one_batch(rows.select([c.name for c in self._columns]))
        times = column(rows, EVENT_TIME)
        try:
            if self._events is None:
                return Pairs(keys, self._merged(rows, index, lanes, old, instant_us))
            plan = self._events.plan
            return Pairs(keys, plan.update_states(old, index.codes, times, lanes, instant_us, self._threads))
        except OverflowError as error:
            raise value_error(self._view, error) from error
        except ValueError as error:
            raise stored_error(self._view, error) from error

    def _merged(
        self, rows: pa.Table, index: _native.KeyIndex, lanes: pa.RecordBatch, old: Sequence[bytes | None], instant: int
    ) -> pa.BinaryArray:
        plan = self._states.plan  # type: ignore[union-attr] # a view has one of both
        times, known = column(rows, EVENT_TIME), optional_column(rows, AVAILABLE_AT)
        new = plan.build(index.codes, times, known, optional_column(rows, DELETED), lanes, len(index), instant)
        return plan.merge(old, new.to_pylist(), instant)

    def _index(self, rows: pa.Table) -> _native.KeyIndex:
        return _native.KeyIndex(kernel_keys([column(rows, key) for key in self._keys], rows.num_rows))

    def recount(self, ids: pa.Array, until_entry: int, instant_us: int) -> Pairs:
        """Return what is to be stored of all entities that have events with these ids, counted anew from the log."""
        scanner = self._scanner({})
        source = self._view.source
        id_type = next(c.dtype for c in source.columns if c.name == source.event_id)
        found = scanner.scan(
            ScanRequest(
                source=msgspec.structs.replace(source, deleted=None),
                derived=self._view.derived,
                keys=(Column(name=source.event_id or "", dtype=dtypes.key_type(id_type) or id_type),),
                columns=tuple(
                    ColumnRequest(f"key{i}", key.name, key.dtype) for i, key in enumerate(self._view.entity.join_keys)
                ),
                until_entry=until_entry,
                only=pa.table({source.event_id or "": ids}),
            )
        )
        named = [f"key{i}" for i in range(len(self._keys))]
        owners = pa.Table.from_batches(list(found.batches), schema=found.schema).select(named)
        owners = owners.rename_columns(self._keys).group_by(self._keys).aggregate([]) if self._keys else None
        return self._from_log(scanner, owners, until_entry, instant_us)

    def owners(self, rows: pa.Table) -> pa.Table | None:
        """Return the join keys of rows of the log, each once; None where the view is about everything."""
        found = self._scan(rows)
        return found.select(self._keys).group_by(self._keys).aggregate([]).drop_null() if self._keys else None

    def encoded(self, owners: pa.Table) -> pa.BinaryArray:
        """Return join keys as stores hold them, in order."""
        return self._index(owners).encoded()

    def rebuilt(self, owners: pa.Table | None, until_entry: int, instant_us: int) -> Pairs:
        """Return what is to be stored of entities by all of history and log; of one without rows nothing."""
        request = ScanRequest(
            source=self._view.source,
            derived=self._view.derived,
            keys=self._view.entity.join_keys,
            columns=self._columns,
            where=self._view.where,
            events=self._events is not None,
            until_entry=until_entry,
            only=owners,
        )
        scan = self._scanner({}).scan(request)
        rows = pa.Table.from_batches(list(scan.batches), schema=scan.schema)
        index = self._index(rows)
        codes, lanes = index.codes, one_batch(rows.select([c.name for c in self._columns]))
        times, known = column(rows, EVENT_TIME), optional_column(rows, AVAILABLE_AT)
        if self._events is not None:
            retracted = optional_column(rows, RETRACTED_AT)
            values = self._events.plan.build_states(
                codes, times, known, retracted, lanes, len(index), instant_us, self._threads
            )
        else:
            plan = self._states.plan  # type: ignore[union-attr] # a view has one of both
            deleted = optional_column(rows, DELETED)
            values = plan.build(codes, times, known, deleted, lanes, len(index), instant_us)
        pairs = Pairs(index.encoded(), values)
        if owners is None:
            return pairs
        asked = self.encoded(owners)
        gone = asked.filter(pc.invert(pc.is_in(asked, pairs.keys)))
        return over(pairs, Pairs(gone, pa.nulls(len(gone), pa.binary())))

    def _from_log(self, scanner: Scanner, owners: pa.Table | None, until_entry: int, instant_us: int) -> Pairs:
        program = self._events
        if program is None or (owners is not None and not owners.num_rows):
            return none()
        request = ScanRequest(
            source=self._view.source,
            derived=self._view.derived,
            keys=self._view.entity.join_keys,
            columns=self._columns,
            where=self._view.where,
            events=True,
            until_entry=until_entry,
            only=owners,
        )
        scan = scanner.scan(request)
        rows = pa.Table.from_batches(list(scan.batches), schema=scan.schema)
        index = self._index(rows)
        codes = index.codes
        if owners is not None:  # entities whose last event was taken back have no row any more
            index.extend([column(owners.drop_null(), key) for key in self._keys])
        values = program.plan.build_states(
            codes,
            column(rows, EVENT_TIME),
            optional_column(rows, AVAILABLE_AT),
            optional_column(rows, RETRACTED_AT),
            one_batch(rows.select([c.name for c in self._columns])),
            len(index),
            instant_us,
            self._threads,
        )
        return Pairs(index.encoded(), values)


def none() -> Pairs:
    """Return no pairs."""
    empty = pa.array([], pa.binary())
    return Pairs(empty, empty)


def over(first: Pairs, second: Pairs) -> Pairs:
    """Return the pairs of both, of a key in both those of the second."""
    if not len(second.keys):
        return first
    kept = pc.invert(pc.is_in(first.keys, second.keys))
    keys = pa.concat_arrays([first.keys.filter(kept), second.keys])
    return Pairs(keys, pa.concat_arrays([first.values.filter(kept), second.values]))


def sort_by_id(source: SourceSpec, rows: pa.Table, get: Get, keys: Iterable[str]) -> Sorted:
    """Return which rows of an event source with ids count as they are, by what is known of their ids.

    Args:
        source: It names the columns of the id and of deletion.
        rows: In the order of arrival, no id null.
        get: Gives what is known of ids: None, or some of `EVENT`, `RETRACTION` and `KEYLESS`.
        keys: The columns of the source that are join keys of some view.
    """
    ids = column(rows, source.event_id or "")
    index = _native.KeyIndex([_comparable(ids)])
    codes = np.asarray(index.codes)
    encoded = index.encoded()
    known = get(encoded.to_pylist())

    def had(mark: bytes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array([marks is not None and mark in marks for marks in known], bool)

    def some(rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        found = np.zeros(len(encoded), bool)
        found[codes[rows]] = True
        return found

    gone, keyless = np.zeros(len(codes), bool), np.zeros(len(codes), bool)
    if source.deleted is not None:
        gone = np.asarray(column(rows, source.deleted).fill_null(False))
    for key in keys:
        keyless |= np.asarray(column(rows, key).is_null())
    arrived, taken_back = some(~gone), some(gone)
    first = np.zeros(len(codes), bool)
    events = np.flatnonzero(~gone)
    first[events[np.unique(codes[events], return_index=True)[1]]] = True
    event, retraction = had(EVENT), had(RETRACTION) | taken_back
    without_key = had(KEYLESS) | some(~gone & keyless)
    counted = first & ~(event | retraction | without_key)[codes]
    touched = taken_back | (arrived & (without_key | (retraction & ~event)))
    marks = pa.array(
        [
            EVENT * bool(e) + RETRACTION * bool(r) + KEYLESS * bool(k)
            for e, r, k in zip(event | arrived, retraction, without_key, strict=True)
        ],
        pa.binary(),
    )
    several = np.bincount(codes[~gone], minlength=len(encoded)) > 1

    def those(which: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.Array | None:
        return pc.unique(ids.filter(pa.array(which[codes]))) if which.any() else None

    repeated = touched | several | (arrived & event)
    return Sorted(rows.filter(pa.array(counted)), those(touched), those(repeated), Pairs(encoded, marks))


def _comparable(ids: pa.Array) -> pa.Array:
    dtype = dtypes.from_arrow(ids.type) or ""
    return ids.cast(dtypes.to_arrow(dtypes.key_type(dtype) or dtype))


def key_columns(source: SourceSpec, views: Iterable[ViewSpec]) -> list[str]:
    """Return the columns of a source that are join keys of some of these views."""
    own = {one.name for one in source.columns}
    return sorted({key.name for view in views for key in view.entity.join_keys} & own)


def newest_us(rows: pa.Table, source: SourceSpec) -> int | None:
    """Return the newest event time of some rows, in microseconds; None of none."""
    if source.event_time not in rows.column_names:  # of another version of the source
        return None
    times = rows.column(source.event_time).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    newest: int | None = pc.max(times).as_py()
    return newest


def arrived_us(rows: pa.Table) -> int | None:
    """Return when the last of some rows arrived, in microseconds; None of none."""
    newest: int | None = pc.max(rows.column(ARRIVED_AT).cast(pa.int64())).as_py()
    return newest
