"""Opens a source as the table `src` of a DuckDB connection that can read that source's files and nothing else."""

from __future__ import annotations

import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import getpid
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from asof import dtypes
from asof.backends.local import buckets, delta, elsewhere, parquet, shared, text
from asof.backends.local.columns import SourceColumn, literal, pick, quoted, time_sql, value_sql
from asof.backends.local.executor import remove_leftovers
from asof.backends.local.faults import LOSSY, translated
from asof.backends.local.files import Files, find_files
from asof.backends.local.frames import to_table
from asof.backends.local.log import LocalSourceLog, folder
from asof.backends.local.logged import log_sql, runs, types_over
from asof.backends.local.published import published_files
from asof.definitions.streams import ARRIVED_AT
from asof.errors import AsofError, SourceError
from asof.plan.specs import place_of
from asof.plan.streams import declared_types, stream_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from asof.backends.local.elsewhere import Wanted
    from asof.backends.local.parquet import Footers
    from asof.interfaces.files import Files as Folder
    from asof.interfaces.log import LogHead
    from asof.plan.specs import SourceSpec

SETTINGS = (
    "SET TimeZone = 'UTC'",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",
    # A join must stream its left side, so that rows keep their order. And statistics of Parquet leave NaN out, so what
    # they seem to prove (that isnan is never true) is wrong.
    "SET disabled_optimizers = 'build_side_probe_side,join_order,statistics_propagation'",
)
EVERYTHING = elsewhere.Wanted()
LOCKS = ("SET enable_external_access = false", "SET lock_configuration = true")


@dataclass(frozen=True)
class Engine:
    """What a connection may use.

    Attributes:
        root: The project's root; spills go below its `.asof/tmp`.
        memory_limit_bytes: What DuckDB may hold in memory before it spills.
        threads: How many threads it may use.
        published: Where batch sources publish their rows.
        logs: Where the logs of stream sources are.
        only: By a source's place the absolute paths of the files to read, where not all that are there are wanted.
        entries: By the name of a stream source the newest entry of its log to read, likewise.
    """

    root: Path
    memory_limit_bytes: int
    threads: int
    published: Folder
    logs: Folder
    only: Mapping[str, Collection[str]] = field(default_factory=dict)
    entries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Relation:
    """A source that is open.

    Attributes:
        con: Its connection; the rows are the table `src`, in ingest order.
        columns: Its columns by name.
        footers: Statistics of its files, if they are Parquet.
        logged: The files of its log, if it is a stream source.
    """

    con: duckdb.DuckDBPyConnection
    columns: Mapping[str, SourceColumn]
    footers: Footers | None = None
    logged: tuple[str, ...] = ()

    @property
    def schema(self) -> pa.Schema:
        """The columns as they are in the data."""
        return pa.schema([(column.name, column.arrow) for column in self.columns.values()])


def files_of(engine: Engine, source: SourceSpec) -> Files:
    """Return the files of a file or batch source.

    Raises:
        SourceError, NotBackfilledError: there is none.
    """
    only = engine.only.get(place_of(source))
    if source.kind == "batch":
        return published_files(engine.published, source, only)
    return (buckets.fetched_files if buckets.in_bucket(source.path) else find_files)(engine.root, source, only)


