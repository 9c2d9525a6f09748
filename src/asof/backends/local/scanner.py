"""Reads sources on this machine with DuckDB: files, tables and frames, as canonical Arrow batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof import dtypes
from asof.backends.local import buckets, delta, elsewhere, predicates, published, quarantine
from asof.backends.local.columns import bound_sql, pick, value_sql
from asof.backends.local.dedupe import ORDER, fold
from asof.backends.local.derived import add_columns, derive_schema
from asof.backends.local.disk import as_files
from asof.backends.local.expressions import check_expression
from asof.backends.local.faults import translated
from asof.backends.local.frames import to_table
from asof.backends.local.log import folder, segments
from asof.backends.local.queries import input_schema, query_schema
from asof.backends.local.relation import Engine, Relation, archive_ends, files_of, opened
from asof.backends.local.tracing import trace_sql
from asof.errors import DefinitionError
from asof.interfaces.scanner import AVAILABLE_AT, DELETED, EVENT_TIME, RETRACTED_AT, Rejected, Scan
from asof.plan.streams import stream_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from asof.backends.local.derived import Load
    from asof.interfaces.files import Files
    from asof.interfaces.scanner import ColumnRequest, ScanRequest
    from asof.plan.specs import BatchSpec, Column, DerivedSpec, FunctionSpec, SourceSpec

_READ_ROWS = 250_000
_LEAST_ROWS = 65_536


class LocalScanner:
    """Parquet, CSV, NDJSON, Delta Lake and frames, within a memory limit; what does not fit spills to `.asof/tmp`.

    What is wanted of PostgreSQL and Iceberg tables is fetched to there first.

    Ingest order is files by path (of a Delta table: by time written, then path), rows by position, whatever the
    number of threads. Columns that a file lacks are null in its rows.
    """

    def __init__(
        self,
        root: Path,
        frames: Mapping[str, Any],
        quarantine: Path | Files,
        memory_limit_bytes: int,
        threads: int,
        *,
        load: Load | None = None,
        only: Mapping[str, Collection[str]] | None = None,
        entries: Mapping[str, int] | None = None,
    ) -> None:
        """Read relative paths from `root`, frames by their source's name; put rejected rows into `quarantine`.

        Batch sources are published in `batch` beside it. `load` finds the functions of row transforms. With `only`,
        which gives files by the place of their source, files that it does not name are as good as absent; likewise
        with `entries`, by the name of a stream source, what its log got later.
        """
        self._load = load or _no_functions
        self._frames = frames
        self._quarantine = as_files(quarantine.absolute() if isinstance(quarantine, Path) else quarantine)
        self._engine = Engine(
            root.absolute(),
            memory_limit_bytes,
            threads,
            self._quarantine.beside("batch"),
            self._quarantine.beside("log"),
            {
                place: {file if buckets.in_bucket(file) else str(root.absolute() / file) for file in files}
                for place, files in (only or {}).items()
            },
            entries or {},
        )

    @property
    def engine(self) -> Engine:
        """What its connections may use."""
        return self._engine

    def schema(self, source: SourceSpec) -> pa.Schema:
        """Return the columns of a source; CSV and NDJSON are read once to find types that hold every value.

        Raises:
            SourceError: it is not there or cannot be read.
            SchemaError: files disagree about a column's type beyond lossless widening.
        """
        if source.batch is not None:
            return self._batch_schema(source, source.batch)
        if source.kind in elsewhere.KINDS:
            return elsewhere.schema(self._engine.root, source)
        with opened(self._engine, source, self._frames, rows=False) as relation:
            return relation.schema

    def check_predicate(self, source: str, schema: pa.Schema, predicate: str) -> None:
        """Refuse a predicate that is not a repeatable, boolean SQL expression over these columns.

        Raises:
            DefinitionError: it does not parse, is not boolean, uses another table or file, a subquery, an aggregate,
                or a function whose answer depends on the moment (now, random).
        """
        predicates.check_over_schema(source, schema, predicate)

    def derive(self, source: str, schema: pa.Schema, select: Sequence[tuple[str, str]]) -> pa.Schema:
        """Return the schema with a column per (name, SQL expression) after its own.

        Raises:
            DefinitionError: as `check_predicate`, but an expression need not be boolean; or a name is taken.
        """
        return derive_schema(source, schema, select)

    def check_expression(self, schema: pa.Schema, expression: str, used_by: str) -> pa.DataType:
        """Return the type of a repeatable SQL expression over these columns.

        Raises:
            DefinitionError: as `check_predicate`, and where it gives a type that features cannot have.
        """
        return check_expression(schema, expression, used_by)

    def scan(self, request: ScanRequest) -> Scan:
        """Start reading; nothing is read before the first batch is taken.

        Raises:
            DefinitionError: events of a source that deletes rows but has no event id.
        """
        source = request.source
        if request.events and source.deleted is not None and source.event_id is None:
            raise DefinitionError(
                f"Source {source.name!r} has deleted rows but no event_id",
                why="A retraction takes back the event of its id",
                fix="Name the event_id column, or drop deleted=.",
            )
        rejected = Rejected()
        schema = _schema(request)
        return Scan(schema, self._batches(request, schema, rejected), rejected)

    def size_bytes(self, source: SourceSpec) -> int:
        """Return the bytes of the source's files, of a frame its buffers."""
        with translated(source.name):
            if source.kind == "frame":
                return (
                    int(to_table(self._frames[source.name], source.name).nbytes) if source.name in self._frames else 0
                )
            if source.kind == "delta":
                return delta.size_bytes(self._engine.root, source)
            if source.kind in elsewhere.KINDS:
                return elsewhere.size_bytes(self._engine.root, source)
            if source.kind == "stream":
                past = stream_of(source).history
                logged = sum(one.item.size_bytes for one in segments(folder(self._engine.logs, source.name)))
                return logged + (self.size_bytes(past) if past is not None else 0)
            if source.kind == "batch" and not published.starts(self._engine.published, source):
                return 0
            if buckets.in_bucket(source.path):
                return sum(one.item.size_bytes for one in buckets.find_objects(self._engine.root, source))
            return files_of(self._engine, source).size_bytes

    def archive_positions(self, source: SourceSpec) -> dict[str, int]:
        """Return per partition the next position after a stream source's archive; empty where it has none."""
        return archive_ends(self._engine, source)

    def key_values(
        self, source: SourceSpec, keys: tuple[Column, ...], where: str | None, derived: DerivedSpec | None = None
    ) -> pa.Table:
        """Return the distinct join keys without nulls, sorted, of the rows where `where` is true."""
        needed = elsewhere.wanted_for_keys(source, keys, where, derived)
        with opened(self._engine, source, self._frames, wanted=needed) as relation:
            relation = add_columns(relation, source, derived, self._load)
            picked = [pick(relation.columns, key.name, source.name) for key in keys]
            wanted = [f"{column.sql} IS NOT NULL" for column in picked]
            if where is not None:
                predicates.check(relation.con, relation.columns, source.name, where)
                wanted.append(predicates.condition(where))
            fields = ", ".join(
                f"{value_sql(column, key.dtype, source.name)} AS c{i}"
                for i, (column, key) in enumerate(zip(picked, keys, strict=True))
            )
            table = relation.con.sql(
                f"SELECT DISTINCT {fields} FROM src WHERE {' AND '.join(wanted)} ORDER BY ALL"
            ).to_arrow_table()
        schema = pa.schema([(key.name, dtypes.to_arrow(key.dtype)) for key in keys])
        return table.rename_columns(schema.names).cast(schema)

    def _batch_schema(self, source: SourceSpec, batch: BatchSpec) -> pa.Schema:
        if batch.sql is None:
            found = pa.schema([(column.name, dtypes.to_arrow(column.dtype)) for column in batch.outputs])
        else:
            inputs = {one.name: input_schema(self.schema(one)) for one in batch.inputs}
            found = query_schema(source.name, batch.sql, inputs)
        return found.append(pa.field(source.event_time, dtypes.to_arrow("timestamp")))

    def trace(self, request: ScanRequest, key: Sequence[Any]) -> pa.Table:
        """Return every row of one key, with what became of each; see `Scanner.trace`."""
        source = request.source
        wanted = elsewhere.wanted_by(request, bounded=False)
        with opened(self._engine, source, self._frames, wanted=wanted) as relation:
            relation = add_columns(relation, source, request.derived, self._load)
            _check_predicates(relation, request)
            rules = quarantine.rules(relation, request)
            usable = quarantine.set_apart(relation, request, rules, self._quarantine, Rejected())
            available_us = _Fields(relation, request, rules).available_us
            found = None
            if request.events and source.event_id is not None:
                found = fold(relation, source, usable, available_us, self._engine.memory_limit_bytes)
            sql, schema = trace_sql(relation, request, rules, found, available_us)
            table = relation.con.sql(sql, params=list(key)).to_arrow_table()
            return table.rename_columns(schema.names).cast(schema)

    def predicate_columns(self, source: SourceSpec, predicate: str) -> tuple[str, ...]:
        """Return the columns of a source that a predicate reads, in the source's order."""
        return predicates.columns_of(source.name, [column.name for column in source.columns], predicate)

    def _batches(self, request: ScanRequest, schema: pa.Schema, rejected: Rejected) -> Iterator[pa.RecordBatch]:
        wanted, until = elsewhere.wanted_by(request), request.until_entry
        with opened(self._engine, request.source, self._frames, until_entry=until, wanted=wanted) as relation:
            relation = add_columns(relation, request.source, request.derived, self._load)
            sql = self._sql(relation, request, rejected)
            reader = relation.con.sql(sql).to_arrow_reader(_READ_ROWS)
            for batch in _gathered(reader):
                yield batch.rename_columns(schema.names).cast(schema)

    def _sql(self, relation: Relation, request: ScanRequest, rejected: Rejected) -> str:
        source = request.source
        _check_predicates(relation, request)
        rules = quarantine.rules(relation, request)
        fields = _Fields(relation, request, rules)
        picked = fields.before_columns() + fields.columns()
        usable = quarantine.set_apart(relation, request, rules, self._quarantine, rejected)
        table, keep, retracted_at, order = "src", [usable], "", ""
        if request.events and source.event_id is not None:
            found = fold(relation, source, usable, fields.available_us, self._engine.memory_limit_bytes)
            table, retracted_at = found.table, found.retracted_at
            keep.append(found.keep)
            order = f" ORDER BY {ORDER}" if found.sort else ""
        if request.where is not None:
            keep.append(predicates.condition(request.where))
        keep += fields.bounds()
        if request.only is not None:
            keep.append(_only(relation, request, request.only))
        listed = ", ".join(f"{retracted_at if sql == RETRACTED_AT else sql} AS c{i}" for i, sql in enumerate(picked))
        return f"SELECT {listed} FROM {table} WHERE {' AND '.join(k for k in keep if k != 'true') or 'true'}{order}"


