"""Labels: what a source's rows say about the time after every spine row's instant, columns in, columns out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from asof import _native, dtypes
from asof.errors import FeatureValueError, InputError, SchemaError, did_you_mean
from asof.interfaces import ColumnRequest, ScanRequest
from asof.interfaces.scanner import AVAILABLE_AT, EVENT_TIME, RETRACTED_AT
from asof.services.everything import kernel_keys
from asof.services.history import warn_rejected
from asof.services.spine import key_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asof.definitions import Label
    from asof.interfaces import Scanner
    from asof.plan.selection import ViewGroup
    from asof.plan.specs import Column, SourceSpec
    from asof.services.spine import Spine

    Integers = np.ndarray[tuple[int], np.dtype[np.int64]]
    Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]

_VALUE = "value"
_PAIRS = 2**22
_SAFE = 2.0**62
_NUMBERS = dtypes.INTEGERS | dtypes.FLOATS


@dataclass(frozen=True)
class LabelReader:
    """Computes one label.

    Attributes:
        label: What is asked.
        source: The source that it names.
        groups: The views of the service, which give the join keys their types and, by their roles, their columns.
        now_us: Of the source's rows those that were known by then count.
    """

    label: Label
    source: SourceSpec
    groups: Sequence[ViewGroup]
    now_us: int

    def mature(self, spine: Spine) -> Bools:
        """Return of every spine row whether its outcome can be known: t + window + maturity <= now."""
        reach = self.label.window_us + self.label.maturity_us
        return np.asarray(spine.instants.to_numpy() <= self.now_us - reach)

    def read(self, spine: Spine, scanner: Scanner) -> pa.Array:
        """Return the label of every spine row.

        Raises:
            InputError: the join keys are not clear, or the spine lacks them.
            SchemaError: the source has no such column, or it is not of a type for the aggregate.
            FeatureValueError: an integer sum beyond 64 bits.
        """
        keys = self._keys()
        dtype = self._dtype()
        columns = self.label.columns or tuple(self._column(key.name) for key in keys)
        arrays = [
            key_array(spine.table, column, key.dtype, "the label's") for key, column in zip(keys, columns, strict=True)
        ]
        index = _native.KeyIndex(kernel_keys(arrays, len(spine.instants)))
        rows = self._rows(spine, scanner, keys, dtype, index)
        first, last = _bounds(rows, index, spine.instants.to_numpy(), self.label.window_us)
        return self._aggregate(rows[2], first, last)

    def _keys(self) -> tuple[Column, ...]:
        # Keys that are looked up are in no spine, unless the label says that this one holds them.
        entities = [group.view.entity for group in self.groups if self.label.keys or not group.lookups]
        known = {key.name: key for entity in entities for key in entity.join_keys}
        sets = {tuple(key.name for key in entity.join_keys) for entity in entities if entity.join_keys}
        if not entities:
            raise InputError(
                f"The label {self.label.name!r} has nothing to be joined on",
                why="The service reads no view, so it has no join keys",
                fix="Add a feature of the label's entity to the service, or put the label into the spine.",
            )
        if not self.label.keys and len(sets) > 1:
            raise InputError(
                f"The label {self.label.name!r} does not say on which keys it is joined",
                why=f"The service has the join keys {', '.join(known)}",
                fix="Name them: Label(…, keys=[…]).",
            )
        names = tuple(self.label.keys) or next(iter(sets), ())
        for name in names:
            if name not in known:
                raise InputError(
                    f"The label {self.label.name!r} has the key {name!r}, which is no join key of the service",
                    why=did_you_mean(name, known),
                    fix=f"Its join keys are {', '.join(known)}.",
                )
        return tuple(known[name] for name in names)

    def _column(self, key: str) -> str:
        """Return the spine's column that holds a join key: its own where a view is read without a role."""
        columns = {asked[key][0] for group in self.groups if key in (asked := group.asked_keys())}
        if key in columns or not columns:
            return key
        if len(columns) > 1:
            raise InputError(
                f"The label {self.label.name!r} does not say where its key {key!r} is found",
                why=f"The service reads it, under its roles, from {' and '.join(sorted(columns))}",
                fix=f'Say it: Label(…, keys={{"{key}": "{min(columns)}"}}).',
            )
        return columns.pop()

    def _dtype(self) -> str:
        if self.label.column is None:
            return "bool"
        columns = {column.name: column.dtype for column in self.source.columns}
        dtype = columns.get(self.label.column)
        if dtype is None:
            raise SchemaError(
                f"Source {self.source.name!r} has no column {self.label.column!r}",
                why=did_you_mean(self.label.column, columns),
                fix=f"Its columns are {', '.join(columns)}.",
            )
        if self.label.aggregate in ("sum", "mean", "min", "max") and dtype not in _NUMBERS:
            raise SchemaError(
                f"The label {self.label.name!r} is a {self.label.aggregate} of {self.label.column!r}, which is {dtype}",
                fix="Use an integer or float column, or another aggregate.",
            )
        return dtype

    def _rows(
        self, spine: Spine, scanner: Scanner, keys: tuple[Column, ...], dtype: str, index: _native.KeyIndex
    ) -> tuple[Integers, Integers, pa.Array]:
        """Return the codes, event times and values of the source's rows that count, by key and event time."""
        instants = spine.instants.to_numpy()
        request = ScanRequest(
            source=self.source,
            keys=keys,
            columns=(ColumnRequest(_VALUE, self.label.column, dtype),),
            where=self.label.where,
            events=True,
            event_time_from_us=int(instants.min()) if len(instants) else 0,
            event_time_until_us=int(instants.max()) + self.label.window_us if len(instants) else -1,
            now_us=self.now_us,
        )
        scan = scanner.scan(request)
        codes, times, values = [np.empty(0, np.int64)], [np.empty(0, np.int64)], []
        for batch in scan.batches:
            found = (
                index.lookup(kernel_keys([batch.column(key.name) for key in keys], batch.num_rows))
                .to_numpy()
                .astype(np.int64)
            )
            kept = np.flatnonzero(self._counts(batch, found))
            codes.append(found[kept])
            times.append(batch.column(EVENT_TIME).to_numpy()[kept])
            values.append(batch.column(_VALUE).take(pa.array(kept)))
        warn_rejected(self.source.name, scan.rejected)
        code, time = np.concatenate(codes), np.concatenate(times)
        order = np.lexsort((time, code))
        column = pa.chunked_array(values, dtypes.to_arrow(dtype)).combine_chunks().take(pa.array(order))
        return code[order], time[order], column

    def _counts(self, batch: pa.RecordBatch, codes: Integers) -> Bools:
        """Return which rows count: of a key that is asked for, not null, known by now and not taken back by then."""
        kept = (codes >= 0) & batch.column(_VALUE).is_valid().to_numpy(zero_copy_only=False)
        known = AVAILABLE_AT if AVAILABLE_AT in batch.schema.names else EVENT_TIME
        kept &= batch.column(known).to_numpy() <= self.now_us
        if RETRACTED_AT in batch.schema.names:
            kept &= batch.column(RETRACTED_AT).fill_null(2**63 - 1).to_numpy() > self.now_us
        return np.asarray(kept)

    def _aggregate(self, values: pa.Array, first: Integers, last: Integers) -> pa.Array:
        counts = last - first
        function = self.label.aggregate
        if function == "exists":
            return pa.array(counts > 0)
        if function == "count":
            return pa.array(counts)
        if function in ("first", "last"):
            place = first if function == "first" else last - 1
            return values.take(pa.array(place, mask=counts == 0))
        numbers = values.to_numpy(zero_copy_only=False)
        exact = pa.types.is_integer(values.type)
        found = np.zeros(len(counts), _result_type(str(function), numbers.dtype, exact=exact))
        for rows, starts, picked in _blocks(first, counts):
            found[rows] = self._reduce(str(function), numbers[picked], starts, exact=exact)
        empty = counts == 0
        if not np.issubdtype(found.dtype, np.integer):
            empty |= np.isnan(found)  # of opposite infinities; a float column has no NaN
        return pa.array(found, mask=empty)

    def _reduce(self, function: str, numbers: Any, starts: Integers, *, exact: bool) -> Any:
        if function == "min":
            return np.minimum.reduceat(numbers, starts)
        if function == "max":
            return np.maximum.reduceat(numbers, starts)
        counts = np.diff(np.append(starts, len(numbers)))
        with np.errstate(over="ignore", invalid="ignore"):
            floats = np.add.reduceat(numbers.astype(np.float64), starts)
            if function == "mean":
                return floats / counts
            if not exact:
                return floats
            magnitudes = np.add.reduceat(np.abs(numbers.astype(np.float64)), starts)
        sums = np.add.reduceat(numbers.astype(np.int64), starts)
        for row in np.flatnonzero(magnitudes > _SAFE):
            total = sum(numbers[starts[row] : starts[row] + counts[row]].tolist())
            if not -(2**63) <= total < 2**63:
                raise FeatureValueError(
                    f"The label {self.label.name!r} has a sum of {total}, beyond 64 bits",
                    fix="Make the column a float, or use another aggregate.",
                )
            sums[row] = total
        return sums


