"""Lookups in online reads: a view's keys taken from what was just read, and one more read of the store per step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from asof import _native
from asof.errors import StoreError
from asof.interfaces.online import SnapshotStore
from asof.services.lookups import in_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asof.interfaces import OnlineStore
    from asof.interfaces.online import Generation, Read, ViewKey
    from asof.plan.selection import ViewGroup
    from asof.services.partial import Parts

    Given = Callable[[str, str], list[Any]]
    Decode = Callable[[int, Sequence[bytes | None]], _native.Block]

_T = TypeVar("_T")
_ATTEMPTS = 100  # of two round trips or a few more; between them views that take arrivals may change
_INTEGERS = {"timestamp": pa.int64(), "date": pa.int32()}


@dataclass(frozen=True)
class _Place:
    """Where one join key is: in a column of the request, or in a block."""

    dtype: str
    column: str = ""
    block: int = -1
    pick: _native.AnswerPlan | None = None

    def values(self, blocks: Sequence[_native.Block], given: Given) -> list[Any]:
        """Return the values as keys hold them."""
        if self.pick is None:
            return given(self.column, self.dtype)
        array = self.pick.answer([blocks[self.block]]).to_arrow().column(0)
        found: list[Any] = (array.cast(_INTEGERS[self.dtype]) if self.dtype in _INTEGERS else array).to_pylist()
        return found


@dataclass(frozen=True)
class LookupProgram:
    """The views of one read plan whose join keys are looked up, compiled.

    Attributes:
        places: By position of the view, where its join keys are, in the entity's order.
        steps: The positions of the views that each further read of the store is about.
    """

    places: Mapping[int, tuple[_Place, ...]]
    steps: tuple[tuple[int, ...], ...]

    def follow(
        self,
        parts: Parts,
        views: Sequence[ViewKey],
        generations: Sequence[Generation | None],
        blocks: list[_native.Block],
        given: Given,
        decode: Decode,
    ) -> bool:
        """Read the views whose keys are looked up, step by step, and put their blocks in place.

        Every step also asks for the generations of all other views, which have to be those that the first step saw:
        then all values together are what the store held at one instant, although it may offer no snapshots.

        Args:
            parts: Reads the store, and notes the views that fail; whose keys those hold fail with them.
            views: All views of the read.
            generations: Theirs, in the first read.
            blocks: Theirs; those of views whose keys are looked up are replaced.
            given: Returns the values of a column of the request, from its name and type, as keys hold them.
            decode: Returns the block of a view, from its position and values.

        Returns:
            Whether that succeeded; false where a generation was switched in between two steps.
        """
        for step in self.steps:
            for position in step:
                for place in self.places[position]:
                    if place.block in parts.failed:
                        parts.fail(position, parts.failed[place.block])
            asked = [position for position in step if position not in parts.failed]
            if not asked:
                continue
            keys = {position: self._keys(position, blocks, given) for position in asked}
            reads = parts.read([(view, keys.get(position, ())) for position, view in enumerate(views)], asked)
            for found, generation in zip(reads, generations, strict=True):
                if found is not None and found.generation != generation:
                    return False
            for position in asked:
                if (found := reads[position]) is not None:
                    blocks[position] = decode(position, found.values)
        return True

    def _keys(self, position: int, blocks: Sequence[_native.Block], given: Given) -> list[bytes | None]:
        places = self.places[position]
        columns = [place.values(blocks, given) for place in places]
        return _native.encode_keys_py([place.dtype for place in places], columns)


def compile_lookups(groups: Sequence[ViewGroup]) -> LookupProgram | None:
    """Return how the groups of a read find the join keys that the request does not hold; None where it holds all."""
    blocks = {group.key: position for position, group in enumerate(groups)}
    by_key = {group.key: group for group in groups}
    places: dict[int, tuple[_Place, ...]] = {}
    for group in groups:
        if not group.lookups:
            continue
        found = {key.name: _Place(key.dtype) for key in group.view.entity.join_keys}
        found |= {name: _Place(dtype, column) for name, (column, dtype) in group.asked_keys().items()}
        for name, one in group.lookups:
            features = by_key[one.group].view.features
            pick = _native.AnswerPlan(["view"], [(0, features.index(one.feature), name)])
            found[name] = _Place(found[name].dtype, block=blocks[one.group], pick=pick)
        places[blocks[group.key]] = tuple(found.values())
    steps = tuple(tuple(blocks[group.key] for group in step) for step in in_steps(groups))[1:]
    return LookupProgram(places, steps) if places else None


def settled(store: OnlineStore, begin: Callable[[], Callable[[Read], _T | None]], *, steps: bool) -> _T:
    """Return what a read of the store finds, all of it as of one instant.

    Args:
        store: Several steps are taken in one snapshot where it has snapshots, else until they agree.
        begin: Called before each snapshot; returns the read, which gives None where its steps do not agree.
        steps: Whether there are several.

    Raises:
        StoreError: they did not agree for too long.
    """
    snapshots = store if steps and isinstance(store, SnapshotStore) else None
    for _ in range(_ATTEMPTS):
        fetch = begin()
        found = fetch(store.read) if snapshots is None else snapshots.in_snapshot(fetch)
        if found is not None:
            return found
    raise StoreError(
        "The views of this read changed again and again while it followed its lookups",
        why="All values of an answer are those of one instant, and this store offers no snapshots",
        fix="Read again.",
    )
