"""DynamoDB keeps the online store contract, on a server that speaks its protocol."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asof.backends.dynamodb import open_store
from asof.testing.conformance.online import OnlineStoreConformance

if TYPE_CHECKING:
    from collections.abc import Callable

    from asof.interfaces import OnlineStore
    from tests.servers.dynamodb import DynamoServer

_numbers = itertools.count(1)
pytestmark = pytest.mark.slow


class TestDynamoStore(OnlineStoreConformance):
    @pytest.fixture
    def open_store(self, dynamodb_server: DynamoServer) -> Callable[[], OnlineStore]:
        url = dynamodb_server.url(f"conformance-{next(_numbers)}")
        return lambda: open_store(url, Path("/"))