@contextmanager
def opened(
    engine: Engine,
    source: SourceSpec,
    frames: Mapping[str, Any],
    *,
    rows: bool = True,
    until_entry: int | None = None,
    wanted: Wanted = EVERYTHING,
) -> Iterator[Relation]:
    """Open a source, and close it with everything it spilled.

    Args:
        engine: Memory, threads and place.
        source: The source.
        frames: Frames in memory by source name.
        rows: False where only the columns are wanted: text files are then not loaded.
        until_entry: Of a stream source the newest entry of its log to read; None is all.
        wanted: Of a table elsewhere, what to fetch; `src` then has no other columns.

    Raises:
        SourceError: it is not there or cannot be read.
        SchemaError: its files disagree about a column.
    """
    if source.kind == "frame" and source.name in frames:
        table = to_table(frames[source.name], source.name)
        if table.nbytes <= shared.MOST_BYTES:
            settings = (*SETTINGS, *LOCKS)
            with shared.session(engine.threads, engine.memory_limit_bytes, settings) as con, translated(source.name):
                yield _framed(con, table)
            return
    scratch = engine.root / ".asof" / "tmp" / f"{getpid()}-{uuid.uuid4().hex}"
    fetched = scratch.with_name(f"{scratch.name}-rows") / "rows.parquet"
    remove_leftovers(scratch.parent)
    config = {
        "threads": engine.threads,
        "memory_limit": f"{engine.memory_limit_bytes}B",
        "temp_directory": str(scratch),
    }
    try:
        with duckdb.connect(":memory:", config=config) as con, translated(source.name):
            for setting in SETTINGS:
                con.execute(setting)
            scratch.parent.mkdir(parents=True, exist_ok=True)
            if source.kind == "stream":
                relation = _open_stream(con, engine, source, fetched, rows=rows, until_entry=until_entry)
            elif source.kind in elsewhere.KINDS:
                relation = _open_fetched(con, engine, source, wanted, fetched)
            else:
                relation = _open(con, engine, source, frames, rows=rows)
            try:
                yield relation
            except (duckdb.Error, pa.ArrowException, OSError) as exc:
                if LOSSY not in str(exc) and not isinstance(exc, duckdb.OutOfMemoryException | AsofError):
                    _read_alone(relation, source)
                raise
    except AsofError as exc:
        if (about_objects := buckets.renamed(engine.root, source, exc)) is None:
            raise
        raise about_objects from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(fetched.parent, ignore_errors=True)


def _open_fetched(
    con: duckdb.DuckDBPyConnection, engine: Engine, source: SourceSpec, wanted: Wanted, fetched: Path
) -> Relation:
    elsewhere.fetch(engine.root, source, wanted, fetched)
    files = Files((str(fetched),), hive=False)
    _lock(con, files.paths)
    footers = _view(con, source, files)
    _hide_nan(con)
    return Relation(con, _columns(con, {field.name: field.type for field in footers.schema}), footers)


def _open(
    con: duckdb.DuckDBPyConnection, engine: Engine, source: SourceSpec, frames: Mapping[str, Any], *, rows: bool
) -> Relation:
    if source.kind == "frame":
        if source.name not in frames:
            raise SourceError(
                f"Source {source.name!r} is a frame that this process does not have",
                why="Frames live in the process that defines them",
                fix="Pass the definition with its frame, or write the rows to a file and use FileSource.",
            )
        _lock(con)
        return _framed(con, to_table(frames[source.name], source.name))
    files = None if source.kind == "delta" else files_of(engine, source)
    _lock(con, files.paths if files is not None else ())
    footers = _load(con, engine, source, files, rows=rows)
    declared = {field.name: field.type for field in footers.schema} if footers is not None else {}
    _hide_nan(con)
    return Relation(con, _columns(con, declared), footers)


def _framed(con: duckdb.DuckDBPyConnection, table: pa.Table) -> Relation:
    con.register("raw", table)
    _hide_nan(con)
    return Relation(con, _columns(con, {field.name: field.type for field in table.schema}))


def _load(
    con: duckdb.DuckDBPyConnection, engine: Engine, source: SourceSpec, files: Files | None, *, rows: bool
) -> Footers | None:
    """Make `raw` of a Delta table or of files."""
    if files is None:
        con.register("raw", delta.open_dataset(engine.root, source))
    elif source.format == "parquet" or source.kind in elsewhere.KINDS:
        return _view(con, source, files)
    else:
        text.load(con, source, files, rows=rows)
    return None


