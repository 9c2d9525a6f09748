"""Where batch sources publish: a directory per meaning with a Parquet file per interval."""

from __future__ import annotations

import hashlib
import warnings
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from asof.backends.local import buckets, delta, elsewhere
from asof.backends.local.files import Files, find_files
from asof.backends.local.log import LocalLog
from asof.clock import from_us, iso, to_us
from asof.errors import MissingIntervalsWarning, NotBackfilledError
from asof.plan.batch import batch_of, intervals
from asof.plan.specs import meaning_hash

if TYPE_CHECKING:
    from collections.abc import Collection

    from asof.interfaces.files import FileItem
    from asof.interfaces.files import Files as Folder
    from asof.plan.specs import SourceSpec

_SUFFIX = ".parquet"
_SHOWN = 3


class PublishedFolders:
    """A `FolderList` of what batch sources published, a folder per source and meaning."""

    def __init__(self, root: Folder) -> None:
        """List the folders below `root`."""
        self._root = root

    def names(self) -> list[str]:
        """Return the names of the folders, sorted."""
        return self._root.folders()

    def sizes(self, name: str) -> list[int]:
        """Return how long the files of a folder are that hold rows."""
        return [item.size_bytes for item in _intervals(self._root.below(name)).values()]

    def remove(self, name: str) -> None:
        """Delete a folder."""
        self._root.remove_folder(name)


def folder(root: Folder, source: SourceSpec) -> Folder:
    """Return the folder of a batch source below `root`; another meaning has another one."""
    return root.below(f"{source.name}@{meaning_hash(source)[:16]}")


def interval_name(start_us: int) -> str:
    """Return the name of the file of the interval that starts then."""
    at = from_us(start_us)
    name = at.strftime("%Y%m%dT%H%M%S") + (f".{at.microsecond:06}" if at.microsecond else "")
    return f"{name}Z{_SUFFIX}"


def starts(root: Folder, source: SourceSpec) -> list[int]:
    """Return the starts of the published intervals, sorted, in microseconds."""
    return sorted(_intervals(folder(root, source)))


def _intervals(place: Folder) -> dict[int, FileItem]:
    return {
        to_us(datetime.fromisoformat(item.name.removesuffix(_SUFFIX))): item
        for item in place.items()
        if item.name[0].isdigit() and item.name.endswith(f"Z{_SUFFIX}")
    }


def interval_items(
    root: Folder, source: SourceSpec, only: Collection[str] | None = None
) -> list[tuple[Folder, FileItem]]:
    """Return the files of a batch source by interval, and warn of intervals that are missing between them.

    With `only`, files whose names are not those of a path in it are as good as absent.

    Raises:
        NotBackfilledError: no interval was run.
    """
    place = folder(root, source)
    wanted = None if only is None else {path.rpartition("/")[2] for path in only}
    found = {us: item for us, item in _intervals(place).items() if wanted is None or item.name in wanted}
    done = sorted(found)
    if not done:
        raise NotBackfilledError(
            f"Batch source {source.name!r} has no rows yet",
            why="No interval was run with its present definition",
            fix=f"Run `asof backfill {source.name} --start … --end …`.",
        )
    known = set(done)
    gone = [one for one in intervals(batch_of(source), done[0], done[-1]) if one.start_us not in known]
    if gone:
        shown = ", ".join(iso(one.start_us) for one in gone[:_SHOWN]) + (", …" if len(gone) > _SHOWN else "")
        end = iso(gone[-1].end_us)
        warnings.warn(
            f"Batch source {source.name!r} lacks {len(gone)} intervals between those that were run: {shown}. "
            f"Run `asof backfill {source.name} --start {iso(gone[0].start_us)} --end {end}`.",
            MissingIntervalsWarning,
            stacklevel=2,
        )
    return [(place, found[us]) for us in done]


def published_files(root: Folder, source: SourceSpec, only: Collection[str] | None = None) -> Files:
    """Return the files of a batch source by interval, on this machine; see `interval_items`."""
    return Files(tuple(str(place.fetch(item)) for place, item in interval_items(root, source, only)), hive=False)


def version(root: Path, published: Folder, source: SourceSpec) -> str:
    """Return what a source holds now, in words.

    That is a Delta table's version, an Iceberg table's snapshot, a hash of PostgreSQL's rows, the end of a stream's
    log (and what its history holds), else how many files there are and their fingerprint.
    """
    if source.stream is not None:
        log = LocalLog(published.beside("log")).of(source.name)
        past = source.stream.history
        return f"entry {log.head().sequence}" + ("" if past is None else f" after {version(root, published, past)}")
    if source.kind == "delta":
        return f"version {delta.table_version(root, source)}"
    if source.kind in elsewhere.KINDS:
        return elsewhere.version(root, source)
    if source.kind == "batch":
        found = [(at.place(i.name), i.size_bytes, f"{i.modified_ns}") for at, i in interval_items(published, source)]
    elif buckets.in_bucket(source.path):
        found = [(one.url, one.item.size_bytes, one.item.tag) for one in buckets.find_objects(root, source)]
    else:
        stats = [(path, Path(path).stat()) for path in find_files(root, source).paths]
        found = [(path, stat.st_size, f"{stat.st_mtime_ns}") for path, stat in stats]
    digest = hashlib.sha256()
    for path, size, mark in found:
        digest.update(f"{path}\0{size}\0{mark}\n".encode())
    return f"{len(found)} {'file' if len(found) == 1 else 'files'} {digest.hexdigest()[:12]}"
