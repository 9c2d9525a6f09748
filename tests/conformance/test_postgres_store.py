"""PostgreSQL keeps the online store contract on a real server."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asof.backends.postgres import open_store
from asof.testing.conformance.online import OnlineStoreConformance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.interfaces import OnlineStore
    from tests.servers.postgres import PostgresServer

ROOT = Path("/")
_numbers = itertools.count(1)
pytestmark = pytest.mark.slow


@pytest.fixture
def schema(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the name of a schema that is not there."""
    name = f"online_{next(_numbers)}"
    yield name
    postgres_server.forget(name)


@pytest.fixture
def url(postgres_server: PostgresServer, schema: str) -> str:
    """Return the URL of a store that is not there."""
    return f"{postgres_server.url}?schema={schema}"


class TestPostgresStore(OnlineStoreConformance):
    @pytest.fixture
    def open_store(self, url: str) -> Callable[[], OnlineStore]:
        return lambda: open_store(url, ROOT)