def _view(con: duckdb.DuckDBPyConnection, source: SourceSpec, files: Files) -> Footers:
    footers = parquet.read_footers(source.name, files.paths)
    con.execute(f"CREATE TEMP VIEW raw AS SELECT * FROM {parquet.reader(files, footers)}")
    return footers


def _open_stream(
    con: duckdb.DuckDBPyConnection,
    engine: Engine,
    source: SourceSpec,
    fetched: Path,
    *,
    rows: bool,
    until_entry: int | None,
) -> Relation:
    """Make `raw` of a stream source: the rows of its history, then those of its log, each as the moment it was known.

    Where both hold a row, one of them gives it: history the event times before the hand-over, or of an archive the
    positions before the log's first. Columns are as wide as what is in the log.
    """
    stream = stream_of(source)
    log = LocalSourceLog(folder(engine.logs, source.name), source.name)
    ends = [end for end in (until_entry, engine.entries.get(source.name)) if end is not None]
    until = min(ends) if ends else None
    segments = log.segments(until or 0)
    past = stream.history
    files = None if past is None or past.kind == "delta" else _files_of_history(engine, past, fetched)
    _lock(con, [*(str(one.path) for one in segments), *(files.paths if files is not None else ())])
    parts = []
    if past is not None:
        _load(con, engine, past, files, rows=rows)
        con.execute("ALTER VIEW raw RENAME TO past" if _is_view(con) else "ALTER TABLE raw RENAME TO past")
    logged = runs(source.name, [one for one in segments if until is None or one.first <= until])
    types = types_over(source.name, declared_types(source, None if past is None else _described(con, "past")), logged)
    con.execute(f"CREATE TEMP VIEW log AS {log_sql(con, source.name, logged, types, until)}")
    if past is not None:
        last = segments[-1].last if segments else 0
        began = _began(log.head(), last if until is None else min(last, until))
        parts.append(_past_sql(con, source, past, types, began))
    kept = "true" if stream.handover_us is None else f"{_event_time_us(con, source, 'log')} >= {stream.handover_us}"
    names = ", ".join(quoted(name) for name in types)
    parts.append(f"SELECT {names} FROM log WHERE {kept}")
    con.execute(f"CREATE TEMP VIEW raw AS {' UNION ALL '.join(parts)}")
    _hide_nan(con)
    return Relation(con, _columns(con, types), logged=tuple(str(one.path) for one in segments))


def _files_of_history(engine: Engine, past: SourceSpec, fetched: Path) -> Files:
    if past.kind not in elsewhere.KINDS:
        return files_of(engine, past)
    elsewhere.fetch(engine.root, past, EVERYTHING, fetched)
    return Files((str(fetched),), hive=False)


def _began(head: LogHead, until_entry: int) -> dict[str, int] | None:
    """Return per partition the first position of a log up to an entry; None of a log that had not begun."""
    if not until_entry:
        return None
    return {partition: position for partition, (position, entry) in head.began.items() if entry <= until_entry}


def _past_sql(
    con: duckdb.DuckDBPyConnection,
    source: SourceSpec,
    past: SourceSpec,
    types: dict[str, pa.DataType],
    began: Mapping[str, int] | None,
) -> str:
    columns = _columns(con, {}, "past")
    stream = stream_of(source)
    us = time_sql(pick(columns, past.event_time, past.name), past.name, "event_time").us
    known = f"{us} + {past.delay_us}"
    if past.available_at is not None:
        known = time_sql(pick(columns, past.available_at, past.name), past.name, "available_at").us
    fields = [
        f"{value_sql(pick(columns, name, past.name), dtypes.from_arrow(arrow) or '', past.name)} AS {quoted(name)}"
        for name, arrow in types.items()
        if name != ARRIVED_AT
    ]
    fields.append(f"make_timestamptz({known}) AS {quoted(ARRIVED_AT)}")
    if stream.positions is None:
        kept = f"coalesce({us} < {stream.handover_us}, true)"  # without a time it is set apart later
    else:
        partition, position = (pick(columns, name, past.name).sql for name in stream.positions)
        kept = _before(partition, position, began)
    return f"SELECT {', '.join(fields)} FROM past WHERE {kept}"


