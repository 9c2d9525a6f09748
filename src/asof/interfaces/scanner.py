"""The contract of a scanner: reads a source into canonical Arrow batches, filters and dedupes, sets bad rows apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    import pyarrow as pa

    from asof.plan.specs import Column, DerivedSpec, SourceSpec

EVENT_TIME = "__event_time"
AVAILABLE_AT = "__available_at"
RETRACTED_AT = "__retracted_at"
DELETED = "__deleted"
ORDER = "__order"
EVENT_ID = "__event_id"
REJECTED = "__rejected"
FIRST = "__first"
WHERE = "__where"


@dataclass(frozen=True)
class ColumnRequest:
    """One output column of a scan.

    Attributes:
        name: Its name in the batches.
        column: The source's column, its NaN read as null; None for a bool column of trues.
        dtype: The dtype to deliver (see `asof.dtypes`); what cannot be converted without loss is refused.
        where: SQL predicate; the value is null where it is not true.
    """

    name: str
    column: str | None
    dtype: str
    where: str | None = None


@dataclass(frozen=True)
class ScanRequest:
    """What to read from one source.

    Attributes:
        source: The source.
        keys: Join keys with their dtypes; delivered under their own names, in this order.
        columns: The value columns.
        where: SQL predicate over the source's columns; rows where it is not true are left out (after dedupe).
        events: True: each event_id once (the first by available at, then ingest order) and retractions folded into
            `__retracted_at`. False: every row, tombstones with `__deleted`.
        event_time_from_us: Leave out rows with an earlier event time (they may still win a dedupe); None: no bound.
        event_time_until_us: Leave out rows with an event time after this; None: no bound.
        now_us: The clock, for `max_skew`; None: not checked.
        derived: Columns to add to the source's rows, for keys, columns and predicates to use.
        until_entry: Of a stream source: read its log up to this entry; None: to its end.
        only: Of the rows only those with these join keys, a table with a column per key; None: all.
    """

    source: SourceSpec
    keys: tuple[Column, ...]
    columns: tuple[ColumnRequest, ...]
    where: str | None = None
    events: bool = False
    event_time_from_us: int | None = None
    event_time_until_us: int | None = None
    now_us: int | None = None
    derived: DerivedSpec | None = None
    until_entry: int | None = None
    only: pa.Table | None = None


@dataclass
class Rejected:
    """Rows that cannot be used, counted by reason, and where they were put; filled while the scan runs.

    Attributes:
        counts: Rows per reason, as {"event time is null": 3}.
        path: The quarantine file, or None while nothing was rejected.
    """

    counts: dict[str, int] = field(default_factory=dict)
    path: str | None = None


@dataclass(frozen=True)
class Scan:
    """A running scan.

    Attributes:
        schema: The keys, `__event_time` int64, then `__available_at` int64 (absent where it equals the event time),
            `__retracted_at` int64 nullable (events of a source that retracts), `__deleted` bool (states of a source
            with tombstones), then the requested columns. Times are microseconds since the epoch, UTC.
        batches: In ingest order: files by path (of a Delta table by time written, then path), rows by position.
        rejected: Complete once `batches` is exhausted.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    rejected: Rejected


class Scanner(Protocol):
    """Reads sources. Errors: `SourceError` (unreadable), `SchemaError` (does not fit), both naming file and column."""

    def schema(self, source: SourceSpec) -> pa.Schema:
        """Return the columns of a source; files that disagree with each other are a `SchemaError`."""
        ...

    def check_predicate(self, source: str, schema: pa.Schema, predicate: str) -> None:
        """Refuse a predicate that is not valid SQL over these columns, or not boolean, with a `DefinitionError`."""
        ...

    def derive(self, source: str, schema: pa.Schema, select: Sequence[tuple[str, str]]) -> pa.Schema:
        """Return the schema with a column per (name, SQL expression) after its own.

        Raises:
            DefinitionError: an expression is not valid, repeatable SQL over these columns, or a name is taken.
        """
        ...

    def check_expression(self, schema: pa.Schema, expression: str, used_by: str) -> pa.DataType:
        """Return the type of a SQL expression over these columns; refuse what is none with a `DefinitionError`."""
        ...

    def scan(self, request: ScanRequest) -> Scan:
        """Start reading; nothing is read before the first batch is taken."""
        ...

    def size_bytes(self, source: SourceSpec) -> int:
        """Return the bytes that the source's files take, for planning; 0 where it is not known."""
        ...

    def archive_positions(self, source: SourceSpec) -> Mapping[str, int]:
        """Return where a log over an archive of its topic begins: per partition the position after the newest there.

        Empty for a source that has no history with `positions`.
        """
        ...

    def key_values(
        self, source: SourceSpec, keys: tuple[Column, ...], where: str | None, derived: DerivedSpec | None = None
    ) -> pa.Table:
        """Return the distinct non-null join keys of a source, in a stable order."""
        ...

    def trace(self, request: ScanRequest, key: Sequence[Any]) -> pa.Table:
        """Return every row of one key in ingest order, also those that a scan leaves out, with what became of each.

        Columns: `__order` int64 (a row's place in the source, from 1), `__event_time` and `__available_at` int64,
        `__event_id` string, `__rejected` string (why the row is set apart, null if it is not; its times and values are
        then null), `__deleted` bool, `__first` bool (the row that counts for its event id), `__retracted_at` int64
        (when the retraction of its id became known), `__where` bool (the request's `where` is true), then of each
        requested column its value, whatever its own `where` says, and `<name>__where` bool, whether that is true.

        Args:
            request: As for a scan; its bounds of event time are ignored.
            key: One value per join key, of the join keys' Python types.
        """
        ...

    def predicate_columns(self, source: SourceSpec, predicate: str) -> tuple[str, ...]:
        """Return the columns of a source that a predicate reads, in the source's order."""
        ...
