"""Records what a source consists of: files and their hashes, the version of a table, the end of a log."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from asof.backends.local import buckets, delta, elsewhere, tables_elsewhere
from asof.backends.local.disk import as_files
from asof.backends.local.faults import translated
from asof.backends.local.files import find_files
from asof.backends.local.log import LocalLog, arrivals_hash
from asof.backends.local.published import interval_items
from asof.errors import ConfigError, CorruptDataError, SourceError, StoreError, UnsupportedOperationError
from asof.interfaces.inputs import FileInput, SourceInput
from asof.plan.specs import place_of
from asof.plan.streams import stream_of

if TYPE_CHECKING:
    from asof.interfaces.files import FileItem, Files
    from asof.plan.specs import SourceSpec

_BATCH = "batch:"


class LocalInputs:
    """Files on this machine, those of batch sources too, and tables wherever they are."""

    def __init__(self, root: Path, published: Path | Files) -> None:
        """Read relative paths from `root`, the files of batch sources from `published`, logs from beside it."""
        self._root = root.absolute()
        self._published = as_files(published.absolute() if isinstance(published, Path) else published)
        self._logs = LocalLog(self._published.beside("log"))

    def record(self, source: SourceSpec, *, until_us: int | None = None) -> SourceInput:
        """Return what a source consists of now; every byte of its files is read for the hashes.

        Args:
            source: The source.
            until_us: No row that happens or gets known later can matter. Of PostgreSQL, such rows are left out.
        """
        if source.kind == "frame":
            raise UnsupportedOperationError(
                f"Source {source.name!r} is a frame in memory, which no manifest can point to",
                fix="Write its rows to a file and use FileSource.",
            )
        if source.kind == "delta":
            found = delta.identify(self._root, source.name, source.path, source.table_version)
            return SourceInput(
                name=source.name,
                kind="delta",
                path=source.path,
                table_version=found.version,
                newest=source.table_version is None,
                table_id=found.table_id,
            )
        if source.kind == "stream":
            return self._stream(source, until_us)
        if source.kind in elsewhere.KINDS:
            return tables_elsewhere.record(self._root, source, until_us)
        with translated(source.name):
            if source.kind == "batch":
                files = tuple(self._item(at, item) for at, item in interval_items(self._published, source))
            elif buckets.in_bucket(source.path):
                objects = buckets.find_objects(self._root, source)
                files = tuple(self._item(one.folder, one.item) for one in objects)
            else:
                files = tuple(self._file(Path(path)) for path in find_files(self._root, source).paths)
        return SourceInput(name=source.name, kind="file", path=place_of(source), files=files)

    def problems(self, recorded: SourceInput, *, quick: bool = False) -> list[str]:
        """Return in words every part of a recorded source that is gone or has other content; none if all is the same.

        Args:
            recorded: What `record` returned.
            quick: Compare sizes and times of writing only, instead of every byte.
        """
        if recorded.kind == "stream":
            found = [text for one in recorded.history for text in self.problems(one, quick=quick)]
            return found if quick else [*found, *self._log_problems(recorded)]
        if recorded.kind in elsewhere.KINDS:
            return tables_elsewhere.problems(self._root, recorded, quick=quick)
        if recorded.kind == "delta":
            return [] if quick else self._delta_problems(recorded)
        if recorded.path.startswith(_BATCH):
            place = self._published.below(recorded.path.removeprefix(_BATCH))
            files = (_item_problem(place, file, quick=quick) for file in recorded.files)
        else:
            files = (self._file_problem(file, quick=quick) for file in recorded.files)
        return [f"source {recorded.name}: {problem}" for problem in files if problem]

    def _stream(self, source: SourceSpec, until_us: int | None) -> SourceInput:
        past = stream_of(source).history
        log = self._logs.of(source.name)
        entry = log.head().sequence
        rows, rows_hash = arrivals_hash(log, entry)
        return SourceInput(
            name=source.name,
            kind="stream",
            path=place_of(source),
            entry=entry,
            rows=rows,
            rows_hash=rows_hash,
            history=() if past is None else (self.record(past, until_us=until_us),),
        )

    def _log_problems(self, recorded: SourceInput) -> list[str]:
        log = self._logs.of(recorded.name)
        place = f"source {recorded.name}: its log"
        try:
            end = log.head().sequence
            if end < recorded.entry:
                return [f"{place} ends at entry {end}, before entry {recorded.entry} that was read"]
            rows, rows_hash = arrivals_hash(log, recorded.entry)
        except (CorruptDataError, StoreError) as error:
            return [f"{place} cannot be read ({error.what})"]
        if rows != recorded.rows:
            return [f"{place} has {rows} rows up to entry {recorded.entry} instead of {recorded.rows}"]
        return [] if rows_hash == recorded.rows_hash else [f"{place} has other rows up to entry {recorded.entry}"]

    def _file(self, path: Path) -> FileInput:
        status = path.stat()
        below = path.is_relative_to(self._root)
        return FileInput(
            path=str(path.relative_to(self._root) if below else path),
            size_bytes=status.st_size,
            modified_ns=status.st_mtime_ns,
            sha256=_sha256(path),
        )

    def _item(self, place: Files, item: FileItem) -> FileInput:
        path = Path(place.place(item.name))
        below = path.is_relative_to(self._root)
        return FileInput(
            path=str(path.relative_to(self._root)) if below else place.place(item.name),
            size_bytes=item.size_bytes,
            modified_ns=item.modified_ns,
            sha256=_sha256(place.fetch(item)),
            tag=item.tag if buckets.in_bucket(place.place()) else "",
        )

    def _file_problem(self, file: FileInput, *, quick: bool) -> str:
        if buckets.in_bucket(file.path):
            return _object_problem(self._root, file, quick=quick)
        path = self._root / file.path
        try:
            if not path.exists():  # of a batch source; the offline store was moved since
                path = self._moved(path)
            status = path.stat()
            if status.st_size != file.size_bytes:
                return f"file {file.path} changed: it has {status.st_size} bytes instead of {file.size_bytes}"
            if status.st_mtime_ns != file.modified_ns if quick else _sha256(path) != file.sha256:
                return f"file {file.path} changed"
        except FileNotFoundError:
            return f"file {file.path} is gone"
        except OSError as error:
            return f"file {file.path} cannot be read: {error.strerror}"
        return ""

    def _moved(self, path: Path) -> Path:
        place = self._published.below(path.parent.name)
        item = place.find(path.name)
        return path if item is None else place.fetch(item)

    def _delta_problems(self, recorded: SourceInput) -> list[str]:
        place = f"source {recorded.name}: Delta table {recorded.path}"
        try:
            found = delta.identify(self._root, recorded.name, recorded.path, recorded.table_version)
        except SourceError as error:
            return [f"{place}, version {recorded.table_version} is gone ({error.why})"]
        if found.table_id != recorded.table_id:
            return [f"{place} was replaced by another table"]
        if found.missing:
            return [f"{place}, version {recorded.table_version} was vacuumed: file {found.missing[0]} is gone"]
        return []


def _object_problem(root: Path, file: FileInput, *, quick: bool) -> str:
    try:
        found = buckets.find_object(root, file.path)
    except (ConfigError, StoreError) as error:
        return f"file {file.path} cannot be read: {error}"
    return f"file {file.path} is gone" if found is None else _item_problem(found.folder, file, quick=quick)


def _item_problem(place: Files, file: FileInput, *, quick: bool) -> str:
    try:
        item = place.find(file.path.rpartition("/")[2])
        if item is None:
            return f"file {file.path} is gone"
        if item.size_bytes != file.size_bytes:
            return f"file {file.path} changed: it has {item.size_bytes} bytes instead of {file.size_bytes}"
        same = item.tag == file.tag if file.tag else item.modified_ns == file.modified_ns
        if not same if quick else _sha256(place.fetch(item)) != file.sha256:
            return f"file {file.path} changed"
    except FileNotFoundError:
        return f"file {file.path} is gone"
    except (OSError, StoreError) as error:
        return f"file {file.path} cannot be read: {error}"
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
