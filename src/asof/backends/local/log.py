"""The offline log in files: a Parquet file per append, joined into larger ones later, never changed."""

from __future__ import annotations

import hashlib
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asof.backends.local.disk import as_files
from asof.definitions.streams import ARRIVED_AT
from asof.errors import ConflictError, CorruptDataError, StoreError
from asof.interfaces.log import ENTRY, PARTITION, POSITION, LogHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from asof.interfaces.files import FileItem, Files

_SUFFIX = ".parquet"
_META = b"asof.log"
JOIN_FILES = 64
"""How many files of about one size are joined into one."""
_JOIN_BYTES = 128 * 2**20
_READ_BYTES = 64 * 2**20
_GRACE_S = 3600.0
_LISTINGS = 3
_REMOVED, _JOINING = ".removed", ".joining"


class _Meta(msgspec.Struct, frozen=True):
    positions: dict[str, int]
    last_us: int
    rows: int
    began: dict[str, tuple[int, int]] = {}
    writer: str = ""


@dataclass(frozen=True)
class Segment:
    """A file of a log, with the entries that it holds."""

    files: Files
    item: FileItem
    first: int
    last: int

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.item.name

    @property
    def place(self) -> str:
        """The path or URL of the file."""
        return self.files.place(self.name)

    @property
    def path(self) -> Path:
        """A path that has its bytes.

        Raises:
            FileNotFoundError: it was deleted meanwhile.
        """
        return self.files.fetch(self.item)

    @property
    def level(self) -> int:
        """How often entries were joined to make it, about: single ones 0, joined ones 1, joined joined ones 2."""
        level, entries = 0, self.last - self.first + 1
        while entries >= JOIN_FILES:
            level, entries = level + 1, entries // JOIN_FILES
        return level


class LocalLog:
    """An `OfflineLog` below a folder, a folder per source."""

    def __init__(self, place: Path | Files) -> None:
        """Keep logs below `place`."""
        self._files = as_files(place)

    def of(self, source: str) -> LocalSourceLog:
        """Return the log of a source; one that nothing was appended to is empty."""
        return LocalSourceLog(folder(self._files, source), source)


