"""Materializing: every entity's value of a view at one instant, written as a new generation of the online store."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from asof import _native
from asof.clock import from_us
from asof.errors import InputError
from asof.interfaces.log import LogHead
from asof.interfaces.online import ViewKey
from asof.interfaces.scanner import AVAILABLE_AT, DELETED, EVENT_TIME, RETRACTED_AT, ScanRequest
from asof.kernel.programs import compile_events, compile_states, value_error
from asof.plan.references import parse_object
from asof.plan.specs import ServiceSpec, meaning_hash
from asof.services.arrivals import Arrivals
from asof.services.everything import kernel_keys
from asof.services.filling import Filling
from asof.services.history import column, one_batch, optional_column, warn_rejected
from asof.services.log_end import require_log
from asof.services.moved import refuse_marked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    import pyarrow as pa

    from asof.clock import Clock
    from asof.interfaces import Executor, OfflineLog, OnlineStore, Scanner
    from asof.interfaces.scanner import ColumnRequest
    from asof.plan.references import ObjectReference
    from asof.plan.specs import ViewSpec
    from asof.services.arrivals import MakeScanner
    from asof.services.catalog import Catalog

    Progress = Callable[[str, int], None]
    _Build = Callable[[pa.Table, _native.KeyIndex, pa.RecordBatch, int], pa.BinaryArray]


@dataclass(frozen=True)
class Materialized:
    """What one materialization of one view did.

    Attributes:
        instant: Values are what was known then.
        keys: Entities written.
        rows: Source rows read.
        seconds: From the first row read to the switch.
    """

    view: str
    version: int
    generation: int
    instant: datetime
    keys: int
    rows: int
    seconds: float


class Materializer:
    """Writes generations, view by view, within the executor's memory budget."""

    def __init__(
        self,
        scanner: Scanner,
        executor: Executor,
        store: OnlineStore,
        *,
        project: str,
        clock: Clock,
        log: OfflineLog,
        arrivals: MakeScanner,
    ) -> None:
        """Read through `scanner`, write to `store`; `clock` dates the generations and bounds `max_skew`.

        Of stream sources `log` tells where their logs end, and `arrivals` makes scanners for the rows that arrive in it
        while a generation is written.
        """
        self._scanner = scanner
        self._log = log
        self._arrivals = arrivals
        self._executor = executor
        self._store = store
        self._project = project
        self._clock = clock

    def run(self, view: ViewSpec, instant_us: int, progress: Progress | None = None) -> Materialized:
        """Write what was known of every entity at `instant_us`, and switch it in atomically.

        Raises:
            ConflictError: the store already holds a generation of a later instant.
            SourceError, SchemaError: the source cannot be read as it was defined.
            StoreFullError, StoreError: nothing was switched.
        """
        started = time.perf_counter()
        refuse_marked(self._store, self._project, self._store.generations(self._project))
        build, columns = self._events(view) if view.kind == "event" else self._states(view)
        streamed = view.source.kind == "stream"
        head = self._log.of(view.source.name).head() if streamed else LogHead()
        if streamed:
            self._require_log(view)
        instant_us = max(instant_us, head.last_us) if streamed else instant_us
        request = ScanRequest(
            source=view.source,
            derived=view.derived,
            keys=view.entity.join_keys,
            columns=columns,
            where=view.where,
            events=view.kind == "event",
            now_us=self._clock.now_us(),
            until_entry=head.sequence if streamed else None,
        )
        scan = self._scanner.scan(request)
        keys = [key.name for key in view.entity.join_keys]
        lanes = [c.name for c in columns]
        counted = _Counter(view.key, progress, instant_us)
        with (
            self._executor.partition(counted.count(scan.batches), scan.schema, _assign_by(keys)) as parts,
            self._store.write(ViewKey(self._project, view.name, view.version)) as writer,
        ):
            warn_rejected(view.source.name, scan.rejected)
            for part in range(parts.count):
                rows = parts.read(part)
                index = _native.KeyIndex(kernel_keys([column(rows, key) for key in keys], rows.num_rows))
                values = build(rows, index, one_batch(rows.select(lanes)), instant_us)
                writer.put(index.encoded(), values)
            if streamed:
                filling = Filling(
                    writer, view, head, counted.newest_us, counted.due_us, self._log, self._store, self._project
                )
                arrivals = Arrivals(view, self._arrivals, self._executor.threads)
                generation = filling.finish(arrivals, instant_us, self._clock)
            else:
                generation = writer.commit(instant_us, self._clock.now_us(), meaning_hash(view))
        if not streamed:  # the others are switched in while nobody can move the store
            refuse_marked(self._store, self._project, self._store.generations(self._project))
        return Materialized(
            view=view.name,
            version=view.version,
            generation=generation.number,
            instant=from_us(generation.instant_us),
            keys=generation.keys,
            rows=counted.rows,
            seconds=time.perf_counter() - started,
        )

    def _require_log(self, view: ViewSpec) -> None:
        key = ViewKey(self._project, view.name, view.version)
        there = {k: one for k, one in self._store.generations(self._project).items() if k == key}
        require_log(view.source.name, self._log.of(view.source.name).head(), there)

    def _events(self, view: ViewSpec) -> tuple[_Build, tuple[ColumnRequest, ...]]:
        program = compile_events(view, view.features)

        def build(rows: pa.Table, index: _native.KeyIndex, lanes: pa.RecordBatch, instant_us: int) -> pa.BinaryArray:
            try:
                return program.plan.build_states(
                    index.codes,
                    column(rows, EVENT_TIME),
                    optional_column(rows, AVAILABLE_AT),
                    optional_column(rows, RETRACTED_AT),
                    lanes,
                    len(index),
                    instant_us,
                    self._executor.threads,
                )
            except OverflowError as error:
                raise value_error(view, error) from error

        return build, program.columns

    def _states(self, view: ViewSpec) -> tuple[_Build, tuple[ColumnRequest, ...]]:
        program = compile_states(view, view.features)

        def build(rows: pa.Table, index: _native.KeyIndex, columns: pa.RecordBatch, instant_us: int) -> pa.BinaryArray:
            return program.plan.build(
                index.codes,
                column(rows, EVENT_TIME),
                optional_column(rows, AVAILABLE_AT),
                optional_column(rows, DELETED),
                columns,
                len(index),
                instant_us,
            )

        return build, program.columns


