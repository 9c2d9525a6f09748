"""Tables of other systems: what a scan needs of one is read once, in one snapshot, into a Parquet file of its own."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from asof.backends.local import predicates
from asof.errors import ConfigError, SchemaError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import ModuleType

    from asof.interfaces.scanner import ScanRequest
    from asof.plan.specs import Column, DerivedSpec, SourceSpec

KINDS = frozenset({"postgres", "iceberg"})
_PACKAGES = {"postgres": "postgres-source", "iceberg": "iceberg"}


@dataclass(frozen=True)
class Wanted:
    """What of a table is to be read.

    Attributes:
        columns: These columns; None is all that have a dtype.
        named: More columns by their lower-case names, as expressions name them; what is none is left alone.
        event_time_from_us: Rows with an earlier event time are not needed; None: no bound.
        event_time_until_us: Rows with a later one are not needed; None: no bound.
        known_until_us: Rows that get known later are not needed; None: no bound.
        horizon_us: Rows with a later event time are needed nevertheless, to be set apart; None: no such rule.
        whole_events: Every row of an event id is needed where one of them is.
        refuse_infinite: Whether infinite times as values are an error.
    """

    columns: frozenset[str] | None = None
    named: frozenset[str] = frozenset()
    event_time_from_us: int | None = None
    event_time_until_us: int | None = None
    known_until_us: int | None = None
    horizon_us: int | None = None
    whole_events: bool = False
    refuse_infinite: bool = True

    @property
    def bounded(self) -> bool:
        """Whether some event times are not needed."""
        return self.event_time_from_us is not None or self.event_time_until_us is not None

    def chosen(self, source: str, names: Iterable[str]) -> list[str]:
        """Return the columns to read among those of the table.

        Raises:
            SchemaError: the table lacks one.
        """
        known = list(names)
        if self.columns is None:
            return known
        for name in sorted(self.columns.difference(known)):
            raise SchemaError(
                f"Source {source!r} has no column {name!r}",
                why=did_you_mean(name, known),
                fix=f"Its columns are {', '.join(known)}.",
            )
        return [name for name in known if name in self.columns or name.lower() in self.named]


@dataclass(frozen=True)
class Rows:
    """The rows of a table that is open: their schema, and batches that can be taken once, in ingest order."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def wanted_by(request: ScanRequest, *, bounded: bool = True) -> Wanted:
    """Return what a scan needs; without `bounded`, rows of every event time."""
    source = request.source
    expressions = [request.where, *(column.where for column in request.columns)]
    columns = {column.column for column in request.columns if column.column is not None}
    found = _with_keys(source, request.keys, columns, expressions, request.derived)
    skew, now = source.max_skew_us, request.now_us
    return Wanted(
        *found,
        event_time_from_us=request.event_time_from_us if bounded else None,
        event_time_until_us=request.event_time_until_us if bounded else None,
        horizon_us=None if skew is None or now is None else now + skew,
        whole_events=request.events and source.event_id is not None,
    )


def wanted_for_keys(
    source: SourceSpec, keys: tuple[Column, ...], where: str | None, derived: DerivedSpec | None
) -> Wanted:
    """Return what a list of join keys needs."""
    return Wanted(*_with_keys(source, keys, set(), [where], derived))


def _with_keys(
    source: SourceSpec,
    keys: Iterable[Column],
    columns: set[str],
    expressions: Iterable[str | None],
    derived: DerivedSpec | None,
) -> tuple[frozenset[str] | None, frozenset[str]]:
    computed: set[str] = set()
    texts = [text for text in expressions if text is not None]
    if derived is not None:
        if derived.transform is not None:  # which columns a function looks at, nobody knows
            return None, frozenset()
        computed = set(derived.types())
        texts += [one.sql for one in derived.select]
    roles = (source.event_time, source.available_at, source.event_id, source.deleted)
    exact = columns | {key.name for key in keys} | {role for role in roles if role is not None}
    named = {name.lower() for text in texts for name in predicates.names_in(source.name, text)}
    return frozenset(exact - computed), frozenset(named)


def schema(root: Path, source: SourceSpec) -> pa.Schema:
    """Return all columns of a table; those that no dtype holds say why in their metadata.

    Raises:
        SourceError, SchemaError, ConfigError: it is not there, cannot be read, or two columns have one name.
    """
    if source.kind == "postgres":
        return postgres().schema(source)
    return iceberg().schema(root, source)


def size_bytes(root: Path, source: SourceSpec) -> int:
    """Return the bytes that a table takes, as its system says; 0 where it does not know."""
    return int(postgres().size_bytes(source) if source.kind == "postgres" else iceberg().size_bytes(root, source))


def read(root: Path, source: SourceSpec, wanted: Wanted) -> AbstractContextManager[Rows]:
    """Open the rows of a table, as of one instant.

    Raises:
        SourceError, SchemaError, ConfigError: as `schema`, also while batches are taken.
    """
    found: AbstractContextManager[Rows]
    found = postgres().read(source, wanted) if source.kind == "postgres" else iceberg().read(root, source, wanted)
    return found


def fetch(root: Path, source: SourceSpec, wanted: Wanted, target: Path) -> None:
    """Write what is wanted of a table to a Parquet file, batch by batch.

    Raises:
        SourceError, SchemaError, ConfigError: see `read`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with read(root, source, wanted) as rows, pq.ParquetWriter(target, rows.schema, store_schema=False) as writer:
        for batch in rows.batches:
            writer.write_batch(batch)


def version(root: Path, source: SourceSpec) -> str:
    """Return what a table holds now, in words: a snapshot's id, of PostgreSQL the rows and a hash of them."""
    if source.kind == "iceberg":
        return f"snapshot {iceberg().identify(root, source).snapshot}"
    content = postgres().content(source, None)
    return f"{content.rows} {'row' if content.rows == 1 else 'rows'} {content.hash[:12]}"


def postgres() -> ModuleType:
    """Return the module that reads PostgreSQL.

    Raises:
        ConfigError: what it needs is not installed.
    """
    from asof.backends.local import postgres_tables

    return _installed("postgres", "adbc_driver_postgresql", postgres_tables)


def iceberg() -> ModuleType:
    """Return the module that reads Iceberg tables.

    Raises:
        ConfigError: what it needs is not installed.
    """
    from asof.backends.local import iceberg_tables

    return _installed("iceberg", "pyiceberg", iceberg_tables)


def _installed(kind: str, package: str, module: ModuleType) -> ModuleType:
    if find_spec(package) is None:
        raise ConfigError(
            f"The package {package.replace('_', '-')} is not installed",
            why=f"Sources of kind {kind} are read with it",
            fix=f"Run `pip install 'asof[{_PACKAGES[kind]}]'`.",
        )
    return module
