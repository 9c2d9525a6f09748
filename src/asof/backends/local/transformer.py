"""Runs batch sources on this machine with DuckDB: inputs are loaded once, intervals run side by side over them."""

from __future__ import annotations

import shutil
import threading
import uuid
from contextlib import contextmanager
from os import getpid
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from asof import dtypes
from asof.backends.local import published
from asof.backends.local.columns import quoted
from asof.backends.local.faults import translated
from asof.backends.local.frames import to_table
from asof.backends.local.queries import bounds, input_schema
from asof.backends.local.relation import LOCKS, SETTINGS
from asof.clock import from_us, iso
from asof.errors import AsofError, DefinitionError, SchemaError, StoreError
from asof.interfaces.scanner import AVAILABLE_AT, EVENT_TIME, RETRACTED_AT, ColumnRequest, ScanRequest
from asof.plan.batch import batch_of, seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from asof.backends.local.relation import Engine
    from asof.backends.local.scanner import LocalScanner
    from asof.interfaces.scanner import Rejected
    from asof.interfaces.transformer import Function
    from asof.plan.batch import Interval
    from asof.plan.specs import SourceSpec


class LocalTransformer:
    """Batch sources over whatever the local scanner reads, published as Parquet files, within a memory limit.

    Every interval runs on one thread, so that sums of floats and the order of rows do not depend on the machine;
    several intervals may run at once.
    """

    def __init__(self, scanner: LocalScanner) -> None:
        """Read through `scanner`, and publish where it finds what is published."""
        self.scanner = scanner
        self._engine: Engine = scanner.engine

    def published(self, source: SourceSpec) -> list[int]:
        """Return the starts of the intervals that are published with this meaning, sorted, in microseconds."""
        return published.starts(self._engine.published, source)

    @contextmanager
    def open(self, source: SourceSpec, function: Function | None, within: Interval) -> Iterator[LocalInputs]:
        """Read the inputs of a batch source into an engine of its own, which spills beyond its memory limit.

        Of sources with a lookback, only rows that the intervals within a span can see are loaded.

        Raises:
            NotBackfilledError: an input is a batch source of which nothing is published.
            SourceError, SchemaError: an input cannot be read.
        """
        scratch = self._engine.root / ".asof" / "tmp" / f"{getpid()}-{uuid.uuid4().hex}"
        config = {
            "threads": self._engine.threads,
            "memory_limit": f"{self._engine.memory_limit_bytes}B",
            "temp_directory": str(scratch),
        }
        scratch.parent.mkdir(parents=True, exist_ok=True)
        published.folder(self._engine.published, source).tidy()
        try:
            with duckdb.connect(":memory:", config=config) as con:
                with translated(source.name):
                    inputs = self._inputs(con, source, function, within)
                yield inputs
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _inputs(
        self, con: duckdb.DuckDBPyConnection, source: SourceSpec, function: Function | None, within: Interval
    ) -> LocalInputs:
        for setting in SETTINGS:
            con.execute(setting)
        columns: dict[str, list[str]] = {}
        rejected: dict[str, Rejected] = {}
        versions: dict[str, str] = {}
        for one in batch_of(source).inputs:
            versions[one.name] = published.version(self._engine.root, self._engine.published, one)
            columns[one.name], rejected[one.name] = self._load(con, one, seen(source, within, one))
        for setting in ("SET threads = 1", *LOCKS):
            con.execute(setting)
        return LocalInputs(con, self._engine, source, self._schema(source), function, columns, rejected, versions)

    def _schema(self, source: SourceSpec) -> pa.Schema:
        if source.columns:
            return pa.schema([(column.name, dtypes.to_arrow(column.dtype)) for column in source.columns])
        return self.scanner.schema(source)

    def _load(
        self, con: duckdb.DuckDBPyConnection, source: SourceSpec, limits: Interval | None
    ) -> tuple[list[str], Rejected]:
        """Make a table of an input's usable rows: their event time, from when and until when they are known."""
        schema = input_schema(self.scanner.schema(source))
        request = ScanRequest(
            source=source,
            keys=(),
            columns=tuple(
                ColumnRequest(field.name, field.name, dtypes.from_arrow(field.type) or "") for field in schema
            ),
            events=source.event_id is not None,
            event_time_from_us=None if limits is None else limits.start_us,
            event_time_until_us=None if limits is None else limits.end_us - 1,
        )
        scan = self.scanner.scan(request)
        con.register("incoming", pa.RecordBatchReader.from_batches(scan.schema, scan.batches))
        known = AVAILABLE_AT if AVAILABLE_AT in scan.schema.names else EVENT_TIME
        until = RETRACTED_AT if RETRACTED_AT in scan.schema.names else "CAST(NULL AS BIGINT)"
        listed = ", ".join(quoted(name) for name in schema.names)
        at = "" if limits is None else f"{EVENT_TIME} AS __at, "
        con.execute(
            f"CREATE TABLE {_table(source.name)} AS "
            f"SELECT {listed}, {at}{known} AS __known, {until} AS __until FROM incoming"
        )
        con.unregister("incoming")
        return schema.names, scan.rejected