def choose_views(catalog: Catalog, names: str | Sequence[str] | None) -> list[ViewSpec]:
    """Return the views to materialize: the named ones, else every version that can be read.

    Those are the newest version of each view, and whatever version a service or an on-demand view that is not removed
    pins.

    Raises:
        NotFoundError: no view of that name or version.
        InputError: not a name.
    """
    if names is not None:
        several = isinstance(names, Iterable) and not isinstance(names, str)
        listed = [_reference(name) for name in (names if several else [names])]
        return [catalog.view(reference.name, reference.version) for reference in listed]
    services = [entry.spec for entry in catalog.entries("service") if not entry.hidden]
    used = catalog.reads(f for spec in services if isinstance(spec, ServiceSpec) for f in spec.features)
    used |= catalog.reads(one for view in catalog.on_demand_views() for one in view.inputs)
    pinned = {(name, version) for kind, name, version in used if kind == "view"}
    pinned |= {(view.name, view.version) for view in catalog.views()}
    return [catalog.view(name, version) for name, version in sorted(pinned)]


def _reference(name: object) -> ObjectReference:
    if not isinstance(name, str):
        raise InputError(
            f"Views are named by text, not by {type(name).__name__}", fix='Write "spend", or pin a version: "spend@3".'
        )
    return parse_object(name)


class _Counter:
    """Counts rows as they pass and tells the caller."""

    def __init__(self, name: str, progress: Progress | None, instant_us: int) -> None:
        self.rows = 0
        self.newest_us: int | None = None
        self.due_us: int | None = None
        self._instant_us = instant_us
        self._name = name
        self._progress = progress

    def count(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self.rows += batch.num_rows
            if batch.num_rows:
                newest = pc.max(batch.column(EVENT_TIME)).as_py()
                self.newest_us = newest if self.newest_us is None else max(newest, self.newest_us)
                self._note_due(batch)
            if self._progress is not None:
                self._progress(self._name, self.rows)
            yield batch

    def _note_due(self, batch: pa.RecordBatch) -> None:
        for name in (AVAILABLE_AT, RETRACTED_AT):
            if name in batch.schema.names:
                known = batch.column(name)
                later = pc.min(known.filter(pc.greater(known, self._instant_us))).as_py()
                if later is not None:
                    self.due_us = later if self.due_us is None else min(later, self.due_us)


def _assign_by(keys: list[str]) -> Callable[[pa.RecordBatch, int], pa.Array]:
    return lambda batch, parts: _native.partition(
        kernel_keys([batch.column(key) for key in keys], batch.num_rows), parts
    )
