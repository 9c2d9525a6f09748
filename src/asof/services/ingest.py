"""Taking arrivals in: into the log first, then into the values of every view over their source, each row once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from asof import dtypes, tracing
from asof.definitions.streams import ARRIVED_AT, IDS_SUFFIX
from asof.errors import AsofError, CorruptDataError
from asof.interfaces.log import PARTITION, POSITION
from asof.interfaces.online import Progress, Update, ViewKey
from asof.plan.specs import meaning_hash
from asof.plan.streams import earliest_handover_us, stream_of
from asof.services.arrivals import Arrivals, Pairs, arrived_us, key_columns, newest_us, none, over, sort_by_id
from asof.services.door import admit
from asof.services.history import column
from asof.services.letters import compose
from asof.services.log_end import require_log
from asof.services.moved import refuse_marked

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from asof.clock import Clock
    from asof.interfaces.deadletters import SourceDeadLetters
    from asof.interfaces.log import LogHead, OfflineLog, SourceLog
    from asof.interfaces.online import Generation, OnlineStore
    from asof.plan.specs import SourceSpec, ViewSpec
    from asof.services.arrivals import MakeScanner, Sorted
    from asof.services.letters import Undecoded

    KeepRefused = Callable[[LogHead, Mapping[int, str]], int]

PUSHED = "push"
"""The partition of the rows that are pushed; its positions count them."""
_COMPACT_EVERY = 64
"""After so many entries, files of the log are joined."""


@dataclass(frozen=True)
class Batch:
    """Rows that arrive together.

    Attributes:
        rows: In the order of arrival.
        partition: Of each row, and
        position: its position there; None for rows that are pushed.
        positions: Per partition the next position to read after these rows and those that could not be decoded.
        refused: Why some of the rows cannot be taken in, by their position, where that is known already.
        undecoded: The messages that are no rows.
        originals: Gives the bytes that rows were read from, by their positions in the batch. Default: the rows as JSON.
        sent_at_us: int64, when each row was sent, null where that is not known; None where it is known of none.
        counted: The partition of rows that have none, whose positions count them.
    """

    rows: pa.Table
    partition: pa.Array | None = None
    position: pa.Array | None = None
    positions: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)
    undecoded: Sequence[Undecoded] = ()
    originals: Callable[[Sequence[int]], Sequence[bytes | None]] | None = None
    sent_at_us: pa.Int64Array | None = None
    counted: str = PUSHED


@dataclass(frozen=True)
class Ingested:
    """What became of a batch.

    Attributes:
        taken: Rows that are in the log.
        repeated: Rows that were in it already, by their position.
        refused: Why each other row was set apart, by its position in the batch.
        entry: The newest entry of the log.
        at_us: When the rows arrived: from then on they can be known.
        behind: View versions, as "spend@3", that could not take the rows in, and why; they will with the next batch,
            once they can.
        set_apart: Dead letters that the batch left: refused rows, and messages that are no rows.
    """

    taken: int
    repeated: int
    refused: Mapping[int, str]
    entry: int
    at_us: int
    behind: Mapping[str, AsofError] = field(default_factory=dict)
    set_apart: int = 0

    @property
    def readable(self) -> bool:
        """Whether reads of every view that takes arrivals show the rows."""
        return not self.behind


class Ingestor:
    """Takes in the rows of one stream source. Any number of processes may do so: they take turns."""

    def __init__(
        self,
        source: SourceSpec,
        views: Sequence[ViewSpec],
        *,
        log: OfflineLog,
        letters: SourceDeadLetters,
        store: OnlineStore,
        project: str,
        clock: Clock,
        scanner: MakeScanner,
        threads: int,
        unbegun: Mapping[ViewKey, AsofError] | None = None,
        known: Collection[ViewKey] | None = None,
        renew: Callable[[], Ingestor] | None = None,
    ) -> None:
        """Serve a source and the versions of views over it; those that are not in the store are left out.

        Args:
            source: As newly defined; its columns are those of the log.
            views: All versions of views over the source.
            log: Where the rows are kept.
            letters: Where those are kept that cannot be taken in.
            store: Where the values are.
            project: The project's name.
            clock: Says when rows arrive.
            scanner: Makes a scanner that reads frames by the name of their source.
            threads: For the kernel.
            unbegun: Views that are not in the store because they cannot be materialized, and why.
            known: All versions of views over any source; where the store has others that take arrivals, somebody has
                applied since, and
            renew: gives what knows of those.
        """
        self.source = source
        self._views = {ViewKey(project, view.name, view.version): view for view in views}
        self._ids = ids_key(project, source)
        self._meaning = meaning_hash(source)
        self._ids_meaning = ids_meaning(source, views)
        self._handover_us = earliest_handover_us([source, *(view.source for view in views)])
        self._log: SourceLog = log.of(source.name)
        self._letters = letters
        self._store = store
        self._project = project
        self._clock = clock
        self._scanner = scanner
        self._threads = threads
        self._unbegun = dict(unbegun or {})
        self._known = None if known is None else frozenset(known)
        self._renew = renew
        self._outdated = False
        self._compiled: dict[ViewKey, Arrivals] = {}

    @property
    def log(self) -> SourceLog:
        """The source's log."""
        return self._log

    def turn(self) -> AbstractContextManager[None]:
        """Wait until nobody else writes the source, and hold it within the block; not inside another turn."""
        return self._store.exclusive(self._project, self.source.name)

    def take_in(self, batch: Batch, keep_refused: KeepRefused | None = None) -> Ingested:
        """Keep rows in the log, the others as dead letters, and bring every view up to them.

        When this returns the rows are durable, and reads of the views that took them in show them. Rows whose position
        is in the log already are left out, so a batch may be given again.

        Args:
            batch: The rows.
            keep_refused: Called within the turn, before anything is written, with the end of the log and why rows were
                refused, by their position in the batch; returns how many it kept. If that is not 0, an entry of the log
                follows in any case. Default: they become dead letters, in place of those of an earlier try.

        Raises:
            StoreError, StoreFullError: nothing was kept, or all of it: the same batch can be given again.
        """
        with tracing.span("asof.ingest", source=self.source.name, rows=batch.rows.num_rows):
            found = self._take_in(batch, keep_refused)
        if self._outdated and self._renew is not None and (newer := self._renew()) is not self:
            return replace(found, behind=newer.catch_up())
        return found

    def _take_in(self, batch: Batch, keep_refused: KeepRefused | None) -> Ingested:
        with self.turn():
            head = self._log.head()
            behind = self._catch_up(head)
            start_us = max(self._clock.now_us(), head.last_us + 1)
            fresh, repeated = _fresh(batch, head)
            admitted = admit(self.source, fresh.rows, start_us, fresh.refused, handover_us=self._handover_us)
            origin = pc.indices_nonzero(repeated) if repeated is not None else None
            refused = _renumbered(admitted.refused, origin)
            if keep_refused is not None:
                kept = keep_refused(head, refused)
            else:
                undecoded = [one for one in batch.undecoded if one.position >= head.positions.get(one.partition, 0)]
                letters = compose(batch, refused, undecoded, head.sequence + 1, start_us)
                self._letters.keep(head.sequence + 1, letters)
                kept = len(letters)
            positions = {**_pushed(batch, admitted.rows.num_rows, head), **batch.positions}
            moved = {part: at for part, at in positions.items() if at != head.positions.get(part, 0)}
            left_out = 0 if repeated is None else batch.rows.num_rows - fresh.rows.num_rows
            if not moved and not admitted.rows.num_rows and not kept:
                return Ingested(0, left_out, refused, head.sequence, head.last_us, behind)
            current = self._current()
            # After what the views show already, so that reads until then have an instant at which they are exact.
            start_us = max([start_us, *(one.instant_us + 1 for one in current.values())])
            self._store.announce(list(current), start_us)
            at_us = max(self._clock.now_us(), start_us) + 1  # later than any read that saw no announcement
            rows = _logged(admitted.rows, fresh, admitted.index, head, at_us)
            try:
                after = self._log.append(head, rows, moved, at_us)
            except AsofError:
                with suppress(AsofError):  # reads need not wait for what was not kept
                    self._catch_up(self._log.head())
                raise
            behind = {**behind, **self._apply(rows, head.sequence, after.sequence, at_us)}
            if after.sequence % _COMPACT_EVERY == 0:
                with suppress(AsofError):  # the rows are kept and shown; joining files can wait
                    self._log.compact()
            return Ingested(rows.num_rows, left_out, refused, after.sequence, at_us, behind, kept)

    def catch_up(self) -> Mapping[str, AsofError]:
        """Bring every view up to the log, and return those that could not be, and why."""
        with self.turn():
            return self._catch_up(self._log.head())

    def note_checked(self, at_us: int | None = None) -> None:
        """Note in the progress of views that they hold all that had arrived by an instant, if they hold all the log.

        Args:
            at_us: All that had been sent by then is in the log. Default: now.
        """
        with self.turn():
            head = self._log.head()
            self._catch_up(head)
            self._settle(head, self._current(), self._clock.now_us() if at_us is None else at_us)

    def not_begun(self, views: Iterable[ViewSpec]) -> list[ViewSpec]:
        """Return those views that take no arrivals yet, since they were never materialized."""
        begun = self._current()
        return [view for view in views if ViewKey(self._project, view.name, view.version) not in begun]

    def _current(self) -> dict[ViewKey, Generation]:
        """Return the generations that take arrivals, of views and of ids."""
        found = self._store.generations(self._project)
        refuse_marked(self._store, self._project, found)
        if self._known is not None:
            self._outdated = any(
                one.progress is not None and key not in self._known and not key.view.endswith(IDS_SUFFIX)
                for key, one in found.items()
            )
        wanted = {*self._views} if self.source.event_id is None else {*self._views, self._ids}
        return {
            key: one
            for key, one in found.items()
            if key in wanted
            and one.progress is not None
            and (key != self._ids or one.meaning == self._ids_meaning)  # else they are those of another revision
        }

    def _catch_up(self, head: LogHead) -> dict[str, AsofError]:
        current = self._current()
        require_log(self.source.name, head, current)
        behind = {_named(key): error for key, error in self._unbegun.items() if key not in current}
        for _ in range(2 + len(self._views)):
            late = {
                key: one.progress.entry
                for key, one in current.items()
                if one.progress is not None and one.progress.entry < head.sequence and _named(key) not in behind
            }
            if not late:
                break
            after = min(late.values())
            for until, rows in self._log.read(after, head.sequence):
                at_us = head.last_us if (arrived := arrived_us(rows)) is None else arrived
                behind |= self._apply(rows, after, until, at_us, more=until < head.sequence)
                after = until
            current = self._current()
        self._settle(head, current)
        return behind

    def _settle(self, head: LogHead, current: Mapping[ViewKey, Generation], checked_at_us: int | None = None) -> None:
        """Note of the views that hold the whole log that nothing is on its way to them, which its holder knows."""
        updates = []
        for key, one in current.items():
            progress = one.progress
            if progress is None or progress.entry != head.sequence:
                continue
            known_us = progress.checked_at_us
            checked_us = known_us if checked_at_us is None else max(checked_at_us, known_us or checked_at_us)
            settled = replace(progress, checked_at_us=checked_us, pending_us=None)
            if settled != progress:
                nothing = none()
                updates.append(
                    Update(key, one.number, head.sequence, nothing.keys, nothing.values, one.instant_us, settled)
                )
        if updates:
            self._store.update(updates)

    def _apply(self, rows: pa.Table, after: int, until: int, at_us: int, *, more: bool = False) -> dict[str, AsofError]:
        """Take the rows of the entries after one and up to another into every view that has come that far.

        With `more` to come, what is on its way stays so.
        """
        current = self._current()
        ready = {key: one for key, one in current.items() if one.progress is not None and one.progress.entry == after}
        updates: list[Update] = []
        failed: dict[str, AsofError] = {}
        found: Sorted | None = None
        if self._ids in ready:
            keys = key_columns(self.source, self._views.values())
            ids = ready.pop(self._ids)
            try:
                found = sort_by_id(self.source, rows, self._get(self._ids), keys)
                updates.append(self._update(self._ids, ids, until, found.marks, rows, at_us, more=more))
            except CorruptDataError:
                self._store.drop(self._ids)  # until a writer is opened, ids are counted from the log: slow, but right
        for key, generation in ready.items():
            instant_us = max(at_us, generation.instant_us)
            try:
                pairs = self._changed(key, rows, found, until, instant_us)
            except AsofError as error:
                failed[_named(key)] = error
                continue
            updates.append(self._update(key, generation, until, pairs, rows, instant_us, more=more))
        self._store.update(updates)
        return failed

    def _changed(self, key: ViewKey, rows: pa.Table, found: Sorted | None, until: int, instant_us: int) -> Pairs:
        """Return what rows change in a view; `found` says which of them count, where that is known as of before them.

        Where it is not, because what is known of ids is that of another moment or of another version of the source, the
        entities of all their ids are counted anew.
        """
        view, arrivals, get = self._views[key], self._arrivals(key), self._get(key)
        event_id = view.source.event_id
        if view.kind != "event" or event_id is None:
            return arrivals.take_in(rows, get, instant_us)
        if found is None or (view.source != self.source and meaning_hash(view.source) != self._meaning):
            if event_id not in rows.column_names:
                return none()
            return arrivals.recount(pc.unique(column(rows, event_id).drop_null()), until, instant_us)
        pairs = arrivals.take_in(found.fresh, get, instant_us)
        touched = found.repeated if arrivals.computes_keys else found.touched
        return pairs if touched is None else over(pairs, arrivals.recount(touched, until, instant_us))

    def _update(
        self,
        key: ViewKey,
        generation: Generation,
        until: int,
        pairs: Pairs,
        rows: pa.Table,
        at_us: int,
        *,
        more: bool,
    ) -> Update:
        before = generation.progress
        entry = before.entry if before is not None else 0
        newest = newest_us(rows, self.source)
        if before is not None and before.newest_us is not None:
            newest = before.newest_us if newest is None else max(newest, before.newest_us)
        pending = before.pending_us if more and before is not None else None
        due_us = before.due_us if before is not None else None
        checked = at_us
        if before is not None and stream_of(self.source).topic is not None:
            checked = before.checked_at_us or at_us  # others may wait in the topic: whoever reads that knows
        progress = Progress(until, at_us, checked, newest, pending, due_us)
        return Update(key, generation.number, entry, pairs.keys, pairs.values, at_us, progress)

    def _get(self, key: ViewKey) -> Callable[[Sequence[bytes]], Sequence[bytes | None]]:
        return lambda keys: self._store.read([(key, keys)])[0].values

    def _arrivals(self, key: ViewKey) -> Arrivals:
        if key not in self._compiled:
            self._compiled[key] = Arrivals(self._views[key], self._scanner, self._threads)
        return self._compiled[key]


