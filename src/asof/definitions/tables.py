"""Sources that are tables of other systems, read where they are: PostgreSQL tables and queries, Iceberg tables."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from asof.definitions.sources import Source
from asof.errors import DefinitionError

if TYPE_CHECKING:
    from pathlib import PurePath

_CONNECTION = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_URL = re.compile(r"postgres(?:ql)?://[^\s]+")
_SECRET = re.compile(r"://[^/@\s]*:[^/@\s]*@|[?&](?:password|sslpassword|passfile|sslkey)=", re.IGNORECASE)
_PART = r'(?:[^".\s][^".]*|"(?:[^"]|"")+")'
_TABLE = re.compile(rf"{_PART}(?:\.{_PART})?")


@dataclass(frozen=True)
class PostgresSource(Source):
    """A table, a view or a query of a PostgreSQL database.

    Attributes:
        connection: A name: the URL is then in the environment variable `ASOF_SOURCE_<NAME>`. Or a URL without a
            password, as "postgresql://reader@db.example.com/shop"; what it leaves out, libpq finds (PGPASSWORD,
            ~/.pgpass).
        table: A table or view, as "public.orders", spelled as it is stored.
        query: One SELECT instead of a table. It must give the same rows while the tables that it reads are the same.
        order_by: Columns in whose order rows came in; it decides between rows with equal times. Default: event time,
            available at, event id. Rows that are equal in them are ordered by all other columns.
    """

    _: KW_ONLY
    connection: str
    table: str | None = None
    query: str | None = None
    order_by: tuple[str, ...] | str = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_connection()
        if (self.table is None) == (self.query is None):
            raise self._wrong("has not exactly one of table= and query=", "", 'Write table="public.orders".')
        if self.table is not None and not _TABLE.fullmatch(self.table):
            raise self._wrong(
                f"has the table {self.table!r}", "", 'Write table="schema.name", names with dots in double quotes.'
            )
        if self.query is not None:
            query = self.query.strip().removesuffix(";").rstrip()
            if not query:
                raise self._wrong("has an empty query", "", "Write one SELECT.")
            object.__setattr__(self, "query", query)
        order = (self.order_by,) if isinstance(self.order_by, str) else tuple(self.order_by)
        if not all(isinstance(name, str) and name for name in order) or len(set(order)) < len(order):
            raise self._wrong(f"has order_by={self.order_by!r}", "", 'Name columns, each once: order_by=("id",).')
        object.__setattr__(self, "order_by", order)

    def _check_connection(self) -> None:
        given = self.connection
        if isinstance(given, str) and _SECRET.search(given):
            raise self._wrong(
                "holds a password or the path of one",
                "Definitions are stored in the registry and meant to be shared",
                "Name the connection, as connection='warehouse', and set ASOF_SOURCE_WAREHOUSE in the environment.",
            )
        if not isinstance(given, str) or not (_CONNECTION.fullmatch(given) or _URL.fullmatch(given)):
            raise self._wrong(
                f"has the connection {given!r}",
                "It is neither a name of letters, digits and underscores nor a postgresql:// URL",
                "Write connection='warehouse' and set ASOF_SOURCE_WAREHOUSE=postgresql://user:password@host/database.",
            )

    def _wrong(self, what: str, why: str, fix: str) -> DefinitionError:
        return DefinitionError(f"PostgreSQL source {self.name!r} {what}", why=why, fix=fix)


@dataclass(frozen=True)
class IcebergSource(Source):
    """An Apache Iceberg table, found by a catalog or by its metadata file.

    Attributes:
        table: The table's identifier, as "sales.orders".
        catalog: The catalog that knows it. Its properties are PyIceberg's: `.pyiceberg.yaml`, or environment variables
            such as `PYICEBERG_CATALOG__DEFAULT__URI`.
        metadata: Instead of table: the path or URL of a metadata file (`….metadata.json`), or of a table's directory
            with a version hint. Relative paths are below the project's root.
        snapshot: Read this snapshot of the table, by its id. Default: the current one.
    """

    _: KW_ONLY
    table: str | None = None
    catalog: str = "default"
    metadata: str | PurePath | None = None
    snapshot: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.table is None) == (self.metadata is None):
            raise self._wrong("has not exactly one of table= and metadata=", 'Write table="sales.orders".')
        if self.table is not None and ("." not in self.table.strip(".") or not all(self.table.split("."))):
            raise self._wrong(f"has the table {self.table!r}", 'Write its namespace, too: table="sales.orders".')
        if not isinstance(self.catalog, str) or not self.catalog or "://" in self.catalog:
            raise self._wrong(
                f"has the catalog {self.catalog!r}", "Name a catalog; where it is, PyIceberg's own settings say."
            )
        if self.snapshot is not None and (not isinstance(self.snapshot, int) or self.snapshot <= 0):
            raise self._wrong(f"has the snapshot {self.snapshot!r}", "Give a snapshot's id.")
        if self.metadata is not None:
            object.__setattr__(self, "metadata", str(self.metadata))

    def _wrong(self, what: str, fix: str) -> DefinitionError:
        return DefinitionError(f"Iceberg source {self.name!r} {what}", fix=fix)
