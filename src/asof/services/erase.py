"""Erases what a project holds about some entities, searches for it again, and says what it did not reach and why."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from asof.interfaces.online import ScrubbedStore, ViewKey
from asof.plan.specs import SourceSpec, address_of
from asof.services import erased_files as files
from asof.services.arrivals import Pairs, none
from asof.services.copy_project import stream_sources
from asof.services.erased_rows import view_specs
from asof.services.erased_sets import SetErasure
from asof.services.erased_streams import StreamErasure
from asof.services.erased_values import rewrite, stored, without
from asof.services.event_ids import fill_ids
from asof.services.ingest import views_over
from asof.services.moved import refuse_marked
from asof.services.serving_log import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asof.clock import Clock
    from asof.errors import AsofError
    from asof.interfaces import OfflineLog, OfflinePlace, OnlineStore, Scanner, TableWriter
    from asof.interfaces.deadletters import DeadLetterStore
    from asof.plan.specs import ViewSpec
    from asof.services.arrivals import MakeScanner
    from asof.services.catalog import Catalog
    from asof.services.erased_rows import Wanted
    from asof.services.training_sets import TrainingSets

Kind = Literal["training set", "log", "batch rows", "quarantine", "dead letters", "serving log", "online values"]
Place = tuple[Kind, str]
_NOTES = "erasing"


@dataclass(frozen=True)
class ErasedPlace:
    """One place that was searched.

    Attributes:
        kind: What it is.
        name: A training set, a source, a folder, or a view version.
        before: Rows, letters or values found that are about the entities; of training sets in spine and data.
        after: How many a second search found; of a dry run the same as before.
    """

    kind: Kind
    name: str
    before: int
    after: int

    @property
    def erased(self) -> int:
        """How many are gone."""
        return self.before - self.after


@dataclass(frozen=True)
class Erased:
    """What an erasure did.

    Attributes:
        id: Names it in the audit log, which does not name the keys.
        entity: What the erased ones are.
        entities: How many there were to erase.
        places: Everything that was searched.
        yours: Sources that are not the project's, and so were neither searched nor changed: where they are.
        notes: What else was not reached, or is to be done.
        dry_run: Whether nothing was erased.
    """

    id: str
    entity: str
    entities: int
    places: tuple[ErasedPlace, ...]
    yours: tuple[str, ...]
    notes: tuple[str, ...]
    dry_run: bool

    @property
    def found(self) -> int:
        """How much was found at first."""
        return sum(place.before for place in self.places)

    @property
    def remaining(self) -> int:
        """How much the second search found."""
        return sum(place.after for place in self.places)


@dataclass(frozen=True)
class Project:
    """What an erasure works on."""

    name: str
    catalog: Catalog
    online: OnlineStore
    offline: OfflinePlace
    log: OfflineLog
    letters: DeadLetterStore
    sets: TrainingSets
    writer: TableWriter
    scanner: Scanner
    arrivals: MakeScanner
    clock: Clock
    threads: int
    copies: Path


class Erasure:
    """One erasure. Killed at any moment, it is finished by another one of the same entities."""

    def __init__(self, project: Project, wanted: Wanted) -> None:
        """Prepare to erase `wanted` out of a project.

        Raises:
            MovedError: its online store was moved.
        """
        self._project = project
        self._wanted = wanted
        self._problems: list[str] = []
        self._touched: set[str] = set()
        self._views = {ViewKey(project.name, view.name, view.version): view for view in view_specs(project.catalog)}
        self.id = uuid.uuid4().hex[:16]
        refuse_marked(project.online, project.name, project.online.generations(project.name))

    def run(self, *, dry_run: bool = False) -> Erased:
        """Search, erase, and search again; with `dry_run` only search.

        Raises:
            CorruptDataError: a file cannot be read, so nobody can tell what it holds; it is named.
            StoreError, StoreFullError: a store failed; run it again.
        """
        before = self._search()
        after = before
        if not dry_run:
            self._erase(before)
            after = self._search()
        places = [
            ErasedPlace(kind, name, before.get((kind, name), 0), after.get((kind, name), 0))
            for kind, name in sorted({**before, **after})
        ]
        return Erased(
            self.id,
            self._wanted.entity.name,
            self._wanted.keys.num_rows,
            tuple(places),
            tuple(self._yours()),
            (*self._problems, *self._notes()),
            dry_run,
        )

    def _search(self) -> dict[Place, int]:
        return {place: work(erase=False) for place, work in self._places().items()}

    def _places(self) -> dict[Place, Callable[..., int]]:
        """Return what is searched; each is called with `erase`, counts, and erases if that is true."""
        offline, wanted = self._project.offline, self._wanted
        found: dict[Place, Callable[..., int]] = {}
        for one in self._project.sets.all(_raise):
            found["training set", one.name] = partial(self._in_set, one.name)
        for source in self._streams():
            found["log", source.name] = partial(self._in_log, source)
            found["dead letters", source.name] = partial(self._in_letters, source.name)
        batch = offline.files("batch")
        for folder in batch.folders():
            found["batch rows", folder] = partial(files.in_intervals, batch.below(folder), wanted)
        for name in ("quarantine", "arrivals"):
            found["quarantine", name] = partial(files.in_files, offline.files(name), wanted)
        found["serving log", FOLDER] = partial(files.in_serving_log, offline.shelf(FOLDER), wanted)
        for key in self._project.online.generations(self._project.name):
            view = self._views.get(key)
            if view is not None and {one.name for one in view.entity.join_keys} == {*wanted.names}:
                found["online values", view.key] = partial(self._in_values, key, view)
        return found

    def _erase(self, found: dict[Place, int]) -> None:
        """Erase: first training sets, which note what else is touched, then logs, which find out whom it touches."""
        self._touched = {name for (kind, name), rows in found.items() if rows and kind == "log"}
        self._touched |= {name.partition("@")[0] for (kind, name), n in found.items() if n and kind == "batch rows"}
        every = self._places()
        for first in ("training set", "log"):
            for (kind, _), work in every.items():
                if kind == first:
                    work(erase=True)
        for (kind, _), work in self._places().items():  # views have other generations by now
            if kind not in ("training set", "log"):
                work(erase=True)
        if isinstance(self._project.online, ScrubbedStore):
            self._project.online.scrub()
        self._forget_copies()

    def _in_set(self, name: str, *, erase: bool) -> int:
        shelf = self._project.offline.shelf("training_sets")
        job = SetErasure(self._project.sets.get(name), shelf, self._project.writer, self._wanted)
        if erase:
            job.erase(self._project.clock.now_us(), self._touched)
        return job.count

    def _in_log(self, source: SourceSpec, *, erase: bool) -> int:
        project = self._project
        job = StreamErasure(
            source,
            views_over(self._views.values(), source.name),
            self._wanted,
            log=project.log,
            store=project.online,
            project=project.name,
            clock=project.clock,
            scanner=project.arrivals,
            threads=project.threads,
            notes=project.offline.files(_NOTES),
        )
        if not erase:
            return job.count()
        found = job.erase()
        if found:
            self._fill_ids(source)
        self._problems += job.problems
        return found

    def _streams(self) -> list[SourceSpec]:
        """Return every stream source that ever was, as it was defined last."""
        specs = {view.source.name: view.source for view in self._views.values()}
        specs |= {
            entry.spec.name: entry.spec
            for entry in self._project.catalog.entries("source")
            if isinstance(entry.spec, SourceSpec) and entry.newest
        }
        return [specs[name] for name in stream_sources(self._project.catalog)]

    def _fill_ids(self, source: SourceSpec) -> None:
        project = self._project
        fill_ids(
            source,
            views_over(self._views.values(), source.name),
            scanner=project.scanner,
            log=project.log,
            store=project.online,
            project=project.name,
            clock=project.clock,
        )

    def _in_letters(self, source: str, *, erase: bool) -> int:
        project = self._project
        letters = project.letters.of(source)
        if not erase:
            return files.in_letters(letters, project.log.of(source).head().sequence, self._wanted, erase=False)
        with project.online.exclusive(project.name, source):
            return files.in_letters(letters, project.log.of(source).head().sequence, self._wanted, erase=True)

    def _in_values(self, key: ViewKey, view: ViewSpec, *, erase: bool) -> int:
        encoded = self._wanted.encoded([one.name for one in view.entity.join_keys])
        found = stored(self._project.online, key, encoded)
        if not found or not erase:
            return found
        changed = Pairs(*without(none(), encoded))
        if view.source.kind == "stream":
            with self._project.online.exclusive(self._project.name, view.source.name):
                rewrite(self._project.online, key, changed, self._project.clock.now_us())
        else:
            rewrite(self._project.online, key, changed)
        return found

    def _forget_copies(self) -> None:
        """Delete the copies of objects on this machine's disk; whoever needs one fetches it again."""
        for folder in self._project.copies.glob("[!.]*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _yours(self) -> list[str]:
        """Return the sources that hold rows of the entities, for all we know, and are their owner's."""
        sources = {source.name: source for source in self._project.catalog.sources()}
        sources |= {view.source.name: view.source for view in self._views.values()}
        found = []
        for source in _with_inputs(list(sources.values())):
            if source.kind == "stream":
                if source.stream is not None and source.stream.topic is not None:
                    found.append(f"topic {source.stream.topic} of source {source.name}")
            elif source.kind not in ("batch", "frame"):
                found.append(f"{source.kind} {address_of(source)} of source {source.name}")
        return sorted({*found})

    def _notes(self) -> list[str]:
        """Return what was not reached."""
        wanted = {*self._wanted.names}
        notes = []
        for view in self._views.values():
            keys = {one.name for one in view.entity.join_keys}
            columns = {one.name for one in view.source.columns}
            if wanted <= keys and view.source.kind == "stream" and not wanted <= columns:
                notes.append(
                    f"View {view.key} computes its join keys: rows of {view.source.name} without the columns "
                    f"{', '.join(sorted(wanted))} were not searched."
                )
            elif view.source.kind != "stream" and wanted <= columns | keys and wanted != keys:
                notes.append(
                    f"View {view.key} is of entity {view.entity.name}: its values show the rows until they are gone "
                    f"from {view.source.name}, and `asof materialize {view.name}` has run."
                )
        if self._yours():
            notes.append(
                "What is yours was not touched. A materialize, a backfill or a training set made from it brings the "
                "rows back: erase them there first, then run this again."
            )
        notes.append(
            "Backups and copies of the project, and what servers keep beside their data (append-only files, "
            "write-ahead logs, snapshots), were not reached."
        )
        return list(dict.fromkeys(notes))


def _with_inputs(sources: list[SourceSpec]) -> list[SourceSpec]:
    """Return sources, what batch sources read, and the histories of stream sources."""
    found = []
    left = sources
    while left:
        one = left.pop()
        found.append(one)
        left += one.batch.inputs if one.batch is not None else ()
        left += [one.stream.history] if one.stream is not None and one.stream.history is not None else []
    return found


def _raise(_name: str, error: AsofError) -> None:
    raise error