def ids_key(project: str, source: SourceSpec) -> ViewKey:
    """Return where the store keeps what is known of the event ids of a source."""
    return ViewKey(project, f"{source.name}{IDS_SUFFIX}", 0)


def _named(key: ViewKey) -> str:
    return f"{key.view}@{key.version}"


def ids_meaning(source: SourceSpec, views: Iterable[ViewSpec]) -> str:
    """Return what the marks of event ids depend on: the source, the type of its ids, and which columns are keys."""
    dtype = next((one.dtype for one in source.columns if one.name == source.event_id), "")
    return ",".join([meaning_hash(source), dtypes.key_type(dtype) or dtype, *key_columns(source, views)])


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
    refused = {}
    if batch.refused:
        refused = {
            row: batch.refused[before]
            for row, before in enumerate(pc.indices_nonzero(fresh).to_pylist())
            if before in batch.refused
        }
    partition, position = batch.partition.filter(fresh), batch.position.filter(fresh)
    return Batch(batch.rows.filter(fresh), partition, position, batch.positions, refused), fresh


def _renumbered(refused: Mapping[int, str], origin: pa.Array | None) -> dict[int, str]:
    return dict(refused) if origin is None else {origin[row].as_py(): why for row, why in refused.items()}


def _pushed(batch: Batch, rows: int, head: LogHead) -> dict[str, int]:
    return {} if batch.partition is not None else {batch.counted: head.positions.get(batch.counted, 0) + rows}


def _logged(rows: pa.Table, batch: Batch, index: pa.Array, head: LogHead, at_us: int) -> pa.Table:
    """Return rows as the log keeps them: with the moment of arrival, their partition and their position."""
    n = rows.num_rows
    if batch.partition is None or batch.position is None:
        start = head.positions.get(batch.counted, 0)
        partition: pa.Array = pa.repeat(pa.scalar(batch.counted), n)
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
