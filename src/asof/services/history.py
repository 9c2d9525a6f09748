"""Point-in-time joins: the features of every spine row as they were known at its instant."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asof import _native
from asof.errors import RejectedRowsWarning
from asof.interfaces.scanner import AVAILABLE_AT, DELETED, EVENT_TIME, RETRACTED_AT, ScanRequest
from asof.kernel.programs import compile_events, compile_states, value_error
from asof.plan.missing import Notes
from asof.services.everything import kernel_keys
from asof.services.lookups import SpineKeys, in_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from asof.definitions.roles import Role
    from asof.interfaces import Executor, Rejected, Scanner
    from asof.plan.selection import ViewGroup
    from asof.plan.specs import FeatureSpec, ViewSpec
    from asof.services.spine import Spine

CODE = "__code"
STATUS = " status"  # a feature's name may end in anything but this
INDICATOR = " missing"
STATUS_NAMES = ("present", "null", "missing", "expired", "stale", "error")
_KERNEL_STATUS = "__status"
_PRESENT = 0
_DENSE = 0.75


@dataclass
class ViewColumns:
    """The answer of one view for all spine rows, in parts that each hold ascending spine rows.

    Attributes:
        parts: Pairs of spine row numbers (int64, ascending) and a table with one column per feature, its name with
            STATUS appended for the statuses where they were asked for, with INDICATOR for indicators.
    """

    schema: pa.Schema
    parts: list[tuple[np.ndarray[tuple[int], np.dtype[np.int64]], pa.Table]] = field(default_factory=list)

    def slice(self, start: int, stop: int) -> pa.Table:
        """Return spine rows `start` to `stop`, in spine order."""
        rows: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
        tables: list[pa.Table] = []
        for numbers, table in self.parts:
            first, last = np.searchsorted(numbers, (start, stop))
            if last > first:
                rows.append(numbers[first:last])
                tables.append(table.slice(first, last - first))
        if len(tables) == 1:
            return tables[0]
        return pa.concat_tables(tables).take(pa.array(np.argsort(np.concatenate(rows), kind="stable")))


@dataclass(frozen=True)
class Wanted:
    """What is asked for besides values: all statuses, and what notes say."""

    statuses: bool
    notes: Notes

    @property
    def any(self) -> bool:
        """Whether statuses have to be found out at all."""
        return bool(self.statuses or self.notes.indicators or self.notes.refused)

    def columns(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield what stands beside features of these names: pairs of feature and suffix."""
        for name in names:
            if self.statuses or name in self.notes.refused:
                yield name, STATUS
            if name in self.notes.indicators:
                yield name, INDICATOR
                if self.statuses:
                    yield name, INDICATOR + STATUS

    def schema(self, features: pa.Schema) -> pa.Schema:
        """Return the columns of features with what stands beside them."""
        extra = [
            pa.field(name + suffix, pa.bool_() if suffix == INDICATOR else pa.string())
            for name, suffix in self.columns(features.names)
        ]
        return pa.schema([*features, *extra])

    def append(self, table: pa.Table, codes: pa.RecordBatch) -> pa.Table:
        """Return the table of features with what stands beside them, from the codes of their statuses."""
        names = pa.array(STATUS_NAMES)
        for name, suffix in [*self.columns(table.column_names)]:
            if suffix == INDICATOR + STATUS:  # an indicator itself is always there
                found = pa.repeat(STATUS_NAMES[_PRESENT], table.num_rows)
            elif suffix == INDICATOR:
                found = pc.not_equal(codes.column(name), pa.scalar(_PRESENT, pa.uint8()))
            else:
                found = names.take(codes.column(name))
            table = table.append_column(name + suffix, found)
        return table