class LocalSourceLog:
    """A `SourceLog` in a folder. Safe with several processes: of two appends after one end, one is refused."""

    def __init__(self, files: Files, source: str) -> None:
        """Keep the log in a folder, which the first append makes."""
        self._files = files
        self._source = source
        self._head = LogHead()
        self._name: str | None = None
        self._seen: str | None = None

    def head(self) -> LogHead:
        """Return where the log ends now."""
        if self._name is not None and self._files.find(self._name):  # then only what follows has to be looked for
            known = self._head.sequence
            newest = None
            while found := self._files.find(_name(known + 1, known + 1)):
                known += 1
                newest = found
            if self._removed() == self._seen:  # else what follows may be in larger files only
                if newest is not None:
                    self._head = self._read_head(Segment(self._files, newest, known, known))
                    self._name = newest.name
                return self._head
        self._seen = self._removed()
        held = segments(self._files)
        if not held:
            self._head, self._name = LogHead(), None
            return self._head
        self._head, self._name = self._read_head(held[-1]), held[-1].name
        return self._head

    def append(self, after: LogHead, rows: pa.Table, positions: Mapping[str, int], at_us: int) -> LogHead:
        """Add rows, durably and in one step, and return the new end."""
        number = after.sequence + 1
        began = {**_first(rows, positions, number), **after.began}
        head = LogHead(number, {**after.positions, **positions}, at_us, after.rows + rows.num_rows, began)
        meta = _Meta(dict(head.positions), head.last_us, head.rows, began, uuid.uuid4().hex)
        rows = rows.append_column(ENTRY, pa.repeat(pa.scalar(number, pa.int64()), rows.num_rows))
        table = rows.replace_schema_metadata({_META: msgspec.json.encode(meta)})
        name = _name(number, number)
        if number % JOIN_FILES == 1:
            self._files.tidy()
        try:
            self._files.create(
                name,
                lambda path: pq.write_table(
                    table, path, compression="lz4", use_dictionary=False, write_page_checksum=True
                ),
            )
        except FileExistsError as error:
            raise self._lost(number) from error
        if self._removed() != self._seen and all(one.name != name for one in segments(self._files)):
            self._files.delete([name])  # the entry of this number was joined with others long ago
            raise self._lost(number)
        self._head, self._name = head, name
        return head

    def segments(self, until: int = 0) -> list[Segment]:
        """Return the files of the log, in order; none where nothing was appended.

        Raises:
            CorruptDataError: one of them is missing, or they end before the entry `until`.
        """
        found = segments(self._files)
        end = found[-1].last if found else 0
        if end < until:
            raise CorruptDataError(
                f"The log of {self._source!r} ends at entry {end}, before entry {until}, which was there",
                why="Its newest files were deleted",
                fix="Restore them from a backup.",
            )
        return found

    def read(self, after: int, until: int) -> Iterator[tuple[int, pa.Table]]:
        """Yield the rows of the entries after one sequence number and up to another, a few entries at a time."""
        held: list[Segment] = []
        size = 0
        columns: pa.Schema | None = None
        for segment in self.segments(until):
            if segment.last <= after or segment.first > until:
                continue
            own = self._schema(segment)
            if held and (size >= _READ_BYTES or own != columns):
                yield held[-1].last, self._tables(held, after, until)
                held, size = [], 0
            held.append(segment)
            size += segment.item.size_bytes
            columns = own
        if held:
            yield min(held[-1].last, until), self._tables(held, after, until)

    def compact(self) -> int:
        """Join many small entries into few large ones, and return how many files that took away.

        A row is written anew once per level, so a few times in all. A file that was joined stays for an hour, for those
        who are reading it.
        """
        with self._files.alone(_JOINING) as mine:
            if not mine:
                return 0
            gone = self._remove_joined()
            while (run := self._next_run()) and self._join(run):
                pass
        return gone

    def erase(self, gone: Callable[[pa.Table], pa.ChunkedArray]) -> None:
        """Write every file again that holds such rows, those that were joined into larger ones, too."""
        self._files.tidy()
        changed = False
        for segment in _found(self._files):
            table = self._table(segment)
            kept = pc.invert(gone(table))
            if pc.all(kept).as_py() is not False:
                continue
            self._replace(segment, table.filter(kept), self._meta(segment))
            changed = True
        held = segments(self._files)
        if not held:
            return
        with self._told(held[-1]):
            rows = sum(pq.read_metadata(segment.path).num_rows for segment in held)
        meta = self._meta(held[-1])
        if changed or meta.rows != rows:
            self._replace(held[-1], self._table(held[-1]), msgspec.structs.replace(meta, rows=rows))
            mark = uuid.uuid4().bytes  # whoever knows the end of the log by the name of its file looks again
            self._files.replace(_REMOVED, lambda path: path.write_bytes(mark))

    def _replace(self, segment: Segment, rows: pa.Table, meta: _Meta) -> None:
        table = rows.replace_schema_metadata({_META: msgspec.json.encode(meta)})
        self._files.replace(
            segment.name,
            lambda path: pq.write_table(table, path, compression="zstd", write_page_checksum=True),
        )

    def _next_run(self) -> list[Segment]:
        """Return the first files in a row that are to be joined, none where there are too few.

        What is in the log decides alone, and later entries change no answer: two who join at once, which `alone` may
        not prevent, make the same file, or one whose rows the other's has too; never two that overlap in part.
        """
        run: list[Segment] = []
        size = 0
        columns: pa.Schema | None = None
        for segment in segments(self._files):
            bytes_ = segment.item.size_bytes
            if len(run) == JOIN_FILES or (len(run) > 1 and size + bytes_ > _JOIN_BYTES):
                return run
            own = self._schema(segment)
            if run and (segment.level != run[0].level or not (columns is None or fits(columns, own))):
                run, size = [], 0
            if bytes_ > _JOIN_BYTES // 2:
                run, size, columns = [], 0, None
                continue
            run.append(segment)
            size += bytes_
            columns = own
        return run if len(run) == JOIN_FILES else []

    def _join(self, run: list[Segment]) -> bool:
        """Write one file of a run, and return whether nobody else did so meanwhile."""
        with self._told(run[-1]):
            schema = pq.read_schema(run[-1].path)  # with the metadata: where the log ended
        schema = schema.with_metadata({_META: schema.metadata[_META]})

        def write(path: Path) -> None:
            with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
                for segment in run:
                    writer.write_table(conform(self._table(segment), schema))

        try:
            self._files.create(_name(run[0].first, run[-1].last), write)
        except FileExistsError:
            return False
        return True

    def _remove_joined(self) -> int:
        """Delete files whose rows are in a larger one, once nobody can be reading them any more."""
        kept = segments(self._files)
        names = {segment.name for segment in kept}
        joined = []
        for found in _found(self._files):  # oldest first, see `head`
            cover = next((one for one in kept if found.name not in names and _covers(one, found)), None)
            if cover is not None and time.time() - cover.item.modified_ns / 1e9 > _GRACE_S:
                joined.append(found.name)
        if joined:
            mark = uuid.uuid4().bytes
            self._files.replace(_REMOVED, lambda path: path.write_bytes(mark))
        self._files.delete(joined)
        return len(joined)

    def _removed(self) -> str | None:
        """Return which removal of joined files was the last, which is noted before it is done; None for never."""
        found = self._files.find(_REMOVED)
        return None if found is None else found.tag

    def _tables(self, held: list[Segment], after: int, until: int) -> pa.Table:
        wanted = (pc.field(ENTRY) > after) & (pc.field(ENTRY) <= until)
        return pa.concat_tables([self._table(segment, wanted) for segment in held])

    def _table(self, segment: Segment, wanted: pc.Expression | None = None) -> pa.Table:
        with self._told(segment):
            return pq.read_table(segment.path, filters=wanted, page_checksum_verification=True)

    def _schema(self, segment: Segment) -> pa.Schema:
        with self._told(segment):
            return pq.read_schema(segment.path).remove_metadata()

    @contextmanager
    def _told(self, segment: Segment) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise self._gone(segment) from error
        except (pa.ArrowException, OSError) as error:
            raise _damaged(segment, error) from error

    def _gone(self, segment: Segment) -> StoreError:
        return StoreError(
            f"File {segment.place} of the log of {self._source!r} is gone",
            why="It was joined into a larger one meanwhile, or somebody deleted it",
            fix="Try again.",
        )

    def _read_head(self, segment: Segment) -> LogHead:
        meta = self._meta(segment)
        return LogHead(segment.last, meta.positions, meta.last_us, meta.rows, meta.began)

    def _meta(self, segment: Segment) -> _Meta:
        with self._told(segment):
            found = pq.read_schema(segment.path).metadata or {}
        try:
            return msgspec.json.decode(found[_META], type=_Meta)
        except (KeyError, msgspec.MsgspecError) as error:
            raise _damaged(segment, error) from error

    def _lost(self, number: int) -> ConflictError:
        return ConflictError(
            f"Entry {number} of the log of {self._source!r} was written by somebody else",
            why="Another process appends to the same log",
            fix="Try again.",
        )


