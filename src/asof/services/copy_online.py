"""Copies the values of a project from one online store to another, while they change, and compares every byte."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from asof.errors import ConflictError, CorruptDataError, StoreError
from asof.interfaces.online import Update, ViewKey
from asof.services.workers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.interfaces.online import Generation, OnlineStore

    Tell = Callable[[str, int], None]

_TRIES = 20
_CHANGES = 2000


@dataclass(frozen=True)
class ComparedViews:
    """What one look at all views found.

    Attributes:
        views: How many view versions there are, what ids are known by included.
        keys: Keys whose values were compared, byte by byte; those of views that had not changed since the last look
            are counted and not compared again.
        changed: Keys that were written because they differed.
    """

    views: int
    keys: int
    changed: int


class OnlineCopy:
    """Copies between two stores. Only this may write to the target."""

    def __init__(self, source: OnlineStore, target: OnlineStore, project: str, tell: Tell) -> None:
        """Copy one project; `tell` is called with a view and the keys that were looked at."""
        self._source = source
        self._target = target
        self._project = project
        self._tell = tell
        self._equal: dict[ViewKey, tuple[int, int | None]] = {}

    def look(self) -> ComparedViews:
        """Make the target hold what the source holds, view by view, and compare it.

        What is written to the source meanwhile may be missed, until the next look. One that nothing is written beside
        leaves both equal, in values, instants and progress.

        Raises:
            StoreError: the views kept being replaced meanwhile.
        """
        theirs = views_of(self._source, self._project)
        for key in views_of(self._target, self._project):
            if key not in theirs:
                self._target.drop(key)
        keys = changed = 0
        for view in sorted(theirs, key=lambda one: (one.view, one.version)):
            compared, differed = self._settle(view)
            keys, changed = keys + compared, changed + differed
        return ComparedViews(len(theirs), keys, changed)

    def require_equal(self) -> None:
        """Check that what the stores say of all views is the same.

        Raises:
            CorruptDataError: it is not.
        """
        theirs, ours = views_of(self._source, self._project), views_of(self._target, self._project)
        for view in sorted({*theirs, *ours}, key=lambda one: (one.view, one.version)):
            one, other = theirs.get(view), ours.get(view)
            if _shown(one) != _shown(other):
                raise CorruptDataError(
                    f"View {view.view}@{view.version} of the copy is not what was copied",
                    why=f"There it is {other}, here {one}",
                    fix="Somebody else wrote to the copy, or materialized meanwhile. Copy again.",
                )

    def is_same(self) -> bool:
        """Return whether the stores say the same of all views; values are not compared."""
        try:
            self.require_equal()
        except CorruptDataError:
            return False
        return True

    def _settle(self, view: ViewKey) -> tuple[int, int]:
        for _ in range(_TRIES):
            now = views_of(self._source, self._project).get(view)
            if now is None:  # dropped meanwhile
                self._target.drop(view)
                return 0, 0
            try:
                return self._one(view, now)
            except ConflictError:
                continue
        raise StoreError(f"View {view.view}@{view.version} kept being replaced while it was copied", fix="Try again.")

    def _one(self, view: ViewKey, now: Generation) -> tuple[int, int]:
        have = views_of(self._target, self._project).get(view)
        if have is None or not _same_generation(have, now):
            self._write(view, now, have)
            have = views_of(self._target, self._project)[view]
            self._equal.pop(view, None)
        state = now.number, None if now.progress is None else now.progress.entry
        if self._equal.get(view) == state:
            self._move_on(view, now, have)
            return now.keys, 0
        changed = 0
        keys: list[bytes] = []
        values: list[bytes | None] = []
        compared = lacking = 0
        for found, new in self._source.scan(view):
            listed = found.to_pylist()
            [there] = self._target.read([(view, listed)])
            compared += len(listed)
            self._tell(view.view, compared)
            for key, value, other in zip(listed, new.to_pylist(), there.values, strict=True):
                lacking += other is None
                if value != other:
                    keys.append(key)
                    values.append(value)
        if have.keys + lacking > compared:  # the copy has keys that were forgotten here
            for key in self._gone(view):
                keys.append(key)
                values.append(None)
        if keys and now.progress is None:  # such a view changes as a whole only, so this was not written by us
            self._write(view, now, have)
            have, changed = views_of(self._target, self._project)[view], len(keys)
        elif keys:
            changed = len(keys)
            self._update(view, have, keys, values)
        self._move_on(view, now, have)
        after = views_of(self._source, self._project).get(view)
        if after is not None and (after.number, after.progress and after.progress.entry) == state:
            self._equal[view] = state
        return compared, changed

    def _gone(self, view: ViewKey) -> Iterator[bytes]:
        for keys, _ in self._target.scan(view):
            listed = keys.to_pylist()
            [here] = self._source.read([(view, listed)])
            yield from (key for key, value in zip(listed, here.values, strict=True) if value is None)

    def _write(self, view: ViewKey, now: Generation, have: Generation | None) -> None:
        if have is not None and have.instant_us > now.instant_us:
            self._target.drop(view)
        with self._target.write(view) as writer:
            copied = 0
            for keys, values in self._source.scan(view):
                writer.put(keys, values)
                copied += len(keys)
                self._tell(view.view, copied)
            writer.commit(now.instant_us, now.written_at_us, now.meaning, now.progress)

    def _update(self, view: ViewKey, have: Generation, keys: list[bytes], values: list[bytes | None]) -> None:
        progress = have.progress
        assert progress is not None  # noqa: S101 - else it is written as a whole
        for start in range(0, len(keys), _CHANGES):
            part = slice(start, start + _CHANGES)
            new, old = pa.array(values[part], pa.binary()), pa.array(keys[part], pa.binary())
            self._target.update([Update(view, have.number, progress.entry, old, new, have.instant_us, progress)])
            [there] = self._target.read([(view, keys[part])])
            if list(there.values) != values[part]:
                raise CorruptDataError(
                    f"Values of view {view.view}@{view.version} of the copy are not what was written",
                    fix="Somebody else wrote to the copy. Copy again.",
                )

    def _move_on(self, view: ViewKey, now: Generation, have: Generation) -> None:
        if now.progress is None or have.progress is None:
            return
        if (now.progress, now.instant_us) != (have.progress, have.instant_us):
            nothing = pa.array([], pa.binary())
            entry = have.progress.entry
            self._target.update([Update(view, have.number, entry, nothing, nothing, now.instant_us, now.progress)])


def views_of(store: OnlineStore, project: str) -> dict[ViewKey, Generation]:
    """Return what is copied of a store: its view versions and what ids are known by; not marks and workers' records."""
    return {
        view: one
        for view, one in store.generations(project).items()
        if not view.view.startswith("#") and not view.view.endswith(WORKERS)
    }


def _same_generation(have: Generation, now: Generation) -> bool:
    same = (have.meaning, have.written_at_us) == (now.meaning, now.written_at_us)
    return same and have.instant_us <= now.instant_us and (have.progress is None) == (now.progress is None)


def _shown(one: Generation | None) -> Generation | None:
    return one and replace(one, number=0)  # numbers count what each store was given
