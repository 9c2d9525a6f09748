"""Stream sources: rows that arrive one after the other, pushed or read from a topic, beside what was there before."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from asof import dtypes
from asof.clock import parse_instant, to_us
from asof.definitions.sources import DeltaSource, FileSource, Source
from asof.definitions.tables import IcebergSource, PostgresSource
from asof.errors import AsofError, DefinitionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

STREAM_FORMATS = ("json", "avro", "protobuf")
ARRIVED_AT = "__available_at"
"""The column of a stream source that says when each row arrived."""
IDS_SUFFIX = "#ids"
"""What follows a source's name in the name of the storage that holds what is known of its event ids."""


@dataclass(frozen=True)
class StreamSource(Source):
    """Rows that are kept in the project's log as they arrive, with the moment when they did.

    A row can be known from its arrival on, so `available_at` and `delay` have no place here; those of `history` count
    for the rows of `history`.

    Attributes:
        schema: Columns and their dtypes, as {"customer_id": "int64", "amount": "float64", "ts": "timestamp"}. Fields
            that it does not name are ignored. Default: the columns of `history`.
        topic: The topic of the project's `stream` that rows come from. Default: rows are only pushed.
        format: How messages of the topic are written: json, avro or protobuf, the last two as a schema registry frames
            them.
        history: Rows from before the log began: a file, Delta, PostgreSQL or Iceberg source with the same
            columns.
        handover: Where history and stream are separate systems: history owns the event times before this instant (a
            datetime or ISO 8601 text), the stream those from it on; what either has beyond is left out.
        positions: Where history is an archive of the topic: its columns of partition and offset. The log begins after
            the newest archived message of each partition.
    """

    _: KW_ONLY
    schema: Mapping[str, str] | None = None
    topic: str | None = None
    format: str = "json"
    history: FileSource | DeltaSource | PostgresSource | IcebergSource | None = None
    handover: datetime | str | None = None
    positions: tuple[str, str] | None = None
    handover_us: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.available_at is not None or self.delay is not None:
            raise self._wrong(
                "says when its rows become known",
                "A row of a stream is known from the moment it arrived, which the log keeps",
                "Drop available_at= and delay=; those of history= stay there.",
            )
        if self.format not in STREAM_FORMATS:
            raise self._wrong(f"has format {self.format!r}", "", f"Use one of {', '.join(STREAM_FORMATS)}.")
        if self.schema is None and self.history is None:
            raise self._wrong("has no schema", "Nothing else tells its columns", 'Write schema={"column": "int64", …}.')
        if self.schema is not None:
            object.__setattr__(self, "schema", self._check_schema(self.schema))
        self._check_history()

    def _check_schema(self, schema: Mapping[str, str]) -> Mapping[str, str]:
        pairs = dict(schema)
        for name, dtype in pairs.items():
            if not isinstance(name, str) or not isinstance(dtype, str) or not name or name.startswith("__"):
                raise self._wrong(
                    f"has {name!r}: {dtype!r} in its schema",
                    "It maps column names to dtypes; names with two underscores in front are the log's own",
                    'Write schema={"customer_id": "int64"}.',
                )
            if not dtypes.is_dtype(dtype):
                raise self._wrong(
                    f"has column {name!r} as {dtype!r}, which is no type",
                    did_you_mean(dtype, dtypes.simple_dtypes()),
                    "Write a type such as int64, float64, string, bool, timestamp or decimal(10,2).",
                )
        for role in ("event_time", "event_id", "deleted"):
            column = getattr(self, role)
            if column is not None and column not in pairs:
                raise self._wrong(
                    f"has no column {column!r} in its schema", f"It is its {role}", f"Add {column!r} to schema=."
                )
        return pairs

    def _check_history(self) -> None:
        if self.history is None:
            if self.handover is not None or self.positions is not None:
                raise self._wrong("says how it meets a history that it has not", "", "Give history=.")
            return
        if not isinstance(self.history, FileSource | DeltaSource | PostgresSource | IcebergSource):
            raise self._wrong(
                f"has the history {self.history!r}",
                "Its rows must be there for good",
                "Give a file, a table or a query.",
            )
        if (self.handover is None) == (self.positions is None):
            raise self._wrong(
                "does not say how history and stream meet",
                "A row that came both ways must count once",
                "Say handover= (an instant) where they are separate systems, positions= (the columns of partition and "
                "offset) where history is the topic's archive.",
            )
        if self.handover is not None:
            try:
                given = self.handover
                us = to_us(given) if isinstance(given, datetime) else parse_instant(given)
            except (AsofError, AttributeError, TypeError, ValueError) as error:
                raise self._wrong(f"has the handover {self.handover!r}", str(error), "Give an instant.") from error
            object.__setattr__(self, "handover_us", us)

    def _wrong(self, what: str, why: str, fix: str) -> DefinitionError:
        return DefinitionError(f"Stream source {self.name!r} {what}", why=why, fix=fix)
