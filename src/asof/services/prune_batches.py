"""Which published rows of batch sources nothing reads any more, and which of them training sets were made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.plan.batch import in_order
from asof.plan.specs import place_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asof.errors import AsofError
    from asof.interfaces.folders import FolderList
    from asof.plan.specs import SourceSpec
    from asof.services.training_sets import TrainingSets

_PREFIX = "batch:"


@dataclass(frozen=True)
class PublishedRows:
    """All that a batch source published with one meaning.

    Attributes:
        folder: What holds it: the source's name and its meaning, as "daily@0123456789abcdef".
        intervals: How many are there.
        size_bytes: What they take on disk.
        why: Why it can go, or has to stay.
    """

    folder: str
    intervals: int
    size_bytes: int
    why: str


def unused_rows(
    published: FolderList, used: Iterable[SourceSpec], training_sets: TrainingSets
) -> tuple[list[PublishedRows], list[PublishedRows]]:
    """Return what can go, and what nothing in the registry reads and has to stay, each by folder.

    Args:
        published: A folder per batch source and meaning.
        used: Sources that something reads; their inputs are used too.
        training_sets: What they were made of stays, so that they can be rebuilt. Where a manifest cannot be read, all
            stays.
    """
    needed = {_folder(source) for source in in_order(used)}
    unused = [name for name in published.names() if name not in needed]
    if not unused:
        return [], []
    damaged: list[str] = []

    def note(name: str, _error: AsofError) -> None:
        damaged.append(name)

    makers: dict[str, list[str]] = {}
    for found in training_sets.all(note):
        for one in found.manifest.inputs:
            makers.setdefault(one.path.removeprefix(_PREFIX), []).append(found.name)
    gone, kept = [], []
    for name in unused:
        if name in makers:
            kept.append(_rows(published, name, f"training set {', '.join(makers[name])} was made of it"))
        elif damaged:
            why = f"the manifest of training set {', '.join(damaged)} is damaged, and may name it"
            kept.append(_rows(published, name, why))
        else:
            gone.append(_rows(published, name, "nothing in the registry reads it"))
    return gone, kept


def _folder(source: SourceSpec) -> str:
    return place_of(source).removeprefix(_PREFIX)


def _rows(published: FolderList, name: str, why: str) -> PublishedRows:
    sizes = published.sizes(name)
    return PublishedRows(name, len(sizes), sum(sizes), why)
