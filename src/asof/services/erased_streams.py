"""Erases rows of one stream source: out of its log, and out of every value of every view that they had a part in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from asof.errors import AsofError
from asof.interfaces.log import ENTRY, PARTITION, POSITION
from asof.interfaces.online import ViewKey
from asof.services.arrivals import Arrivals, Pairs, none, over
from asof.services.erased_files import damaged
from asof.services.erased_values import rewrite, stored, without
from asof.services.ingest import ids_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asof.clock import Clock
    from asof.interfaces.files import Files
    from asof.interfaces.log import OfflineLog
    from asof.interfaces.online import Generation, OnlineStore
    from asof.plan.specs import SourceSpec, ViewSpec
    from asof.services.arrivals import MakeScanner
    from asof.services.erased_rows import Wanted


class StreamErasure:
    """The rows of some entities in one source.

    What is to be done is noted before it is begun, so a call after one that was killed finishes it. The log loses its
    rows and nothing else: entries keep their numbers, partitions their positions, so nothing of it is read again.
    """

    def __init__(
        self,
        source: SourceSpec,
        views: Sequence[ViewSpec],
        wanted: Wanted,
        *,
        log: OfflineLog,
        store: OnlineStore,
        project: str,
        clock: Clock,
        scanner: MakeScanner,
        threads: int,
        notes: Files,
    ) -> None:
        """Erase out of `log` and `store`; `views` are all versions over the source, `notes` a folder of our own."""
        self.source = source
        self.problems: list[str] = []
        self._views = {ViewKey(project, view.name, view.version): view for view in views}
        self._wanted = wanted
        self._log = log.of(source.name)
        self._store = store
        self._project = project
        self._clock = clock
        self._scanner = scanner
        self._threads = threads
        self._notes = notes
        self._note = f"{source.name}.arrow"

    def count(self) -> int:
        """Return how many rows of the log are to go, those included that a killed call was about to erase."""
        until = self._log.head().sequence
        noted = _places(self._noted())
        return sum(_sum(self._gone(rows, noted)) for _, rows in self._log.read(0, until)) + self._retractions(until)

    def erase(self) -> int:
        """Erase them, and return how many there were; what is known of event ids is dropped if there were any."""
        with self._store.exclusive(self._project, self.source.name):
            self._notes.tidy()
            head = self._log.head()
            noted = self._noted()
            found = self._found(head.sequence)
            pending = [one for one in (noted, found) if one is not None and one.num_rows]
            if not pending:
                return 0
            rows = pa.concat_tables(pending, promote_options="permissive")
            self._notes.replace(self._note, lambda path: _write(rows, path))
            places = _places(rows)
            self._log.erase(lambda table: self._gone(table, places))
            if self.source.event_id is not None:
                self._store.drop(ids_key(self._project, self.source))
            for key, generation in self._store.generations(self._project).items():
                if key in self._views and generation.progress is not None:
                    self._bring_up(key, generation, rows)
            self._notes.delete([self._note])
        return int(rows.num_rows)

    def _bring_up(self, key: ViewKey, generation: Generation, rows: pa.Table) -> None:
        """Make a view's values what the rows that are left say, of the entities that had some of the others."""
        view = self._views[key]
        until = generation.progress.entry if generation.progress is not None else 0
        arrivals = Arrivals(view, self._scanner, self._threads)
        gone: list[bytes] = []
        changed = none()
        try:
            owners = arrivals.owners(rows)
            if owners is not None:
                theirs = owners.filter(self._wanted.mask(owners, own_names=True))
                gone = arrivals.encoded(theirs).to_pylist()
            if owners is None or owners.num_rows:
                changed = arrivals.rebuilt(owners, until, generation.instant_us)
            event_id = view.source.event_id
            if view.kind == "event" and event_id is not None and event_id in rows.column_names:
                ids = pc.unique(rows.column(event_id).drop_null())
                changed = over(changed, arrivals.recount(ids, until, generation.instant_us))
        except AsofError as error:
            self.problems.append(f"View {view.key} still counts erased rows for other entities: {error}")
        if {name.name for name in view.entity.join_keys} == {*self._wanted.names}:
            gone = list({*gone, *self._encoded(view)})
        if len(changed.keys) or stored(self._store, key, gone):
            rewrite(self._store, key, Pairs(*without(changed, gone)), self._clock.now_us())

    def _encoded(self, view: ViewSpec) -> list[bytes]:
        return self._wanted.encoded([key.name for key in view.entity.join_keys])

    def _gone(self, table: pa.Table, places: pa.Array) -> pa.ChunkedArray:
        return pc.or_(self._wanted.mask(table, own_names=True), pc.is_in(_place(table), places))

    def _found(self, until: int) -> pa.Table | None:
        parts = [rows.filter(self._wanted.mask(rows, own_names=True)) for _, rows in self._log.read(0, until)]
        parts = [rows for rows in parts if rows.num_rows]
        taken_back = self._taken_back(parts, until)
        return pa.concat_tables([*parts, *taken_back], promote_options="permissive") if parts else None

    def _retractions(self, until: int) -> int:
        parts = [rows.filter(self._wanted.mask(rows, own_names=True)) for _, rows in self._log.read(0, until)]
        return sum(rows.num_rows for rows in self._taken_back([rows for rows in parts if rows.num_rows], until))

    def _taken_back(self, parts: Sequence[pa.Table], until: int) -> list[pa.Table]:
        """Return retractions of the erased events that name nobody, and no event that is left."""
        event_id, deleted = self.source.event_id, self.source.deleted
        named = [rows.column(event_id) for rows in parts if event_id in rows.column_names]
        if deleted is None or not named:
            return []
        ids = pc.unique(pa.chunked_array([one for rows in named for one in rows.cast(named[0].type).chunks]))
        found, left = [], []
        for _, rows in self._log.read(0, until):
            if not {event_id, deleted, *self._wanted.names} <= {*rows.column_names}:
                continue
            known = rows.column(event_id).cast(ids.type)
            theirs = pc.and_(pc.is_in(known, ids), pc.invert(self._wanted.mask(rows, own_names=True)))
            gone = rows.column(deleted).fill_null(False)
            left += pc.unique(known.filter(pc.and_(theirs, pc.invert(gone)))).to_pylist()
            nobody = pc.and_(theirs, gone)
            for name in self._wanted.names:
                nobody = pc.and_(nobody, rows.column(name).is_null())
            found.append(rows.filter(nobody))
        kept = pa.array(left, ids.type)
        result = [rows.filter(pc.invert(pc.is_in(rows.column(event_id).cast(ids.type), kept))) for rows in found]
        return [rows for rows in result if rows.num_rows]

    def _noted(self) -> pa.Table | None:
        item = self._notes.find(self._note)
        if item is None:
            return None
        path = self._notes.fetch(item)
        try:
            with path.open("rb") as file:
                return pa.ipc.open_file(file).read_all()
        except (pa.ArrowException, OSError) as error:
            raise damaged(self._notes.place(self._note), error) from error


def _place(rows: pa.Table) -> pa.ChunkedArray:
    """Return what tells every row of a log from all others."""
    parts = [rows.column(ENTRY).cast(pa.string()), rows.column(POSITION).cast(pa.string())]
    return pc.binary_join_element_wise(*parts, rows.column(PARTITION).cast(pa.string()), " ")


def _places(rows: pa.Table | None) -> pa.Array:
    return pa.array([], pa.string()) if rows is None else _place(rows).combine_chunks()


def _sum(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _write(rows: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, rows.schema) as file:
        file.write_table(rows)