def folder(logs: Files, source: str) -> Files:
    """Return where the log of a source is."""
    return logs.below(source)


def segments(files: Files) -> list[Segment]:
    """Return the files that hold a log, in order, each entry in one of them.

    Raises:
        CorruptDataError: a file is missing between two.
    """
    for tried in range(_LISTINGS):
        found = sorted(_found(files), key=lambda s: (s.first, -s.last))
        kept: list[Segment] = []
        lacking = 0
        for segment in found:
            end = kept[-1].last if kept else 0
            if segment.last <= end:
                continue  # its rows are in a larger one
            if segment.first != end + 1:
                lacking = end + 1
                break
            kept.append(segment)
        if not lacking:
            break
        if tried + 1 == _LISTINGS:  # a list made while files are added may have a later one and lack an earlier one
            raise CorruptDataError(
                f"The log in {files.place()} lacks its entries {lacking} to {segment.first - 1}",
                why="A file of it was deleted",
                fix="Restore it from a backup.",
            )
    return kept


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of a schema; those that it lacks are null."""
    columns = [
        table.column(field.name) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _damaged(segment: Segment, error: Exception) -> CorruptDataError:
    return CorruptDataError(
        f"File {segment.place} of a log is damaged, or is not one",
        why=str(error).strip(),
        fix="Restore it from a backup; rows after it cannot be read without it.",
    )


def arrivals_hash(log: LocalSourceLog, entry: int) -> tuple[int, str]:
    """Return how many rows a log has up to an entry, and a hash of where they came from and when they arrived.

    Joining files changes neither.
    """
    columns = (ENTRY, ARRIVED_AT, POSITION)
    digests = [hashlib.sha256() for _ in (*columns, PARTITION)]
    rows = 0
    for _, table in log.read(0, entry):
        rows += table.num_rows
        for digest, name in zip(digests, columns, strict=False):
            digest.update(table.column(name).cast(pa.int64()).to_numpy().astype("<i8").tobytes())
        digests[-1].update("".join(f"{partition}\n" for partition in table.column(PARTITION).to_pylist()).encode())
    return rows, hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()


def fits(one: pa.Schema, other: pa.Schema) -> bool:
    """Return whether every column of one schema is in another one with the same type."""
    return all(field.name in other.names and other.field(field.name).type == field.type for field in one)


def _first(rows: pa.Table, positions: Mapping[str, int], number: int) -> dict[str, tuple[int, int]]:
    """Return where partitions begin that an entry moves: at its first row of each, without one at the next to read."""
    found = dict(positions)
    if rows.num_rows:
        first = rows.group_by(PARTITION).aggregate([(POSITION, "min")])
        found |= dict(zip(first[PARTITION].to_pylist(), first[f"{POSITION}_min"].to_pylist(), strict=True))
    return {partition: (position, number) for partition, position in found.items()}


def _found(files: Files) -> list[Segment]:
    found = []
    for item in files.items():
        first, dash, last = item.name.removesuffix(_SUFFIX).partition("-")
        if item.name.endswith(_SUFFIX) and dash and first.isdigit() and last.isdigit():
            found.append(Segment(files, item, int(first), int(last)))
    return found


def _name(first: int, last: int) -> str:
    return f"{first:012d}-{last:012d}{_SUFFIX}"


def _covers(large: Segment, small: Segment) -> bool:
    return large.first <= small.first and small.last <= large.last
