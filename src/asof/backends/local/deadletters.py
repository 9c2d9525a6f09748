"""Dead letters in files: per source a folder, per log entry that has some a Parquet file, replaced as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from asof.backends.local.disk import as_files
from asof.errors import CorruptDataError
from asof.interfaces.deadletters import DeadLetter, Replaying

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from asof.interfaces.files import Files

_SUFFIX = ".parquet"
_REPLAYING = "replaying.json"
_INSTANT = pa.timestamp("us", "UTC")
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("partition", pa.string()),
        ("position", pa.int64()),
        ("sent_at", _INSTANT),
        ("received_at", _INSTANT),
        ("reason", pa.string()),
        ("value", pa.large_binary()),
    ]
)


@dataclass(frozen=True)
class LocalDeadLetters:
    """A `DeadLetterStore` below a folder."""

    place: Path | Files

    def of(self, source: str) -> LocalSourceDeadLetters:
        """Return those of a source."""
        return LocalSourceDeadLetters(as_files(self.place).below(source))


@dataclass(frozen=True)
class LocalSourceDeadLetters:
    """The `SourceDeadLetters` in a folder, which the first letter makes."""

    files: Files

    def keep(self, entry: int, letters: Sequence[DeadLetter]) -> None:
        """Replace the file of an entry, or delete it where there are no letters."""
        if not letters:
            self.files.delete([_name(entry)])
            return
        table = pa.table(
            {
                "id": [one.id for one in letters],
                "partition": [one.partition for one in letters],
                "position": pa.array([one.position for one in letters], pa.int64()),
                "sent_at": pa.array([one.sent_at_us for one in letters], pa.int64()).cast(_INSTANT),
                "received_at": pa.array([one.received_at_us for one in letters], pa.int64()).cast(_INSTANT),
                "reason": [one.reason for one in letters],
                "value": pa.array([one.value for one in letters], pa.large_binary()),
            },
            schema=_SCHEMA,
        )
        self.files.tidy()
        self.files.replace(_name(entry), lambda path: pq.write_table(table, path, compression="zstd"))

    def entries(self, until: int) -> Sequence[int]:
        """Return which log entries up to one have letters, newest first."""
        names = (item.name for item in self.files.items())
        found = (int(name.removesuffix(_SUFFIX)) for name in names if name[0].isdigit() and name.endswith(_SUFFIX))
        return sorted((entry for entry in found if entry <= until), reverse=True)

    def read(self, entry: int, *, values: bool = True) -> Sequence[DeadLetter]:
        """Return the letters of an entry in order; none if they were forgotten meanwhile."""
        names = _SCHEMA.names if values else [name for name in _SCHEMA.names if name != "value"]
        path = self.files.place(_name(entry))
        found = self.files.find(_name(entry))
        if found is None:
            return []
        try:
            table = pq.read_table(self.files.fetch(found), columns=names)
        except FileNotFoundError:
            return []
        except (pa.ArrowException, OSError) as error:
            raise CorruptDataError(
                f"File {path} does not hold dead letters", why=str(error), fix="Restore it from a backup, or delete it."
            ) from error
        for name in ("sent_at", "received_at"):
            table = table.set_column(table.column_names.index(name), name, table.column(name).cast(pa.int64()))
        return [
            DeadLetter(
                id=row["id"],
                partition=row["partition"],
                position=row["position"],
                sent_at_us=row["sent_at"],
                received_at_us=row["received_at"],
                reason=row["reason"],
                value=row.get("value"),
            )
            for row in table.to_pylist()
        ]

    def forget(self, ids: Collection[str]) -> None:
        """Delete letters; unknown ones are ignored."""
        gone = set(ids)
        for entry in sorted({int(one.partition("-")[0]) for one in gone}):
            found = self.read(entry)
            kept = [one for one in found if one.id not in gone]
            if len(kept) < len(found):
                self.keep(entry, kept)

    def replaying(self) -> Replaying | None:
        """Return the replay that was begun and not ended."""
        item = self.files.find(_REPLAYING)
        if item is None:
            return None
        try:
            found = self.files.fetch(item).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(found, type=Replaying)
        except msgspec.MsgspecError as error:
            raise CorruptDataError(
                f"File {self.files.place(_REPLAYING)} does not say what is replayed",
                why=str(error),
                fix="Restore it from a backup.",
            ) from error

    def begin_replay(self, replaying: Replaying) -> None:
        """Note durably that letters are about to be taken in."""
        note = msgspec.json.encode(replaying)
        self.files.replace(_REPLAYING, lambda path: path.write_bytes(note))

    def end_replay(self) -> None:
        """Forget what `begin_replay` noted."""
        self.files.delete([_REPLAYING])


def _name(entry: int) -> str:
    return f"{entry:012d}{_SUFFIX}"
