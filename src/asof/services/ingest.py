"""Taking arrivals in: into the log first, then into the values of every view over their source, each row once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from asof.definitions.streams import ARRIVED_AT
from asof.errors import AsofError, ConflictError, CorruptDataError
from asof.interfaces.log import PARTITION, POSITION
from asof.interfaces.online import Progress, Update, ViewKey
from asof.services.arrivals import Arrivals, Pairs, arrived_us, key_columns, newest_us, none, over, sort_by_id
from asof.services.door import admit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from asof.clock import Clock
    from asof.interfaces.log import LogHead, OfflineLog, SourceLog
    from asof.interfaces.online import Generation, OnlineStore
    from asof.plan.specs import SourceSpec, ViewSpec
    from asof.services.arrivals import MakeScanner

PUSHED = "push"
"""The partition of the rows that are pushed; its positions count them."""


@dataclass(frozen=True)
class Batch:
    """Rows that arrive together.

    Attributes:
        rows: In the order of arrival.
        partition: Of each row, and
        position: its position there; None for rows that are pushed.
        positions: Per partition the next position to read after these rows and those that could not be decoded.
        refused: Why some of the rows cannot be taken in, by their position, where that is known already.
    """

    rows: pa.Table
    partition: pa.Array | None = None
    position: pa.Array | None = None
    positions: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ingested:
    """What became of a batch.

    Attributes:
        taken: Rows that are in the log.
        repeated: Rows that were in it already, by their position.
        refused: Why each other row was set apart, by its position in the batch.
        entry: The newest entry of the log.
        at_us: When the rows arrived: from then on they can be known.
        behind: Views that could not take the rows in, and why; they will with the next batch, once they can.
    """

    taken: int
    repeated: int
    refused: Mapping[int, str]
    entry: int
    at_us: int
    behind: Mapping[str, AsofError] = field(default_factory=dict)


class Ingestor:
    """Takes in the rows of one stream source. Any number of processes may do so: they take turns.

    Attributes:
        source: As newly defined.
        outdated: Whether the store lost what this needs; then it has to be made anew.
    """

    def __init__(
        self,
        source: SourceSpec,
        views: Sequence[ViewSpec],
        *,
        log: OfflineLog,
        store: OnlineStore,
        project: str,
        clock: Clock,
        scanner: MakeScanner,
        threads: int,
    ) -> None:
        """Serve a source and the versions of views over it; those that are not in the store are left out.

        Args:
            source: As newly defined; its columns are those of the log.
            views: All versions of views over the source.
            log: Where the rows are kept.
            store: Where the values are.
            project: The project's name.
            clock: Says when rows arrive.
            scanner: Makes a scanner that reads frames by the name of their source.
            threads: For the kernel.
        """
        self.source = source
        self._views = {ViewKey(project, view.name, view.version): view for view in views}
        self._ids = ids_key(project, source)
        self._log: SourceLog = log.of(source.name)
        self._store = store
        self._project = project
        self._clock = clock
        self._scanner = scanner
        self._threads = threads
        self._compiled: dict[ViewKey, Arrivals] = {}
        self._stuck: frozenset[str] = frozenset()
        self.outdated = False

    @property
    def log(self) -> SourceLog:
        """The source's log."""
        return self._log

    def take_in(self, batch: Batch, keep_refused: Callable[[int, Mapping[int, str]], None] | None = None) -> Ingested:
        """Keep rows in the log and bring every view up to them.

        When this returns the rows are durable, and reads of the views that took them in show them. Rows whose position
        is in the log already are left out, so a batch may be given again.

        Args:
            batch: The rows.
            keep_refused: Called before anything is written with the number of the entry to be and why rows were
                refused, by their position in the batch.

        Raises:
            StoreError, StoreFullError: nothing was kept, or all of it: the same batch can be given again.
        """
        with self._store.exclusive(self._project, self.source.name):
            head = self._log.head()
            behind = self._catch_up(head)
            start_us = max(self._clock.now_us(), head.last_us + 1)
            fresh, repeated = _fresh(batch, head)
            admitted = admit(self.source, fresh.rows, start_us, fresh.refused)
            origin = pc.indices_nonzero(repeated) if repeated is not None else None
            refused = _renumbered(admitted.refused, origin)
            if keep_refused is not None and refused:
                keep_refused(head.sequence + 1, refused)
            positions = {**_pushed(batch, admitted.rows.num_rows, head), **batch.positions}
            moved = {part: at for part, at in positions.items() if at != head.positions.get(part, 0)}
            left_out = 0 if repeated is None else batch.rows.num_rows - fresh.rows.num_rows
            if not moved and not admitted.rows.num_rows:
                return Ingested(0, left_out, refused, head.sequence, head.last_us, behind)
            self._store.announce(list(self._current()), start_us)
            at_us = max(self._clock.now_us(), start_us) + 1  # later than any read that saw no announcement
            rows = _logged(admitted.rows, fresh, admitted.index, head, at_us)
            after = self._log.append(head, rows, moved, at_us)
            behind = {**behind, **self._apply(rows, head.sequence, after.sequence, at_us)}
            return Ingested(rows.num_rows, left_out, refused, after.sequence, at_us, behind)

    def catch_up(self) -> Mapping[str, AsofError]:
        """Bring every view up to the log, and return those that could not be, and why."""
        with self._store.exclusive(self._project, self.source.name):
            return self._catch_up(self._log.head())

    def note_checked(self) -> None:
        """Note in the progress of views that they hold all that has arrived by now."""
        with self._store.exclusive(self._project, self.source.name):
            head, now_us = self._log.head(), self._clock.now_us()
            self._catch_up(head, leave=self._stuck)  # a store that lost its newest writes gets them back
            updates = [
                Update(
                    view=key,
                    generation=one.number,
                    entry=head.sequence,
                    keys=none().keys,
                    values=none().values,
                    instant_us=0,
                    progress=replace(progress, checked_at_us=now_us, pending_us=None),
                )
                for key, one in self._current().items()
                if (progress := one.progress) is not None and progress.entry == head.sequence
            ]
            self._store.update(updates)

    def _current(self) -> dict[ViewKey, Generation]:
        """Return the generations that take arrivals, of views and of ids."""
        found = self._store.generations(self._project)
        wanted = {*self._views, self._ids}
        return {key: one for key, one in found.items() if key in wanted and one.progress is not None}

    def _catch_up(self, head: LogHead, leave: frozenset[str] = frozenset()) -> dict[str, AsofError]:
        behind: dict[str, AsofError] = {}
        for _ in range(2 + len(self._views)):
            current = self._current()
            if current and self.source.event_id is not None and self._ids not in current:
                raise self._lost_ids()
            late = {
                key: one.progress.entry
                for key, one in current.items()
                if one.progress is not None
                and one.progress.entry < head.sequence
                and key.view not in behind
                and key.view not in leave
            }
            if not late:
                break
            after = min(late.values())
            for until, rows in self._log.read(after, head.sequence):
                behind |= self._apply(
                    rows, after, until, head.last_us if (at_us := arrived_us(rows)) is None else at_us
                )
                after = until
        self._stuck = leave | behind.keys()
        return behind

    def _lost_ids(self) -> ConflictError:
        """Have the writer opened anew, which works out again what is known of ids; without it rows count twice."""
        self.outdated = True
        return ConflictError(
            f"What is known of the event ids of source {self.source.name!r} is gone from the online store",
            why="The store lost or evicted it",
            fix="Try again: it is worked out anew from the log.",
        )

    def _apply(self, rows: pa.Table, after: int, until: int, at_us: int) -> dict[str, AsofError]:
        """Take the rows of the entries after one and up to another into every view that has come that far."""
        current = self._current()
        ready = {key: one for key, one in current.items() if one.progress is not None and one.progress.entry == after}
        updates: list[Update] = []
        failed: dict[str, AsofError] = {}
        counted, touched = rows, None
        if self._ids in ready:
            keys = key_columns(self.source, self._views.values())
            try:
                found = sort_by_id(self.source, rows, self._get(self._ids), keys)
            except CorruptDataError as error:
                self._store.drop(self._ids)
                raise self._lost_ids() from error
            counted, touched = found.fresh, found.touched
            updates.append(self._update(self._ids, ready.pop(self._ids), until, found.marks, rows, at_us))
        elif self.source.event_id is not None:  # ids are further on, and no longer tell what came before these rows
            counted, touched = rows.slice(0, 0), pc.unique(rows.column(self.source.event_id).combine_chunks())
        for key, generation in ready.items():
            view = self._views[key]
            instant_us = max(at_us, generation.instant_us)
            try:
                by_id = view.kind == "event" and self.source.event_id is not None
                pairs = self._arrivals(key).take_in(counted if by_id else rows, self._get(key), instant_us)
                if by_id and touched is not None:
                    pairs = over(pairs, self._arrivals(key).recount(touched, until, instant_us))
            except AsofError as error:
                failed[view.name] = error
                continue
            updates.append(self._update(key, generation, until, pairs, rows, instant_us))
        self._store.update(updates)
        return failed

    def _update(
        self, key: ViewKey, generation: Generation, until: int, pairs: Pairs, rows: pa.Table, at_us: int
    ) -> Update:
        before = generation.progress
        entry = before.entry if before is not None else 0
        newest = newest_us(rows, self.source)
        if before is not None and before.newest_us is not None:
            newest = before.newest_us if newest is None else max(newest, before.newest_us)
        progress = Progress(entry=until, updated_at_us=at_us, checked_at_us=at_us, newest_us=newest)
        return Update(key, generation.number, entry, pairs.keys, pairs.values, at_us, progress)

    def _get(self, key: ViewKey) -> Callable[[Sequence[bytes]], Sequence[bytes | None]]:
        return lambda keys: self._store.read([(key, keys)])[0].values

    def _arrivals(self, key: ViewKey) -> Arrivals:
        if key not in self._compiled:
            self._compiled[key] = Arrivals(self._views[key], self._scanner, self._threads)
        return self._compiled[key]