def _result_type(function: str, dtype: Any, *, exact: bool) -> Any:
    if function in ("min", "max"):
        return dtype
    return np.int64 if function == "sum" and exact else np.float64


def _bounds(
    rows: tuple[Integers, Integers, pa.Array], index: _native.KeyIndex, instants: Integers, window_us: int
) -> tuple[Integers, Integers]:
    """Return per spine row the first row after t and the first one after t + window, of its key; both 0 without one."""
    codes, times, _ = rows
    asked = index.codes.to_numpy().astype(np.int64)
    # Key and time as one number that keeps their order: the rank of a time is below the step from key to key.
    ranks, inverse = np.unique(times, return_inverse=True)
    step = len(ranks) + 1
    places = codes * step + inverse
    first = np.searchsorted(places, asked * step + np.searchsorted(ranks, instants, side="right"))
    last = np.searchsorted(places, asked * step + np.searchsorted(ranks, instants + window_us, side="right"))
    unknown = asked < 0
    first[unknown] = last[unknown] = 0
    return first, last


def _blocks(first: Integers, counts: Integers) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Give the rows that have something to reduce, in blocks of a few million pairs: rows, starts, places picked."""
    rows = np.flatnonzero(counts)
    block = (np.cumsum(counts[rows]) - counts[rows]) // _PAIRS
    for part in np.split(rows, np.flatnonzero(np.diff(block)) + 1):
        if len(part):
            ends = np.cumsum(counts[part])
            starts = ends - counts[part]
            picked = np.arange(ends[-1]) + np.repeat(first[part] - starts, counts[part])
            yield part, starts, picked