class LocalInputs:
    """Loaded inputs of one batch source; every call works on a cursor of its own."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        engine: Engine,
        source: SourceSpec,
        schema: pa.Schema,
        function: Function | None,
        columns: Mapping[str, list[str]],
        rejected: Mapping[str, Rejected],
        versions: Mapping[str, str],
    ) -> None:
        self.rejected = rejected
        self.versions = versions
        self._con = con
        self._engine = engine
        self._source = source
        self._schema = schema
        self._function = function
        self._columns = columns
        self._batch = batch_of(source)
        self._inputs = {one.name: one for one in self._batch.inputs}
        # A dictionary of numbers that hardly repeat costs more than it saves.
        self._texts = [field.name for field in schema if not pa.types.is_primitive(field.type)]
        self._bounds = () if self._batch.sql is None else bounds(con, source.name, self._batch.sql, columns)
        self._running: set[duckdb.DuckDBPyConnection] = set()
        self._lock = threading.Lock()

    def publish(self, interval: Interval, record: Callable[[int], None]) -> None:
        """Run one interval and replace its file; see `BatchInputs`."""
        with self._cursor() as con, translated(self._source.name):
            self._show(con, interval)
            found = self._query(con, interval) if self._batch.sql is not None else self._call(con, interval)
            table = self._fitted(found, interval)
        name = published.interval_name(interval.start_us)

        def write(path: Path) -> None:
            pq.write_table(table, path, use_dictionary=self._texts)
            record(int(table.num_rows))

        published.folder(self._engine.published, self._source).replace(name, write)

    def cancel(self) -> None:
        """Interrupt the queries that run in other threads."""
        with self._lock:
            for con in self._running:
                con.interrupt()

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        con = self._con.cursor()
        with self._lock:
            self._running.add(con)
        try:
            yield con
        finally:
            with self._lock:
                self._running.discard(con)
            con.close()

    def _show(self, con: duckdb.DuckDBPyConnection, interval: Interval) -> None:
        known_us = interval.end_us + self._source.delay_us
        for name, columns in self._columns.items():
            limits = seen(self._source, interval, self._inputs[name])
            within = "" if limits is None else f" AND __at >= {limits.start_us} AND __at < {limits.end_us}"
            con.execute(
                f"CREATE TEMP VIEW {quoted(name)} AS SELECT {', '.join(map(quoted, columns))} FROM {_table(name)} "
                f"WHERE __known <= {known_us} AND (__until IS NULL OR __until > {known_us}){within}"
            )

    def _query(self, con: duckdb.DuckDBPyConnection, interval: Interval) -> pa.Table:
        given = {"start": from_us(interval.start_us), "end": from_us(interval.end_us)}
        sql = f"SELECT * FROM (\n{self._batch.sql}\n) ORDER BY ALL"
        return con.sql(sql, params={name: given[name] for name in self._bounds}).to_arrow_table()

    def _call(self, con: duckdb.DuckDBPyConnection, interval: Interval) -> pa.Table:
        assert self._function is not None  # noqa: S101 - opened with the function that the spec refers to
        inputs = {name: con.sql(f"SELECT * FROM {quoted(name)}").to_arrow_table() for name in self._columns}
        where = f"batch source {self._source.name!r}, interval {iso(interval.start_us)}"
        try:
            found: Any = self._function(inputs, from_us(interval.start_us), from_us(interval.end_us))
        except AsofError:
            raise
        except OSError as error:
            raise StoreError(
                f"The function of {where} met an error of the system", why=str(error), fix="Repeat the backfill."
            ) from error
        except Exception as error:
            raise DefinitionError(
                f"The function of {where} failed",
                why=f"{type(error).__name__}: {error}",
                fix="Correct the function, then `asof apply` and repeat the backfill.",
            ) from error
        return to_table(found, self._source.name)

    def _fitted(self, found: pa.Table, interval: Interval) -> pa.Table:
        names = self._own_names()
        if missing := [name for name in names if name not in found.column_names]:
            raise SchemaError(
                f"The rows of batch source {self._source.name!r} lack column {missing[0]!r}",
                why=f"They have {', '.join(found.column_names)}",
                fix="Return every column that is declared.",
            )
        end = pa.array([interval.end_us], pa.int64()).cast(pa.timestamp("us", "UTC"))
        columns = []
        for field in self._schema:
            if field.name == self._source.event_time:
                columns.append(pa.repeat(end[0], found.num_rows))
            else:
                columns.append(self._cast(field, found.column(field.name)))
        return pa.Table.from_arrays(columns, schema=self._schema)

    def _cast(self, field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
        try:
            return column.cast(field.type)
        except pa.ArrowException as exc:
            raise SchemaError(
                f"Column {field.name!r} of batch source {self._source.name!r} is {column.type}, "
                f"which cannot be read as {field.type} without loss",
                why=str(exc).splitlines()[0],
                fix="Convert it in the query or function, or run `asof apply` for a new version.",
            ) from exc

    def _own_names(self) -> list[str]:
        return [name for name in self._schema.names if name != self._source.event_time]


def _table(name: str) -> str:
    return quoted(f"__input_{name}")
