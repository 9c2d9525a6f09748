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

from asof.backends.local import delta, parquet, text
from asof.backends.local.columns import SourceColumn, literal, quoted
from asof.backends.local.executor import remove_leftovers
from asof.backends.local.faults import LOSSY, translated
from asof.backends.local.files import find_files
from asof.backends.local.frames import to_table
from asof.backends.local.published import published_files
from asof.errors import AsofError, SourceError
from asof.plan.specs import place_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from asof.backends.local.files import Files
    from asof.backends.local.parquet import Footers
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
LOCKS = ("SET enable_external_access = false", "SET lock_configuration = true")


@dataclass(frozen=True)
class Engine:
    """What a connection may use.

    Attributes:
        root: The project's root; spills go below its `.asof/tmp`.
        memory_limit_bytes: What DuckDB may hold in memory before it spills.
        threads: How many threads it may use.
        published: Where batch sources publish their rows.
        only: By a source's place the absolute paths of the files to read, where not all that are there are wanted.
    """

    root: Path
    memory_limit_bytes: int
    threads: int
    published: Path
    only: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Relation:
    """A source that is open.

    Attributes:
        con: Its connection; the rows are the table `src`, in ingest order.
        columns: Its columns by name.
        footers: Statistics of its files, if they are Parquet.
    """

    con: duckdb.DuckDBPyConnection
    columns: Mapping[str, SourceColumn]
    footers: Footers | None = None

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
    return find_files(engine.root, source, only)


@contextmanager
def opened(engine: Engine, source: SourceSpec, frames: Mapping[str, Any], *, rows: bool = True) -> Iterator[Relation]:
    """Open a source, and close it with everything it spilled.

    Args:
        engine: Memory, threads and place.
        source: The source.
        frames: Frames in memory by source name.
        rows: False where only the columns are wanted: text files are then not loaded.

    Raises:
        SourceError: it is not there or cannot be read.
        SchemaError: its files disagree about a column.
    """
    scratch = engine.root / ".asof" / "tmp" / f"{getpid()}-{uuid.uuid4().hex}"
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
            relation = _open(con, engine, source, frames, rows=rows)
            try:
                yield relation
            except (duckdb.Error, pa.ArrowException, OSError) as exc:
                if LOSSY not in str(exc) and not isinstance(exc, duckdb.OutOfMemoryException | AsofError):
                    _read_alone(relation, source)
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _open(
    con: duckdb.DuckDBPyConnection, engine: Engine, source: SourceSpec, frames: Mapping[str, Any], *, rows: bool
) -> Relation:
    footers = None
    declared: dict[str, pa.DataType] = {}
    if source.kind == "frame":
        if source.name not in frames:
            raise SourceError(
                f"Source {source.name!r} is a frame that this process does not have",
                why="Frames live in the process that defines them",
                fix="Pass the definition with its frame, or write the rows to a file and use FileSource.",
            )
        table = to_table(frames[source.name], source.name)
        declared = {field.name: field.type for field in table.schema}
        con.register("raw", table)
        _lock(con)
    elif source.kind == "delta":
        con.register("raw", delta.open_dataset(engine.root, source))
        _lock(con)
    else:
        files = files_of(engine, source)
        con.execute("SET allowed_paths = ?", [list(files.paths)])
        _lock(con)
        if source.format == "parquet":
            footers = parquet.read_footers(source.name, files.paths)
            declared = {field.name: field.type for field in footers.schema}
            con.execute(f"CREATE TEMP VIEW raw AS SELECT * FROM {parquet.reader(files, footers)}")
        else:
            text.load(con, source, files, rows=rows)
    _hide_nan(con)
    return Relation(con, _columns(con, declared), footers)


def _hide_nan(con: duckdb.DuckDBPyConnection) -> None:
    """Make `src` of `raw`, with null for NaN, for predicates as for values."""
    floats = [quoted(name) for name, duck, *_ in con.execute("DESCRIBE raw").fetchall() if duck in ("FLOAT", "DOUBLE")]
    nulled = ", ".join(f"CASE WHEN isnan({name}) THEN NULL ELSE {name} END AS {name}" for name in floats)
    con.execute(f"CREATE TEMP VIEW src AS SELECT *{f' REPLACE ({nulled})' if floats else ''} FROM raw")


def _read_alone(relation: Relation, source: SourceSpec) -> None:
    """Raise for the first Parquet file that cannot be read on its own: of many, DuckDB does not say which one."""
    for path in relation.footers.paths if relation.footers else ():
        with translated(source.name, path):
            relation.con.execute(f"SELECT max(hash(one)) FROM read_parquet([{literal(path)}]) AS one").fetchall()


def _lock(con: duckdb.DuckDBPyConnection) -> None:
    for setting in LOCKS:
        con.execute(setting)


def _columns(con: duckdb.DuckDBPyConnection, declared: Mapping[str, pa.DataType]) -> dict[str, SourceColumn]:
    described = con.execute("DESCRIBE src").fetchall()
    names = ", ".join(quoted(row[0]) for row in described)
    read = con.sql(f"SELECT {names} FROM src LIMIT 0").to_arrow_table().schema
    return {
        name: SourceColumn(name, declared.get(name, read.field(i).type), duck)
        for i, (name, duck, *_) in enumerate(described)
    }
