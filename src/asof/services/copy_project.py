"""Moves a project to other stores while it serves: copies, compares, then in one short turn copies the rest."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from asof.errors import AsofError, ConflictError, CorruptDataError, InputError
from asof.plan.specs import SourceSpec, ViewSpec
from asof.services.catalog import Catalog
from asof.services.copy_files import ComparedFiles, FilesCopy, sizes_of
from asof.services.copy_online import ComparedViews, OnlineCopy, views_of
from asof.services.moved import offline_mark, online_mark, set_offline_mark, set_online_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from asof.interfaces import OfflinePlace, OnlineStore, Registry

    Tell = Callable[[str, int], None]

Role = Literal["registry", "offline", "online"]
ROLES: tuple[Role, ...] = ("registry", "offline", "online")
_ROUNDS = 3


@dataclass(frozen=True)
class Places:
    """The stores of a project.

    Attributes:
        registry: The registry; of a target None, where it is to stay where it is.
        offline: The files; likewise.
        online: The online store; likewise.
        names: What each is called in messages and marks; no passwords.
    """

    registry: Registry | None
    offline: OfflinePlace | None
    online: OnlineStore | None
    names: Mapping[Role, str]

    def roles(self) -> list[Role]:
        """Return which stores there are."""
        return [role for role in ROLES if getattr(self, role) is not None]


@dataclass(frozen=True)
class ComparedRegistry:
    """What a registry holds, that the copy holds, too.

    Attributes:
        revision: The newest one's number.
        rows: Rows of all tables: versions of objects, revisions, runs.
    """

    revision: int
    rows: int


@dataclass(frozen=True)
class Copied:
    """What a copy did; None where a store stays where it is.

    Attributes:
        registry: What was compared of the registry.
        offline: What was compared of the files.
        online: What was compared of the values.
        seconds: For all of it.
        paused_s: How long streams and pushes waited at the end.
        switched: Whether the project's settings name the new stores now.
        variables: Environment variables to be set, where a setting comes from there or holds a password.
    """

    registry: ComparedRegistry | None
    offline: ComparedFiles | None
    online: ComparedViews | None
    seconds: float
    paused_s: float = 0.0
    switched: bool = False
    variables: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Look:
    registry: ComparedRegistry | None
    files: ComparedFiles | None
    values: ComparedViews | None


class ProjectCopy:
    """Copies one project from some stores to others. A copy that was interrupted goes on where it was."""

    def __init__(self, source: Places, target: Places, project: str, tell: Tell | None = None) -> None:
        """Copy those stores that the target has; `tell` is called with what is copied and a count."""
        if source.registry is None or source.online is None:
            raise InputError("A project is copied by what its registry and online store know", fix="Name both.")
        self._registry, self._online = source.registry, source.online
        self._source, self._target = source, target
        self._project = project
        tell = tell or (lambda _name, _count: None)
        self._values = OnlineCopy(self._online, target.online, project, tell) if target.online is not None else None
        self._files = None
        if target.offline is not None and source.offline is not None:
            self._files = FilesCopy(source.offline, target.offline, tell)

    def check(self, *, overwrite: bool = False) -> None:
        """Refuse targets that hold something that this copy did not write, and sources that were moved elsewhere.

        Raises:
            ConflictError: one of them does.
        """
        for role in self._target.roles():
            here, there = self._source.names[role], self._target.names[role]
            if here == there:
                raise InputError(f"The {role} store is {here} already", fix="Name another place for it, or none.")
            mark, own = self._mark(self._source, role), self._mark(self._target, role)
            if mark is not None and mark.startswith(_MOVED) and mark != moved_to(there):
                raise ConflictError(
                    f"The {role} store {here} {mark}", why="What it holds is old", fix="Copy from there."
                )
            if overwrite or own in (copy_of(here), moved_to(here)) or (own is None and self._is_empty(role)):
                continue
            if mark == moved_to(there) and self._is_same(role):
                continue  # who switched was killed before the settings were written
            raise ConflictError(
                f"The {role} store {there} holds something of project {self._project!r} already",
                why=f"It {own}" if own else "This copy did not write it",
                fix="Name another place, or give up what is there with --overwrite.",
            )

    def plan(self) -> Copied:
        """Return what there is to copy, and copy nothing."""
        started = time.perf_counter()
        registry = files = values = None
        if self._target.registry is not None:
            registry = _counted(self._registry)
        if self._files is not None:
            files = self._files.count()
        if self._values is not None:
            views = views_of(self._online, self._project)
            values = ComparedViews(len(views), sum(one.keys for one in views.values()), 0)
        return Copied(registry, files, values, time.perf_counter() - started)

    def run(self, *, overwrite: bool = False, switch: Callable[[], None] | None = None, leave: bool = True) -> Copied:
        """Copy all while it is read and written, then the rest while nobody writes, and compare.

        Args:
            overwrite: Give up what the target holds of the project.
            switch: Called when all is equal, while nobody writes: makes the settings name the target. The stores that
                were left refuse to be written then. Default: nothing is switched, and the copy refuses to be written.
            leave: Whether `switch` means that the source is left; of a backup it is not.

        Raises:
            ConflictError: the target holds something else.
            CorruptDataError: the copy is not equal; nothing was switched.
        """
        started = time.perf_counter()
        self.check(overwrite=overwrite)
        for role in self._target.roles():
            if self._mark(self._target, role) != copy_of(self._source.names[role]):
                self._set_mark(self._target, role, copy_of(self._source.names[role]))
        looks: list[_Look] = []
        for _ in range(_ROUNDS):
            looks.append(self._look(overwrite=overwrite))
            values = looks[-1].values
            if values is None or not values.changed:
                break
        with self._turns():
            paused = time.perf_counter()
            looks.append(self._look(overwrite=overwrite))
            if self._values is not None:
                self._values.require_equal()
            if switch is not None:
                with self._switching(leave=leave):
                    # Applies, batches and views over files wait for nobody; they are refused only from here on.
                    looks.append(self._look(overwrite=overwrite))
                    if self._values is not None:
                        self._values.require_equal()
                    for role in self._target.roles():
                        self._set_mark(self._target, role, None)
                    switch()
            paused_s = time.perf_counter() - paused
        last = looks[-1]
        files, values = last.files, last.values
        if files is not None:
            files = replace(files, changed=sum(one.files.changed for one in looks if one.files))
        if values is not None:
            values = replace(values, changed=sum(one.values.changed for one in looks if one.values))
        done_s = time.perf_counter() - started
        return Copied(last.registry, files, values, done_s, paused_s, switched=switch is not None)

    def _look(self, *, overwrite: bool) -> _Look:
        registry = self._load(overwrite=overwrite) if self._target.registry is not None else None
        files = self._files.look() if self._files is not None else None
        values = self._values.look() if self._values is not None else None
        return _Look(registry, files, values)

    def _load(self, *, overwrite: bool) -> ComparedRegistry:
        target = self._target.registry
        assert target is not None  # noqa: S101 - its callers asked
        content = self._registry.export()
        target.load(content, replace=overwrite)
        if target.export() != content:
            raise CorruptDataError(
                f"The copy of the registry in {self._target.names['registry']} is not what was copied",
                fix="Somebody else wrote to the copy. Copy again.",
            )
        return ComparedRegistry(content.revision, sum(len(rows) for rows in content.tables.values()))

    @contextmanager
    def _turns(self) -> Iterator[None]:
        """Hold all stream sources within the block: nobody takes rows in, or switches in what does."""
        with ExitStack() as held:
            for name in stream_sources(Catalog(self._registry.snapshot())):
                held.enter_context(self._online.exclusive(self._project, name))
            yield

    @contextmanager
    def _switching(self, *, leave: bool) -> Iterator[None]:
        """Mark what is left as moved before the block; if the block fails, put all marks back."""
        roles = self._target.roles()
        before = {role: self._mark(self._source, role) for role in roles}
        try:
            for role in roles if leave else ():
                self._set_mark(self._source, role, moved_to(self._target.names[role]))
            yield
        except BaseException:
            for role in roles:
                with suppress(AsofError):
                    if leave:
                        self._set_mark(self._source, role, before[role])
                    self._set_mark(self._target, role, copy_of(self._source.names[role]))
            raise

    def _mark(self, places: Places, role: Role) -> str | None:
        if role == "registry" and places.registry is not None:
            return places.registry.mark()
        if role == "offline" and places.offline is not None:
            return offline_mark(places.offline)
        return online_mark(places.online, self._project) if places.online is not None else None

    def _set_mark(self, places: Places, role: Role, mark: str | None) -> None:
        if role == "registry" and places.registry is not None:
            places.registry.set_mark(mark)
        elif role == "offline" and places.offline is not None:
            set_offline_mark(places.offline, mark)
        elif places.online is not None:
            set_online_mark(places.online, self._project, mark)

    def _is_empty(self, role: Role) -> bool:
        if role == "registry" and self._target.registry is not None:
            return not self._target.registry.revision() and not self._target.registry.runs(None, 1)
        if role == "offline" and self._target.offline is not None:
            return not sizes_of(self._target.offline)
        return self._target.online is None or not views_of(self._target.online, self._project)

    def _is_same(self, role: Role) -> bool:
        """Return whether nothing was changed in the target since all was copied."""
        if role == "offline" and self._files is not None:
            return self._files.is_same()
        if role == "online" and self._values is not None:
            return self._values.is_same()
        return self._target.registry is None or self._target.registry.export() == self._registry.export()


_MOVED = "was moved to "


def moved_to(name: str) -> str:
    """Return the mark of a store that was left."""
    return _MOVED + name


def copy_of(name: str) -> str:
    """Return the mark of a store that nobody switched to."""
    return f"is a copy of {name} that nobody switched to"


def stream_sources(catalog: Catalog) -> list[str]:
    """Return the names of all stream sources that ever were, sorted."""
    specs = [entry.spec for entry in catalog.entries()]
    found = [spec.source if isinstance(spec, ViewSpec) else spec for spec in specs]
    return sorted({one.name for one in found if isinstance(one, SourceSpec) and one.kind == "stream"})


def _counted(registry: Registry) -> ComparedRegistry:
    content = registry.export()
    return ComparedRegistry(content.revision, sum(len(rows) for rows in content.tables.values()))
