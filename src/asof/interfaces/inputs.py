"""The contract of an input recorder: which bytes a source consists of now, and whether they are still the same."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from asof.plan.specs import SourceSpec  # noqa: TC001 - msgspec reads the annotations


class FileInput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file that was read.

    Attributes:
        path: Relative to the project's root where it is below it, else absolute; of an object its URL.
        size_bytes: Its size.
        modified_ns: When it was written, in nanoseconds since the epoch; not part of its identity.
        sha256: Hash of all of its bytes, in hex.
        tag: Of an object: its ETag, which another one in its place does not have; not part of its identity.
    """

    path: str
    size_bytes: int
    modified_ns: int
    sha256: str
    tag: str = ""


class SourceInput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a source consisted of when it was read.

    Attributes:
        name: The source.
        kind: file, delta, stream, postgres or iceberg.
        path: As the source states it; of a batch source and of tables elsewhere, its name and meaning.
        files: Of a file source, in ingest order.
        table_version: Of a Delta or Iceberg table: the version or snapshot that was read.
        newest: Of a Delta or Iceberg table: whether the source asks for the newest version, instead of this one.
        table_id: Of a Delta or Iceberg table: its identity, which another table at the same path does not have.
        entry: Of a stream source: the newest entry of its log that was read.
        rows: Of a stream source: how many rows its log had up to that entry. Of PostgreSQL: how many there were.
        rows_hash: Of a stream source: a hash of where those came from and when they arrived, in hex. Of PostgreSQL: of
            all values of the source's columns.
        until_us: Of PostgreSQL: only rows that happened, and were known, by then are meant; None: all.
        snapshot: Of PostgreSQL: the server's name of the snapshot that was read; not part of the identity.
        source: Of PostgreSQL and Iceberg: what is read to compare.
        history: Of a stream source: what its history consisted of; empty where it has none.
    """

    name: str
    kind: Literal["file", "delta", "stream", "postgres", "iceberg"]
    path: str
    files: tuple[FileInput, ...] = ()
    table_version: int | None = None
    newest: bool = False
    table_id: str = ""
    entry: int = 0
    rows: int = 0
    rows_hash: str = ""
    until_us: int | None = None
    snapshot: str = ""
    source: SourceSpec | None = None
    history: tuple[SourceInput, ...] = ()


class InputRecorder(Protocol):
    """Records inputs. Errors: `SourceError` where a source cannot be read."""

    def record(self, source: SourceSpec, *, until_us: int | None = None) -> SourceInput:
        """Return what a source consists of now; every byte of its files is read for the hashes.

        Args:
            source: The source.
            until_us: No row that happens or gets known later can matter: it need not be part of what is recorded.
        """
        ...

    def problems(self, recorded: SourceInput, *, quick: bool = False) -> list[str]:
        """Return in words every part of a recorded source that is gone or has other content; none if all is the same.

        Args:
            recorded: What `record` returned.
            quick: Compare sizes and times of writing, or ETags, only, instead of every byte.
        """
        ...
