"""A project whose tables are elsewhere, and the places that they are in."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from asof import FeatureStore
from asof.clock import FixedClock, parse_instant
from tests.servers.tables import name_catalog, name_connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.postgres import PostgresServer

NOW = parse_instant("2026-01-15T12:00:00")


@pytest.fixture
def schema(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a new schema of the database that the connection `warehouse` reaches."""
    name = f"tables_{uuid.uuid4().hex}"
    name_connection(postgres_server, monkeypatch)
    with postgres_server.connect() as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    yield name
    postgres_server.forget(name)


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of an Iceberg catalog without tables."""
    return name_catalog(tmp_path, monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a project without definitions, at noon of 2026-01-15."""
    root = tmp_path / "project"
    root.mkdir()
    root.joinpath("asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    with FeatureStore(root, clock=FixedClock(NOW)) as opened:
        yield opened
