"""Which objects of a bucket a file source has now, and copies of them on this machine, to be read like files."""

from __future__ import annotations

import glob
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from asof.backends.loading import open_offline
from asof.backends.local.disk import DiskPlace
from asof.backends.local.files import ENDINGS, Files
from asof.errors import AsofError, ConfigError, SourceError, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from asof.interfaces.files import FileItem
    from asof.interfaces.files import Files as Folder
    from asof.plan.specs import SourceSpec


@dataclass(frozen=True)
class BucketFile:
    """An object of a source.

    Attributes:
        url: Its URL.
        folder: What reads it.
        item: What the last list said of it.
        hive: Whether a `key=value` folder below the source's path has it.
    """

    url: str
    folder: Folder
    item: FileItem
    hive: bool = False


def in_bucket(path: str) -> bool:
    """Return whether a source's path is a URL."""
    return "://" in path


def find_objects(root: Path, source: SourceSpec, only: Collection[str] | None = None) -> list[BucketFile]:
    """Return the objects that a source's path means now, sorted by URL: see `find_files`, whose rules hold.

    Raises:
        SourceError: nothing is there, it cannot be listed, or an object is empty (0 bytes).
    """
    path = source.path.rstrip("/")
    with _told(source):
        found = _matches(root, source, path) if glob.has_magic(path) else _named(root, source, path)
    if not found:
        raise SourceError(
            f"Source {source.name!r}: there is no {source.format} file at {source.path}",
            why=f"A prefix means the objects below it ending in {', '.join(ENDINGS[source.format])}",
            fix="Put the files there, or correct path= or format= of the source.",
        )
    kept = sorted((one for one in found if only is None or one.url in only), key=lambda one: one.url)
    for one in kept:
        if one.item.size_bytes == 0:
            raise SourceError(
                f"Source {source.name!r}: file {one.url} is empty (0 bytes)",
                why="Even a file without rows has a header; a writer probably failed",
                fix="Write the file again, or remove it.",
            )
    return kept


def fetched_files(root: Path, source: SourceSpec, only: Collection[str] | None = None) -> Files:
    """Return the copies of a source's objects, each made once as long as the object is the same one.

    Raises:
        SourceError: see `find_objects`; or an object cannot be read.
    """
    found = find_objects(root, source, only)
    with _told(source):
        paths = tuple(str(one.folder.fetch(one.item)) for one in found)
    return Files(paths, any(one.hive for one in found))


def find_object(root: Path, url: str) -> BucketFile | None:
    """Return an object by its URL, None where it is not there.

    Raises:
        StoreError, ConfigError: it cannot be asked for.
    """
    above, _, name = url.rpartition("/")
    folder = _open(root, above)
    item = folder.find(name)
    return None if item is None else BucketFile(url, folder, item)


def renamed(root: Path, source: SourceSpec, error: AsofError) -> AsofError | None:
    """Return an error about copies as one about their objects; None where it is about something else."""
    source = source.stream.history if source.stream is not None and source.stream.history is not None else source
    if source.kind != "file" or not in_bucket(source.path):
        return None
    texts = [error.what, error.why, error.fix]
    try:
        for one in find_objects(root, source):
            texts = [text.replace(str(one.folder.fetch(one.item)), one.url) for text in texts]
    except (AsofError, OSError):
        return None
    return None if texts[0] == error.what else type(error)(texts[0], why=texts[1], fix=texts[2])


@contextmanager
def _told(source: SourceSpec) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(
            f"Source {source.name!r}: a file of {source.path} is gone", why=str(error), fix="Run the command again."
        ) from error
    except (ConfigError, StoreError) as error:
        why = f"{error.what}. {error.why}" if error.why else error.what
        raise SourceError(f"Source {source.name!r}: {source.path} cannot be read", why=why, fix=error.fix) from error


def _open(root: Path, url: str) -> Folder:
    return open_offline(url, root, DiskPlace).files("")


def _named(root: Path, source: SourceSpec, path: str) -> list[BucketFile]:
    """Return one object, or those of the source's format below a prefix."""
    above, _, name = path.rpartition("/")
    in_one = not above.endswith("/")
    first = in_one and name.lower().endswith(ENDINGS[source.format])
    found = find_object(root, path) if first else None
    below = [] if found is not None else _below(_open(root, path), source, hive=False)
    if not below and in_one and not first:  # its name ends otherwise
        found = find_object(root, path)
    return below if found is None else [found]


def _below(folder: Folder, source: SourceSpec, *, hive: bool) -> list[BucketFile]:
    endings = ENDINGS[source.format]
    found = [one for one in _visible(folder, hive=hive) if one.item.name.lower().endswith(endings)]
    for name in folder.folders():
        if not name.startswith("_"):
            found += _below(folder.below(name), source, hive=hive or "=" in name)
    return found


def _matches(root: Path, source: SourceSpec, path: str) -> list[BucketFile]:
    parts = path.split("/")
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    if fixed < len(["s3:", "", "bucket"]):
        raise ConfigError(f"{source.path} names no bucket", fix='Write "s3://bucket/prefix/*.parquet".')
    found = _glob(_open(root, "/".join(parts[:fixed])), parts[fixed:], hive=False)
    return list({one.url: one for one in found}.values())


def _glob(folder: Folder, parts: list[str], *, hive: bool) -> list[BucketFile]:
    head, rest = parts[0], parts[1:]
    if not rest:
        return [one for one in _visible(folder, hive=hive) if head != "**" and fnmatchcase(one.item.name, head)]
    found = _glob(folder, rest, hive=hive) if head == "**" else []
    for name in folder.folders():
        if not name.startswith("_") and fnmatchcase(name, head):
            found += _glob(folder.below(name), parts if head == "**" else rest, hive=hive or "=" in name)
    return found


def _visible(folder: Folder, *, hive: bool) -> list[BucketFile]:
    return [
        BucketFile(folder.place(item.name), folder, item, hive)
        for item in folder.items()
        if not item.name.startswith("_")
    ]
