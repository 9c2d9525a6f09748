"""The serving log: what services answered, as Parquet files in folders that say whose answers and of when they are."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asof.errors import CorruptDataError, InputError, NotFoundError, SchemaError, did_you_mean
from asof.services.serving_rows import REQUEST_ID, ROW, SERVED_AT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.interfaces import FolderShelf

FOLDER = "serving_log"
"""Below the directory of the offline store."""
ROWS = "rows.parquet"
_NAME = re.compile(r"(?P<service>\w+)@(?P<version>\d+)\.(?P<first>-?\d+)\.(?P<last>-?\d+)\.[0-9a-f]+")


@dataclass(frozen=True)
class LoggedFile:
    """A folder of the log: some rows of one service version.

    Attributes:
        first_us: When the first of its rows was served; and
        last_us: the last.
    """

    name: str
    service: str
    version: int
    first_us: int
    last_us: int


@dataclass(frozen=True)
class LoggedService:
    """What the log has of a service version."""

    service: str
    version: int
    files: int
    first_us: int
    last_us: int


class ServingLog:
    """Adds, reads and prunes. A file appears whole or not at all, so whoever writes may be killed at any moment."""

    def __init__(self, shelf: FolderShelf) -> None:
        """Keep files on `shelf`."""
        self._shelf = shelf

    def add(self, service: str, table: pa.Table) -> None:
        """Add rows of one service version, as "fraud@2".

        Raises:
            StoreError, StoreFullError: they were not added.
        """
        times = table.column(SERVED_AT).cast(pa.int64())
        first, last = pc.min(times).as_py(), pc.max(times).as_py()
        with self._shelf.adding(f"{service}.{first}.{last}.{uuid.uuid4().hex}") as folder:
            pq.write_table(table, folder / ROWS, compression="zstd")

    def files(
        self, service: str | None = None, since_us: int | None = None, until_us: int | None = None
    ) -> list[LoggedFile]:
        """Return the files that may have rows of a service, "fraud" or "fraud@2", served in [since, until), by time."""
        name, _, version = (service or "").partition("@")
        found = []
        for folder in self._shelf.names():
            match = _NAME.fullmatch(folder)
            if match is None:
                continue
            one = LoggedFile(folder, match["service"], int(match["version"]), int(match["first"]), int(match["last"]))
            if service is not None and (one.service != name or (version and version != str(one.version))):
                continue
            if (since_us is None or one.last_us >= since_us) and (until_us is None or one.first_us < until_us):
                found.append(one)
        return sorted(found, key=lambda one: (one.first_us, one.name))

    def services(self) -> list[LoggedService]:
        """Return which service versions have rows, by name and version."""
        groups: dict[tuple[str, int], list[LoggedFile]] = {}
        for one in self.files():
            groups.setdefault((one.service, one.version), []).append(one)
        return [
            LoggedService(name, version, len(group), group[0].first_us, max(one.last_us for one in group))
            for (name, version), group in sorted(groups.items())
        ]

    def read(self, service: str, since_us: int | None = None, until_us: int | None = None) -> pa.Table:
        """Return the rows of a service, "fraud" or "fraud@2", that were served in [since, until), as they were served.

        Rows are by the time they were served, then by request and row. Of several versions the columns are united; a
        row has null in those that its version does not have.

        Raises:
            NotFoundError: the log has nothing of that service.
            SchemaError: versions have a column of different types.
            CorruptDataError: a file is damaged.
        """
        files = self.files(service, since_us, until_us)
        if not files:
            self._require(service)
        tables = [table for one in files if (table := self._table(one, since_us, until_us)) is not None]
        if not tables:
            return pa.table({})
        try:
            together = pa.concat_tables(tables, promote_options="default")
        except pa.ArrowException as error:
            raise SchemaError(
                f"Versions of service {service} cannot be read as one table", why=str(error), fix="Name one: fraud@2."
            ) from error
        return together.sort_by([(SERVED_AT, "ascending"), (REQUEST_ID, "ascending"), (ROW, "ascending")])

    def prune(self, before_us: int, service: str | None = None) -> Sequence[LoggedFile]:
        """Delete the files whose rows were all served before an instant, and return which they were."""
        doomed = [one for one in self.files(service) if one.last_us < before_us]
        for one in doomed:
            self._shelf.remove(one.name)
        return doomed

    def _require(self, service: str) -> None:
        known = {one.service for one in self.services()}
        name, _, version = service.partition("@")
        if version and not version.isdigit():
            raise InputError(f"{service!r} is not a service", fix="Write fraud, or fraud@2.")
        if name not in known:
            raise NotFoundError(
                f"The serving log has nothing of service {name!r}",
                why=did_you_mean(name, known),
                fix="Serve with --serving-log 0.01; what waits is written every half minute.",
            )

    def _table(self, one: LoggedFile, since_us: int | None, until_us: int | None) -> pa.Table | None:
        try:
            table = pq.read_table(self._shelf.path(one.name) / ROWS, partitioning=None)
        except FileNotFoundError:
            return None  # pruned meanwhile
        except (pa.ArrowException, OSError) as error:
            raise CorruptDataError(
                f"{one.name} of the serving log cannot be read",
                why=str(error),
                fix="Bring it back from a backup, or delete its folder.",
            ) from error
        times = table.column(SERVED_AT).cast(pa.int64())
        kept = pa.chunked_array([pa.array([True] * len(table))])
        if since_us is not None:
            kept = pc.and_(kept, pc.greater_equal(times, since_us))
        if until_us is not None:
            kept = pc.and_(kept, pc.less(times, until_us))
        return table.filter(kept)