class HistoryReader:
    """Evaluates views for a spine, part by part, within the executor's memory budget."""

    def __init__(self, scanner: Scanner, executor: Executor, *, now_us: int | None = None) -> None:
        """Read through `scanner`; `now_us` is the clock that `max_skew` compares with."""
        self._scanner = scanner
        self._executor = executor
        self._now_us = now_us

    def read_all(self, groups: Sequence[ViewGroup], spine: Spine, *, statuses: bool) -> dict[str, ViewColumns]:
        """Return the chosen features of every group by its key, side by side where memory allows; see `read`.

        Groups whose join keys are looked up in others are read after these.
        """
        size_bytes = sum(self._scanner.size_bytes(group.view.source) for group in groups)
        workers = self._executor.threads if self._executor.at_once(size_bytes) else 1
        keys, found = SpineKeys(groups, spine), dict[str, ViewColumns]()
        with ThreadPoolExecutor(workers) as pool:
            try:
                for step in in_steps(groups):
                    running = [
                        pool.submit(self._read, g.view, g.features, keys.of(g, found), spine, Wanted(statuses, g.notes))
                        for g in step
                    ]
                    found |= {group.key: done.result() for group, done in zip(step, running, strict=True)}
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return {group.key: found[group.key] for group in groups}

    def read(
        self,
        view: ViewSpec,
        features: Sequence[FeatureSpec],
        spine: Spine,
        *,
        statuses: bool,
        role: Role | None = None,
        notes: Notes | None = None,
    ) -> ViewColumns:
        """Return the chosen features of one view for every spine row, whose keys are where the role finds them.

        With `notes`, limits of age hold besides the view's ttl, indicators stand beside their features, and statuses
        are there where a feature must be present.

        Raises:
            InputError: the spine's keys do not fit the view's entity.
            FeatureValueError: an integer sum beyond 64 bits.
            SourceError, SchemaError: the source cannot be read as it was defined.
        """
        wanted = Wanted(statuses, notes or Notes())
        return self._read(view, features, spine.keys(view.entity, role), spine, wanted)

    def _read(
        self, view: ViewSpec, features: Sequence[FeatureSpec], keys: list[pa.Array], spine: Spine, wanted: Wanted
    ) -> ViewColumns:
        index = _native.KeyIndex(kernel_keys(keys, spine.table.num_rows))
        job = _EventJob if view.kind == "event" else _StateJob
        return self._run(job(view, features, wanted), index, spine)

    def _run(self, job: _EventJob | _StateJob, index: _native.KeyIndex, spine: Spine) -> ViewColumns:
        answer = ViewColumns(job.schema())
        query_codes = index.codes.to_numpy()
        instants = spine.instants.to_numpy()
        if len(instants) == 0:
            answer.parts.append((np.arange(0), answer.schema.empty_table()))
            return answer
        request = job.request(int(instants.min()), int(instants.max()), self._now_us)
        scan = self._scanner.scan(request)
        keys = [key.name for key in request.keys]
        coded = _code_batches(scan.batches, keys, index)
        schema = _coded_schema(scan.schema, keys)
        with self._executor.partition(coded, schema, _assign_code) as parts:
            warn_rejected(job.view.source.name, scan.rejected)
            part_of = np.where(query_codes < 0, 0, query_codes % parts.count)
            for part in range(parts.count):
                rows = np.flatnonzero(part_of == part) if parts.count > 1 else np.arange(len(instants))
                if len(rows):
                    queries = (pa.array(query_codes[rows]), pa.array(instants[rows]))
                    table = job.evaluate(parts.read(part), index, queries, self._executor.threads)
                    answer.parts.append((rows, self._executor.keep(table)))
        return answer


class _EventJob:
    """What differs for event views: the lanes, the reach back in time, the kernel call."""

    def __init__(self, view: ViewSpec, features: Sequence[FeatureSpec], wanted: Wanted) -> None:
        self.view = view
        self._program = compile_events(view, features)
        self._wanted = wanted

    def schema(self) -> pa.Schema:
        return self._wanted.schema(self._program.plan.output_schema)

    def request(self, first_us: int, last_us: int, now_us: int | None) -> ScanRequest:
        # Whether an entity was ever seen needs its whole past; values need only what a window can reach.
        whole = self._wanted.any or self._program.reach_us is None
        return ScanRequest(
            source=self.view.source,
            derived=self.view.derived,
            keys=self.view.entity.join_keys,
            columns=self._program.columns,
            where=self.view.where,
            events=True,
            event_time_from_us=None if whole else first_us - (self._program.reach_us or 0),
            event_time_until_us=last_us,
            now_us=now_us,
        )

    def evaluate(
        self, events: pa.Table, index: _native.KeyIndex, queries: tuple[pa.Array, pa.Array], threads: int
    ) -> pa.Table:
        try:
            answer = self._program.plan.history(
                column(events, CODE),
                column(events, EVENT_TIME),
                optional_column(events, AVAILABLE_AT),
                optional_column(events, RETRACTED_AT),
                one_batch(events.select([c.name for c in self._program.columns])),
                len(index),
                *queries,
                threads,
            )
        except OverflowError as error:
            raise value_error(self.view, error) from error
        values = answer.select(self._program.plan.output_schema.names)
        return _finish(values, answer.column(_KERNEL_STATUS), self._program.defaults, self._wanted)


