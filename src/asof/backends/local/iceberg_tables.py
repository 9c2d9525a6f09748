"""Reads Iceberg tables with PyIceberg: one snapshot, only the files, columns and times that are wanted."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from asof import dtypes
from asof.backends.local.elsewhere import Rows
from asof.clock import FIRST_US, LAST_US, from_us
from asof.errors import AsofError, ConfigError, SchemaError, SourceError
from asof.plan.resolve import REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.table import DataScan, FileScanTask, Table

    from asof.backends.local.elsewhere import Wanted
    from asof.plan.specs import SourceSpec

EMPTY = 0
"""The snapshot of a table that has none yet."""


@dataclass(frozen=True)
class Identity:
    """Which snapshot of which table a source reads.

    Attributes:
        snapshot: Its id, or `EMPTY`.
        table_id: The table's UUID.
        missing: Data files of the snapshot that are not there any more; known of files on this machine only.
    """

    snapshot: int
    table_id: str
    missing: tuple[str, ...]


def schema(root: Path, source: SourceSpec) -> pa.Schema:
    """Return all columns; one that no dtype holds has the reason in its metadata."""
    with _opened(root, source) as table:
        found = _arrow(_scan(table, source).projection())
    return pa.schema([_described(field) for field in found])


def size_bytes(root: Path, source: SourceSpec) -> int:
    """Return the bytes of the snapshot's data files."""
    with _opened(root, source) as table:
        return sum(task.file.file_size_in_bytes for task in _tasks(table, _scan(table, source)))


@contextmanager
def read(root: Path, source: SourceSpec, wanted: Wanted) -> Iterator[Rows]:
    """Open the rows that are wanted: files by the order of their commits, then path; rows by position."""
    with _opened(root, source) as table:
        known = _arrow(_scan(table, source).projection())
        usable = {field.name for field in known if dtypes.from_arrow(field.type) is not None}
        names = wanted.chosen(source.name, known.names)
        for name in names:
            if name not in usable and name in (wanted.columns or ()):
                raise SchemaError(
                    f"Column {name!r} of source {source.name!r} has a type that features cannot have",
                    why=_why(known.field(name)),
                    fix="Leave the column out, then apply the definitions again.",
                )
        picked = pa.schema([field for field in known if field.name in names and field.name in usable])
        scan = _scan(table, source, fields=tuple(picked.names), within=_within(source, known, wanted))
        yield Rows(picked, _batches(table, scan, picked))


def identify(root: Path, source: SourceSpec) -> Identity:
    """Return the identity of the snapshot that a source reads now.

    Raises:
        SourceError: there is no such table or snapshot.
    """
    with _opened(root, source) as table:
        tasks = _tasks(table, _scan(table, source))
        local = [_path(task.file.file_path) for task in tasks]
        missing = sorted(str(path) for path in local if path is not None and not path.exists())
        return Identity(_snapshot(table, source) or EMPTY, str(table.metadata.table_uuid), tuple(missing))


@contextmanager
def _opened(root: Path, source: SourceSpec) -> Iterator[Table]:
    """Open a table, and turn whatever PyIceberg and its file systems raise inside the block into Asof's errors."""
    from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

    place = f"Source {source.name!r}: Iceberg table {source.table or source.path}"
    try:
        if source.path:
            yield _static(root, source.path)
        else:
            with closing(_catalog(source)) as catalog:
                yield catalog.load_table(source.table)
    except AsofError:
        raise
    except (NoSuchTableError, NoSuchNamespaceError, FileNotFoundError) as error:
        raise SourceError(
            f"{place} is not there, or not all of it",
            why=_first(error),
            fix="Correct table=, catalog= or metadata= of the source, or bring back the file.",
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, PermissionError):
            raise
        raise SourceError(
            f"{place} cannot be read",
            why=_first(error),
            fix="Check the catalog's properties and what may read the table's files.",
        ) from error


def _catalog(source: SourceSpec) -> Any:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.utils.config import Config

    # Read now: the library itself has read the environment when it was imported.
    properties = Config().get_catalog_config(source.connection)
    if not properties:
        raise ConfigError(
            f"The catalog {source.connection!r} of source {source.name!r} is not known here",
            why="Neither .pyiceberg.yaml nor the environment has properties of it",
            fix=f"Set PYICEBERG_CATALOG__{source.connection.upper()}__URI, or write .pyiceberg.yaml.",
        )
    return load_catalog(source.connection, **{str(key): str(value) for key, value in properties.items()})


def _static(root: Path, path: str) -> Table:
    from pyiceberg.table import StaticTable

    return StaticTable.from_metadata(path if "://" in path else str(root / path))