def _before(partition: str, position: str, began: Mapping[str, int] | None) -> str:
    """Return the condition of the archived messages that the log does not have.

    Those are the ones before its first of their partition. A partition that the archive did not have when the log began
    is the log's from its first message on.
    """
    if began is None:
        return "true"
    cases = " ".join(f"WHEN {literal(name)} THEN {position} < {first}" for name, first in sorted(began.items()))
    chosen = f"CASE CAST({partition} AS VARCHAR) {cases} ELSE false END" if cases else "false"
    return f"({partition} IS NULL OR {position} IS NULL OR {chosen})"


def archive_ends(engine: Engine, source: SourceSpec) -> dict[str, int]:
    """Return per partition the position after the newest message in the archive of a stream source's topic.

    Raises:
        SourceError, SchemaError: the archive cannot be read, or lacks the columns of partition or position.
    """
    stream = stream_of(source)
    if stream.history is None or stream.positions is None:
        return {}
    with opened(engine, stream.history, {}) as past:
        partition, position = (pick(past.columns, name, stream.history.name) for name in stream.positions)
        at = value_sql(position, "int64", stream.history.name)
        found = past.con.execute(
            f"SELECT CAST({partition.sql} AS VARCHAR), max({at}) + 1 FROM src "
            f"WHERE {partition.sql} IS NOT NULL AND {position.sql} IS NOT NULL GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return dict(found)


def _event_time_us(con: duckdb.DuckDBPyConnection, source: SourceSpec, table: str) -> str:
    return time_sql(pick(_columns(con, {}, table), source.event_time, source.name), source.name, "event_time").us


def _described(con: duckdb.DuckDBPyConnection, table: str) -> pa.Schema:
    return pa.schema([(column.name, column.arrow) for column in _columns(con, {}, table).values()])


def _is_view(con: duckdb.DuckDBPyConnection) -> bool:
    return bool(con.execute("SELECT 1 FROM duckdb_views() WHERE view_name = 'raw'").fetchall())


def _hide_nan(con: duckdb.DuckDBPyConnection) -> None:
    """Make `src` of `raw`, with null for NaN, for predicates as for values."""
    floats = [quoted(name) for name, duck, *_ in con.execute("DESCRIBE raw").fetchall() if duck in ("FLOAT", "DOUBLE")]
    nulled = ", ".join(f"CASE WHEN isnan({name}) THEN NULL ELSE {name} END AS {name}" for name in floats)
    con.execute(f"CREATE TEMP VIEW src AS SELECT *{f' REPLACE ({nulled})' if floats else ''} FROM raw")


def _read_alone(relation: Relation, source: SourceSpec) -> None:
    """Raise for the first Parquet file that cannot be read on its own: of many, DuckDB does not say which one."""
    for path in relation.footers.paths if relation.footers else relation.logged:
        with translated(source.name, path):
            relation.con.execute(f"SELECT max(hash(one)) FROM read_parquet([{literal(path)}]) AS one").fetchall()


def _lock(con: duckdb.DuckDBPyConnection, paths: Sequence[str] = ()) -> None:
    if paths:
        con.execute("SET allowed_paths = ?", [list(paths)])
    for setting in LOCKS:
        con.execute(setting)


def _columns(
    con: duckdb.DuckDBPyConnection, declared: Mapping[str, pa.DataType], table: str = "src"
) -> dict[str, SourceColumn]:
    described = con.execute(f"DESCRIBE {table}").fetchall()
    names = ", ".join(quoted(row[0]) for row in described)
    read = con.sql(f"SELECT {names} FROM {table} LIMIT 0").to_arrow_table().schema
    return {
        name: SourceColumn(name, declared.get(name, read.field(i).type), duck)
        for i, (name, duck, *_) in enumerate(described)
    }
