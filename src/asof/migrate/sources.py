"""Turns Feast's data sources into sources: files, Delta and PostgreSQL tables, topics and pushes with their history."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from asof.migrate.arguments import Arguments, named
from asof.migrate.findings import NotCarriedError
from asof.migrate.python import Call, Symbol
from asof.migrate.values import Made, Value

if TYPE_CHECKING:
    from asof.migrate.arguments import Labels
    from asof.migrate.findings import Findings, Place
    from asof.migrate.python import Names

FILES = ("FileSource",)
STREAMS = ("PushSource", "KafkaSource", "KinesisSource")
POSTGRES = ("PostgreSQLSource", "PostgresSource")
KINDS = frozenset(
    {*FILES, *STREAMS, *POSTGRES, "RequestSource", "BigQuerySource", "SnowflakeSource", "RedshiftSource", "SparkSource"}
    | {
        "AthenaSource",
        "TrinoSource",
        "MsSqlServerSource",
        "ClickhouseSource",
        "CouchbaseColumnarSource",
        "CustomSource",
    }
    | {"DuckDBSource", "RaySource", "OracleSource", "MongoDBSource", "DatabricksSource", "IcebergSource"}
)
_SERVERS = re.compile(r"[A-Za-z0-9._-]+:\d{1,5}(?:,[A-Za-z0-9._-]+:\d{1,5})*")
_BUCKETS = ("s3", "gs", "az")
_SUFFIXES = {".parquet", ".pq"}
_FORMATS = {"JsonFormat": "json", "AvroFormat": "avro", "ProtoFormat": "protobuf"}
_CONNECTION = "feast"
_CONNECT = "Set ASOF_SOURCE_FEAST to the database's URL in the environment, or change connection= in features.py."


@dataclass(frozen=True)
class Carried:
    """A source of the new project.

    Attributes:
        variable: Its name in features.py.
        event_time: The column of its rows.
        mapping: Name in views to column of the source, where they differ.
        history: The source that it names as its history.
    """

    variable: str
    event_time: str
    mapping: dict[str, str]
    history: Carried | None = None


@dataclass
class Sources:
    """Translates each source that a view reads, once.

    Attributes:
        root: The Feast repository.
        out: The new project's directory.
        handover: The instant from which rows are the stream's.
        calls: What each variable is.
        brokers: Bootstrap servers of Kafka sources, and where they are named.
    """

    root: Path
    out: Path
    handover: str
    findings: Findings
    labels: Labels
    names: Names
    calls: dict[str, Call] = field(default_factory=dict)
    brokers: dict[str, Place] = field(default_factory=dict)
    _done: dict[int, Carried | NotCarriedError] = field(default_factory=dict)

    def carry(self, made: Made) -> Carried:
        """Return a source of the new project.

        Raises:
            NotCarriedError: there is none for it; the source is reported the first time.
        """
        found = self._done.get(id(made))
        if found is None:
            try:
                found = self._carry(made)
            except NotCarriedError as error:
                place = error.place or made.place
                self.findings.dropped(place, _label(made), error.why, error.instead)
                found = NotCarriedError(place, error.why, error.instead)
            self._done[id(made)] = found
        if isinstance(found, NotCarriedError):
            raise NotCarriedError(None, "Its source is not carried over", f"See {found.place}.")
        return found

    def needed(self, carried: Carried) -> list[tuple[str, Call]]:
        """Return a source and before it the one that it names."""
        before = self.needed(carried.history) if carried.history is not None else []
        return [*before, (carried.variable, self.calls[carried.variable])]

    def variable(self, made: Made) -> str | None:
        """Return the variable of a source; "" where it could not be carried over, None where no view asked for it."""
        found = self._done.get(id(made))
        return None if found is None else found.variable if isinstance(found, Carried) else ""

    def _carry(self, made: Made) -> Carried:
        arguments = Arguments(made, _label(made), self.findings)
        if made.kind in FILES:
            return self._file(made, arguments)
        if made.kind in POSTGRES:
            return self._postgres(made, arguments)
        if made.kind in STREAMS:
            return self._stream(made, arguments)
        raise NotCarriedError(
            made.place,
            f"Asof does not read from a {made.kind}",
            "Export the table to Parquet, Delta or Iceberg, and read it by a FileSource, DeltaSource or IcebergSource.",
        )

    def _file(self, made: Made, arguments: Arguments) -> Carried:
        path = arguments.need("path")
        path = str(path) if isinstance(path, PurePosixPath) else path
        if not isinstance(path, str) or not path:
            raise NotCarriedError(made.place, "It has no path", 'Write FileSource("name", path="data.parquet", …).')
        kind = arguments.need("file_format")
        name = kind.kind if isinstance(kind, Made) else "ParquetFormat"
        arguments.leave("s3_endpoint_override", "Definitions hold no endpoints", "Set AWS_ENDPOINT_URL.")
        if name not in ("ParquetFormat", "DeltaFormat"):
            raise NotCarriedError(made.place, f"Its format is {name}", "Write the files as Parquet or Delta.")
        if "://" in path and name == "ParquetFormat" and path.partition("://")[0] not in _BUCKETS:
            raise NotCarriedError(
                made.place,
                f"A FileSource reads files of this machine and of {', '.join(f'{one}://' for one in _BUCKETS)}",
                "Copy the files there, or mount them.",
            )
        details: list[tuple[str, Value]] = [("path", self._path(path))]
        if name == "ParquetFormat" and PurePosixPath(path).suffix not in {"", *_SUFFIXES}:
            details.append(("format", "parquet"))
        default = PurePosixPath(path).stem
        return self._table("DeltaSource" if name == "DeltaFormat" else "FileSource", made, arguments, default, details)

    def _path(self, path: str) -> str:
        if "://" in path or not (self.root / path).is_relative_to(self.root):
            return path
        return Path(os.path.relpath(self.root / path, self.out)).as_posix()

    def _postgres(self, made: Made, arguments: Arguments) -> Carried:
        table, query = arguments.need_text("table"), arguments.need_text("query")
        if bool(table) == bool(query):
            raise NotCarriedError(made.place, "It has not exactly one of table and query", "Give one of them.")
        details: list[tuple[str, Value]] = [
            ("connection", _CONNECTION),
            ("table", table) if table else ("query", query),
        ]
        self.findings.differs(
            made.place,
            f"{_label(made)} reads the database of connection {_CONNECTION!r}",
            "Feast takes the database from feature_store.yaml, Asof from the environment",
            _CONNECT,
        )
        return self._table("PostgresSource", made, arguments, table or "query", details)

    def _table(
        self, kind: str, made: Made, arguments: Arguments, default: str, details: list[tuple[str, Value]]
    ) -> Carried:
        given = arguments.need_text("name")
        mapping = arguments.mapping("field_mapping")
        columns = {new: old for old, new in mapping.items()}
        event_time = arguments.need_text("timestamp_field") or arguments.need_text("event_timestamp_column")
        arguments.ignore("event_timestamp_column")
        if not event_time:
            raise NotCarriedError(
                made.place, "It names no timestamp_field, which Feast finds in the data", "Name the column."
            )
        event_time = columns.get(event_time, event_time)
        keywords = [*details, ("event_time", event_time)]
        if created := arguments.need_text("created_timestamp_column"):
            keywords.append(("available_at", columns.get(created, created)))
            self.findings.differs(
                made.place,
                f"rows of {_label(made)} are known from {created} on",
                "Feast breaks ties by it, and hides rows created after the instant only if asked to by "
                "filter_by_created_timestamp=True",
                "Leave it: training then sees what could be known. To see rows earlier, drop available_at=.",
            )
        arguments.leave("connection_ref", "Definitions hold no logins", "Use environment variables.")
        keywords += arguments.common()
        arguments.finish()
        name = self.labels.give("source", given or default, made, quiet=not given)
        variable = self.names.give(made.variable, name, f"{name}_source")
        self.calls[variable] = Call(kind, (name,), tuple(keywords))
        return Carried(variable, event_time, columns)

    def _stream(self, made: Made, arguments: Arguments) -> Carried:
        batch = arguments.need("batch_source")
        if not isinstance(batch, Made):
            raise NotCarriedError(
                made.place,
                "It has no batch_source, so nothing tells its columns",
                'Write StreamSource("name", schema={"column": "int64", …}, event_time="…").',
            )
        # Rows are pushed by this name, so it goes first.
        name = self.labels.give("source", arguments.need_text("name"), made) if made.kind != "KinesisSource" else ""
        history = self.carry(batch)
        if made.kind == "KinesisSource":
            self.findings.dropped(
                made.place,
                f"the stream of {_label(made)}",
                "Asof reads no Kinesis",
                "Views read its batch_source. Push the stream's rows, through a StreamSource with that as history=.",
            )
            return history
        if batch.kind in STREAMS:
            raise NotCarriedError(made.place, "Its batch_source is a stream", "Give a table.")
        keywords: list[tuple[str, Value]] = []
        if made.kind == "KafkaSource":
            keywords += self._topic(made, arguments, history)
        keywords += [("event_time", history.event_time), ("history", Symbol(history.variable))]
        keywords += [("handover", self.handover), *arguments.common()]
        self.findings.differs(
            made.place,
            f"{_label(made)} takes over at {self.handover}",
            "A row counts once: history owns the event times before handover, the stream those from it on",
            "Set handover= to the instant from which all rows come by the stream; --handover does.",
        )
        arguments.finish()
        variable = self.names.give(made.variable, name, f"{name}_stream")
        self.calls[variable] = Call("StreamSource", (name,), tuple(keywords))
        return Carried(variable, history.event_time, history.mapping, history)

    def _topic(self, made: Made, arguments: Arguments, history: Carried) -> list[tuple[str, Value]]:
        topic = arguments.need_text("topic")
        form = arguments.need("message_format")
        kind = form.kind if isinstance(form, Made) else "nothing"
        if not topic or kind not in _FORMATS:
            raise NotCarriedError(
                made.place,
                f"Its topic is {topic!r} and its messages are {kind}",
                "Write the messages as JSON, Avro or Protobuf, and name the topic.",
            )
        if isinstance(form, Made) and form.arguments:
            self.findings.dropped(
                form.place,
                f"the schema in message_format of {_label(made)}",
                "Columns are those of its history; Avro and Protobuf messages carry the id of a schema",
                "Set schema_registry in asof.toml for Avro and Protobuf.",
            )
        servers = arguments.need_text("kafka_bootstrap_servers") or arguments.text("bootstrap_servers")
        arguments.ignore("bootstrap_servers")
        if _SERVERS.fullmatch(servers):
            self.brokers.setdefault(servers, made.place)
        elif servers:
            self.findings.dropped(
                made.place,
                f"the servers of {_label(made)}",
                "They are not host:port",
                'Write stream = "kafka://…" in asof.toml.',
            )
        mapping = {new: old for old, new in arguments.mapping("field_mapping").items()}
        timestamp = arguments.need_text("timestamp_field")
        for what, here, there in (
            ("field_mapping", mapping, history.mapping),
            ("timestamp_field", mapping.get(timestamp, timestamp), history.event_time),
        ):
            if here and here != there:
                self.findings.dropped(
                    made.place,
                    f"{what} of {_label(made)}",
                    "Topic and history have the same columns, and its batch_source says otherwise",
                    "Name the columns of messages like those of the history.",
                )
        arguments.leave(
            "created_timestamp_column",
            "A row of a stream is known from its arrival on, which Asof keeps",
            "Nothing to do.",
        )
        arguments.leave(
            "watermark_delay_threshold", "Asof takes rows however late they are", "Nothing to do.", unless=(None,)
        )
        return [("topic", topic), *([("format", _FORMATS[kind])] if kind != "JsonFormat" else [])]


def _label(made: Made) -> str:
    return f"source {named(made)!r}"