def _only(relation: Relation, request: ScanRequest, keys: pa.Table) -> str:
    """Return the SQL condition of the rows that have some of these join keys."""
    if not request.keys:
        return "true"
    # Names of their own: within the subquery a name that both had would be the wanted one's, and equal to itself.
    named = [f"asof_wanted_{number}" for number in range(len(request.keys))]
    relation.con.register("asof_wanted", keys.select([key.name for key in request.keys]).rename_columns(named))
    source = request.source.name
    values = [value_sql(pick(relation.columns, key.name, source), key.dtype, source) for key in request.keys]
    same = " AND ".join(f"wanted.{name} = {value}" for name, value in zip(named, values, strict=True))
    return f"EXISTS (SELECT 1 FROM asof_wanted AS wanted WHERE {same})"


def _no_functions(spec: FunctionSpec, used_by: str) -> Callable[..., object]:
    raise DefinitionError(f"{used_by} uses {spec.path}, and this scanner runs no functions", fix="Give it load=.")


def _check_predicates(relation: Relation, request: ScanRequest) -> None:
    for predicate in {request.where, *(column.where for column in request.columns)} - {None}:
        predicates.check(relation.con, relation.columns, request.source.name, str(predicate))


@dataclass(frozen=True)
class _Fields:
    """The SQL of a scan's output columns, in the order of its schema."""

    relation: Relation
    request: ScanRequest
    rules: quarantine.Rules

    @property
    def available_us(self) -> str:
        if self.rules.available_at is not None:
            return self.rules.available_at.us
        delay = self.request.source.delay_us
        return f"{self.rules.event_time.us} + {delay}" if delay else self.rules.event_time.us

    def before_columns(self) -> list[str]:
        source = self.request.source
        found = [self._value(key.name, key.dtype) for key in self.request.keys]
        found.append(self.rules.event_time.us)
        if AVAILABLE_AT in _time_columns(self.request):
            found.append(self.available_us)
        if source.deleted is not None:
            gone = self._value(source.deleted, "bool")
            found.append(RETRACTED_AT if self.request.events else f"coalesce({gone}, false)")
        return found

    def columns(self) -> list[str]:
        return [self._column(column) for column in self.request.columns]

    def bounds(self) -> list[str]:
        column = pick(self.relation.columns, self.request.source.event_time, self.request.source.name)
        limits = ((self.request.event_time_from_us, ">="), (self.request.event_time_until_us, "<="))
        return [
            bound_sql(column, us, operator) or f"{self.rules.event_time.us} {operator} {us}"
            for us, operator in limits
            if us is not None
        ]

    def _column(self, column: ColumnRequest) -> str:
        value = "true" if column.column is None else self._value(column.column, column.dtype)
        return value if column.where is None else f"CASE WHEN {predicates.condition(column.where)} THEN {value} END"

    def _value(self, name: str, dtype: str) -> str:
        source = self.request.source.name
        return value_sql(pick(self.relation.columns, name, source), dtype, source)


def _time_columns(request: ScanRequest) -> dict[str, pa.DataType]:
    source = request.source
    found = {EVENT_TIME: pa.int64()}
    if source.available_at is not None or source.delay_us:
        found[AVAILABLE_AT] = pa.int64()
    if source.deleted is not None:
        found[RETRACTED_AT if request.events else DELETED] = pa.int64() if request.events else pa.bool_()
    return found


def _schema(request: ScanRequest) -> pa.Schema:
    keys = [(key.name, dtypes.to_arrow(key.dtype)) for key in request.keys]
    columns = [(column.name, dtypes.to_arrow(column.dtype)) for column in request.columns]
    return pa.schema([*keys, *_time_columns(request).items(), *columns])


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Join batches too small to be worth a call each."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows >= _LEAST_ROWS:
            yield pa.concat_batches(held) if len(held) > 1 else batch
            held, rows = [], 0
    if rows:
        yield pa.concat_batches(held)
