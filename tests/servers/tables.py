"""Puts rows where other systems keep their tables: into PostgreSQL, and into Iceberg with a catalog in SQLite."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa

from tests.servers.postgres import PASSWORD, USER

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.servers.postgres import PostgresServer

CONNECTION = "warehouse"
POSITION = "place"
"""The column that keeps the order of what was put into PostgreSQL."""


def name_connection(
    server: PostgresServer, patch: pytest.MonkeyPatch, *, port: int | None = None, **options: str
) -> str:
    """Put the URL of a server, password included, into the environment; return the connection's name."""
    more = "&".join(f"{name}={value}" for name, value in options.items())
    url = f"postgresql://{USER}:{quote(PASSWORD)}@{server.host}:{port or server.port}/asof?{more}"
    patch.setenv("ASOF_SOURCE_WAREHOUSE", url)
    return CONNECTION


def put_into_postgres(server: PostgresServer, schema: str, table: pa.Table) -> str:
    """Write rows, with their place in `POSITION`, into a new table of a schema; return its name."""
    listed = ", ".join(f'"{field.name}" {_sql_type(field.type)}' for field in table.schema)
    with server.connect() as connection:
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        connection.execute(f'CREATE TABLE "{schema}".rows ({listed}, "{POSITION}" int8)')
        places = ", ".join(["%s"] * (table.num_columns + 1))
        rows = [(*row.values(), place) for place, row in enumerate(table.to_pylist())]
        with connection.cursor() as cursor:
            cursor.executemany(f'INSERT INTO "{schema}".rows VALUES ({places})', rows)
    return f"{schema}.rows"


def _sql_type(arrow: pa.DataType) -> str:
    if pa.types.is_timestamp(arrow):
        return "timestamptz" if arrow.tz else "timestamp"
    if pa.types.is_decimal(arrow):
        return f"numeric({arrow.precision},{arrow.scale})"
    names = {"bool": "bool", "int64": "int8", "int32": "int4", "double": "float8", "string": "text", "null": "text"}
    return names[str(arrow)]


def name_catalog(root: Path, patch: pytest.MonkeyPatch) -> str:
    """Put the properties of a catalog below `root` into the environment; return its name."""
    patch.setenv("PYICEBERG_CATALOG__LAKE__TYPE", "sql")
    patch.setenv("PYICEBERG_CATALOG__LAKE__URI", f"sqlite:///{root}/catalog.db")
    patch.setenv("PYICEBERG_CATALOG__LAKE__WAREHOUSE", f"file://{root}/warehouse")
    return "lake"


def open_catalog() -> Any:
    """Return the catalog that `name_catalog` names; close it."""
    from pyiceberg.catalog import load_catalog
    from pyiceberg.utils.config import Config

    return load_catalog("lake", **Config().get_catalog_config("lake"))


def put_into_iceberg(table: pa.Table, *, name: str = "shop.rows", parts: int = 1) -> str:
    """Write rows into an Iceberg table, making it where it is not there, by so many commits; return its name."""
    with closing(open_catalog()) as catalog:
        catalog.create_namespace_if_not_exists(name.split(".")[0])
        written = catalog.create_table_if_not_exists(name, table.schema)
        step = -(-table.num_rows // parts) or 1
        for start in range(0, table.num_rows, step):
            written.append(table.slice(start, step))
    return name