def ids_key(project: str, source: SourceSpec) -> ViewKey:
    """Return where the store keeps what is known of the event ids of a source."""
    return ViewKey(project, f"{source.name}#ids", 0)


def _fresh(batch: Batch, head: LogHead) -> tuple[Batch, pa.Array | None]:
    """Return the rows whose position is not in the log yet, and which those are; None: all."""
    if batch.partition is None or batch.position is None:
        return batch, None
    encoded = batch.partition.dictionary_encode()
    ends = pa.array([head.positions.get(part, -1) for part in encoded.dictionary.to_pylist()], pa.int64())
    known = ends.take(encoded.indices)
    fresh = pc.greater_equal(batch.position, known)
    if pc.all(fresh).as_py() is not False:
        return batch, None
    return (
        Batch(batch.rows.filter(fresh), batch.partition.filter(fresh), batch.position.filter(fresh), batch.positions),
        fresh,
    )


def _renumbered(refused: Mapping[int, str], origin: pa.Array | None) -> dict[int, str]:
    return dict(refused) if origin is None else {origin[row].as_py(): why for row, why in refused.items()}


def _pushed(batch: Batch, rows: int, head: LogHead) -> dict[str, int]:
    return {} if batch.partition is not None else {PUSHED: head.positions.get(PUSHED, 0) + rows}


def _logged(rows: pa.Table, batch: Batch, index: pa.Array, head: LogHead, at_us: int) -> pa.Table:
    """Return rows as the log keeps them: with the moment of arrival, their partition and their position."""
    n = rows.num_rows
    if batch.partition is None or batch.position is None:
        start = head.positions.get(PUSHED, 0)
        partition: pa.Array = pa.repeat(pa.scalar(PUSHED), n)
        position: pa.Array = pa.array(range(start, start + n), pa.int64())
    else:
        partition, position = batch.partition.take(index), batch.position.take(index)
    arrived = pa.repeat(pa.scalar(at_us, pa.int64()).cast(pa.timestamp("us", "UTC")), n)
    for name, values in ((ARRIVED_AT, arrived), (PARTITION, partition), (POSITION, position)):
        rows = rows.append_column(name, values)
    return rows


def views_over(views: Iterable[ViewSpec], source: str) -> list[ViewSpec]:
    """Return the view versions that read a stream source."""
    return [view for view in views if view.source.kind == "stream" and view.source.name == source]
