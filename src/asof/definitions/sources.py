"""Sources: where rows come from, and which of their columns say when, known when, which one, and gone."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from pathlib import PurePath
from typing import Any

from asof.definitions.names import check_name, check_tags
from asof.durations import Duration, parse_duration
from asof.errors import DefinitionError

FORMATS = ("parquet", "csv", "ndjson")
_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".ndjson.gz": "ndjson",
    ".jsonl.gz": "ndjson",
}


@dataclass(frozen=True)
class Source:
    """Rows with an event time.

    Attributes:
        name: A letter, then letters, digits and underscores.
        event_time: Column of when it happened. Naive values are read as UTC.
        available_at: Column of when it could have been known. Default: `event_time` plus `delay`.
        delay: How long after the event time a row becomes known, where no column says so. Default: 0.
        event_id: Column that identifies an event: an id counts once, the first arrival wins.
        deleted: Bool column: a tombstone in a state view, a retraction of its `event_id` in an event view.
        max_skew: Rows whose event time is more than this ahead of the clock are quarantined. Default: no limit.
        description: For people.
        owner: Who answers for it.
        tags: Free labels.

    Raises:
        DefinitionError: a wrong name, a missing event time, both `delay` and `available_at`, or a wrong duration.
    """

    name: str
    _: KW_ONLY
    event_time: str
    available_at: str | None = None
    delay: Duration | None = None
    event_id: str | None = None
    deleted: str | None = None
    max_skew: Duration | None = None
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    delay_us: int = field(init=False, default=0)
    max_skew_us: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        check_name("Source", self.name)
        if not isinstance(self.event_time, str) or not self.event_time:
            raise DefinitionError(f"Source {self.name!r} names no event_time column", fix="Name the column.")
        if self.delay is not None and self.available_at is not None:
            raise DefinitionError(
                f"Source {self.name!r} has both available_at and delay",
                why="Each says when a row becomes known",
                fix="Keep available_at where a column records it, delay where none does.",
            )
        object.__setattr__(self, "tags", check_tags("source", self.name, self.tags))
        if self.delay is not None:
            object.__setattr__(self, "delay_us", parse_duration(self.delay, "Delay", zero=True))
        if self.max_skew is not None:
            object.__setattr__(self, "max_skew_us", parse_duration(self.max_skew, "Max skew", zero=True))


@dataclass(frozen=True)
class FileSource(Source):
    """Parquet, CSV or newline-delimited JSON: one file, a glob, or a hive-partitioned directory.

    Attributes:
        path: Relative to the project's root, or absolute, or a URL as `s3://bucket/prefix/*.parquet`. A directory or
            prefix means every file of the format below it, its `key=value` folders read as columns.
        format: parquet, csv or ndjson. Default: from the path's ending; a directory without one is Parquet.
    """

    path: str | PurePath
    _: KW_ONLY
    format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        path = str(self.path)
        if not path:
            raise DefinitionError(f"Source {self.name!r} has no path", fix="Name a file, a glob or a directory.")
        chosen = self.format or _format_of(path)
        if chosen not in FORMATS:
            raise DefinitionError(
                f"Source {self.name!r} has format {chosen!r}",
                fix=f"Say format=, one of {', '.join(FORMATS)}.",
            )
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "format", chosen)


@dataclass(frozen=True)
class DeltaSource(Source):
    """A Delta Lake table.

    Attributes:
        path: The table's directory, relative to the project's root, absolute, or a URL.
        version: Read this version of the table. Default: the newest.
    """

    path: str | PurePath
    _: KW_ONLY
    version: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "path", str(self.path))


@dataclass(frozen=True, eq=False)
class FrameSource(Source):
    """Rows in memory, for notebooks and tests: an Arrow table, a pandas or Polars frame, or a dict of columns.

    It can be used through a `FeatureStore` in the same process and cannot be applied to a registry.
    """

    frame: Any = field(repr=False)


def _format_of(path: str) -> str:
    suffixes = [suffix.lower() for suffix in PurePath(path).suffixes]
    if not suffixes:
        return "parquet"
    return _SUFFIXES.get("".join(suffixes[-2:])) or _SUFFIXES.get(suffixes[-1]) or suffixes[-1].lstrip(".")