def _snapshot(table: Table, source: SourceSpec) -> int | None:
    """Return the snapshot that a source reads; None where the table has none yet."""
    asked = source.table_version
    if asked == EMPTY:
        return None
    if asked is None:
        current = table.metadata.current_snapshot_id
        return None if current is None or current < 0 else int(current)
    if table.snapshot_by_id(asked) is None:
        raise SourceError(
            f"Source {source.name!r}: Iceberg table {source.table or source.path} has no snapshot {asked}",
            why="It was expired, or is another table's",
            fix="Correct snapshot= of the source, or leave it out to read the current one.",
        )
    return asked


def _scan(table: Table, source: SourceSpec, *, fields: tuple[str, ...] = ("*",), within: Any = None) -> DataScan:
    from pyiceberg.expressions import AlwaysTrue

    return table.scan(
        row_filter=AlwaysTrue() if within is None else within,
        selected_fields=fields,
        snapshot_id=_snapshot(table, source),
    )


def _tasks(table: Table, scan: DataScan) -> list[FileScanTask]:
    if scan.snapshot_id is None:
        return []
    entries = table.inspect.entries(scan.snapshot_id).select(["file_sequence_number", "data_file"])
    written = {
        file["file_path"]: number or 0
        for number, file in zip(entries.column(0).to_pylist(), entries.column(1).to_pylist(), strict=True)
    }
    return sorted(scan.plan_files(), key=lambda task: (written.get(task.file.file_path, 0), task.file.file_path))


def _batches(table: Table, scan: DataScan, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    from pyiceberg.io.pyarrow import ArrowScan

    reader = ArrowScan(scan.table_metadata, scan.io, scan.projection(), scan.row_filter, scan.case_sensitive)
    for task in _tasks(table, scan):  # one by one: of several, all are read ahead into memory
        for batch in reader.to_record_batches([task]):
            columns = [_plain(batch.column(field.name), field.type) for field in schema]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _within(source: SourceSpec, known: pa.Schema, wanted: Wanted) -> Any:
    """Return the filter for the rows that matter, those that cannot be used included; None for all.

    Where ids tell events apart it is all: the first arrival of an id counts, whenever it happened.
    """
    from pyiceberg.expressions import And, GreaterThan, GreaterThanOrEqual, IsNull, LessThanOrEqual, Or

    if not wanted.bounded or wanted.whole_events:
        return None
    name = source.event_time
    kind = known.field(name).type
    if not pa.types.is_timestamp(kind):
        return None

    def instant(us: int) -> str:
        return from_us(us).replace(tzinfo=None).isoformat() + ("+00:00" if kind.tz is not None else "")

    limits = ((wanted.event_time_from_us, GreaterThanOrEqual), (wanted.event_time_until_us, LessThanOrEqual))
    parts = [test(name, instant(us)) for us, test in limits if us is not None and FIRST_US < us < LAST_US]
    if not parts:
        return None
    needed = Or(parts[0] if len(parts) == 1 else And(*parts), IsNull(name))
    horizon = wanted.horizon_us
    if horizon is not None and FIRST_US < horizon < LAST_US:
        needed = Or(needed, GreaterThan(name, instant(horizon)))
    return needed


def _arrow(schema: Any) -> pa.Schema:
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    found = schema_to_pyarrow(schema, include_field_ids=False)
    return pa.schema([pa.field(field.name, _plain_type(field.type)) for field in found])


def _plain_type(arrow: pa.DataType) -> pa.DataType:
    if isinstance(arrow, pa.UuidType):
        return pa.string()
    if pa.types.is_large_string(arrow):
        return pa.string()
    if pa.types.is_large_binary(arrow) or pa.types.is_fixed_size_binary(arrow):
        return pa.binary()
    if pa.types.is_list(arrow) or pa.types.is_large_list(arrow):
        return pa.list_(_plain_type(arrow.value_type))
    return arrow


def _plain(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    if isinstance(values.type, pa.UuidType):
        return pa.array([None if one is None else str(one) for one in values.to_pylist()], pa.string())
    if pa.types.is_string(wanted) and pa.types.is_fixed_size_binary(values.type):
        from uuid import UUID

        return pa.array([None if one is None else str(UUID(bytes=one)) for one in values.to_pylist()], pa.string())
    return values if values.type == wanted else values.cast(wanted)


def _described(field: pa.Field) -> pa.Field:
    if dtypes.from_arrow(field.type) is not None:
        return field
    return field.with_metadata({REFUSED: _why(field)})


def _why(field: pa.Field) -> str:
    return f"It is {field.type}"


def _path(location: str) -> Path | None:
    """Return where a file is on this machine, None where it is elsewhere."""
    if "://" not in location:
        return Path(location.removeprefix("file:"))
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _first(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