class _StateJob:
    """What differs for state views: the columns, tombstones, the kernel call and the gather."""

    def __init__(self, view: ViewSpec, features: Sequence[FeatureSpec], wanted: Wanted) -> None:
        self.view = view
        self._program = compile_states(view, features)
        self._wanted = wanted

    def schema(self) -> pa.Schema:
        return self._wanted.schema(self._program.defaults.schema)

    def request(self, first_us: int, last_us: int, now_us: int | None) -> ScanRequest:
        del first_us
        return ScanRequest(
            source=self.view.source,
            derived=self.view.derived,
            keys=self.view.entity.join_keys,
            columns=self._program.columns,
            where=self.view.where,
            event_time_until_us=last_us,
            now_us=now_us,
        )

    def evaluate(
        self, rows: pa.Table, index: _native.KeyIndex, queries: tuple[pa.Array, pa.Array], threads: int
    ) -> pa.Table:
        limits = dict(self._wanted.notes.limits)
        columns: dict[str, pa.ChunkedArray] = {}
        for limit_us in {limits.get(name): None for name in self._program.defaults.schema.names}:
            names = [name for name in self._program.defaults.schema.names if limits.get(name) == limit_us]
            newest = _native.as_of(
                column(rows, CODE),
                column(rows, EVENT_TIME),
                optional_column(rows, AVAILABLE_AT),
                optional_column(rows, DELETED),
                len(index),
                *queries,
                min((us for us in (self.view.ttl_us, limit_us) if us is not None), default=None),
                threads,
            )
            found, statuses = newest.column("row"), newest.column("status")
            values = gather(rows.select(names), found, threads)
            done = _finish(values, statuses, self._program.defaults.select(names), self._wanted)
            columns.update(zip(done.column_names, done.columns, strict=True))
        schema = self.schema()
        return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _finish(values: pa.RecordBatch, rows: pa.Array, defaults: pa.RecordBatch, wanted: Wanted) -> pa.Table:
    filled = pa.Table.from_batches([_native.apply_defaults(values, defaults)])
    if wanted.any:
        filled = wanted.append(filled, _native.value_statuses(values, rows))
    return filled


def _code_batches(
    batches: Iterable[pa.RecordBatch], keys: Sequence[str], index: _native.KeyIndex
) -> Iterator[pa.RecordBatch]:
    """Replace the keys by their codes and leave out the rows of keys that nobody asks about."""
    for batch in batches:
        codes = index.lookup(kernel_keys([batch.column(key) for key in keys], batch.num_rows))
        coded = pa.RecordBatch.from_arrays(
            [codes, *batch.columns[len(keys) :]], schema=_coded_schema(batch.schema, keys)
        )
        known = pc.greater_equal(codes, 0)
        # The kernel passes over a code of -1; copying the others is worth it only where it saves much.
        yield coded if known.true_count > _DENSE * len(codes) else coded.filter(known)


def _coded_schema(schema: pa.Schema, keys: Sequence[str]) -> pa.Schema:
    return pa.schema([pa.field(CODE, pa.int32()), *list(schema)[len(keys) :]])


def _assign_code(batch: pa.RecordBatch, parts: int) -> pa.Array:
    return pa.array(batch.column(CODE).to_numpy() % np.int32(parts))


def column(table: pa.Table, name: str) -> pa.Array:
    """Return a column as one array."""
    found = table.column(name)
    return found.chunk(0) if found.num_chunks == 1 else found.combine_chunks()


def optional_column(table: pa.Table, name: str) -> pa.Array | None:
    """Return a column as one array, or None where the table has none of that name."""
    return column(table, name) if name in table.column_names else None


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """Return a table as one batch; the row count is kept also without columns."""
    if table.num_columns == 0:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * table.num_rows, type=pa.struct([])))
    return pa.RecordBatch.from_arrays([column(table, name) for name in table.column_names], schema=table.schema)


def gather(table: pa.Table, rows: pa.Array, threads: int) -> pa.RecordBatch:
    """Return the rows of these numbers, columns side by side on threads; a null number gives a row of nulls."""
    found = rows.is_valid()
    # Taking with nulls among the numbers costs several times as much as taking and masking afterwards.
    dense = rows.fill_null(0) if table.num_rows else rows

    def pick(values: pa.ChunkedArray) -> pa.Array:
        maskable = values.type.num_fields == 0 and table.num_rows > 0
        taken = values.take(dense if maskable else rows).combine_chunks()
        return _masked(taken, found) if maskable and rows.null_count else taken

    if table.num_columns == 0:
        return one_batch(table.take(rows))
    with ThreadPoolExecutor(threads) as pool:
        columns = list(pool.map(pick, table.columns))
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def _masked(values: pa.Array, found: pa.Array) -> pa.Array:
    """Return a flat array that is null also where `found` is false; its buffers are shared."""
    valid = pc.and_(values.is_valid(), found) if values.null_count else found
    return pa.Array.from_buffers(values.type, len(values), [valid.buffers()[1], *values.buffers()[1:]])


def warn_rejected(source: str, rejected: Rejected) -> None:
    """Warn about rows that were set apart, with the reasons and the place."""
    if rejected.counts:
        reasons = ", ".join(f"{count} with {reason}" for reason, count in sorted(rejected.counts.items()))
        warnings.warn(
            f"Source {source!r}: {sum(rejected.counts.values())} rows were set apart ({reasons}); see {rejected.path}.",
            RejectedRowsWarning,
            stacklevel=2,
        )
