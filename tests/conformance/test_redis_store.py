"""Redis keeps the online store contract on a real server."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asof.backends.redis import open_store
from asof.testing.conformance.online import OnlineStoreConformance

if TYPE_CHECKING:
    from collections.abc import Callable

    from asof.interfaces import OnlineStore
    from tests.servers.redis import RedisServer

_numbers = itertools.count(1)
pytestmark = pytest.mark.slow


class TestRedisStore(OnlineStoreConformance):
    @pytest.fixture
    def open_store(self, redis_server: RedisServer) -> Callable[[], OnlineStore]:
        import redis

        url = f"{redis_server.url}/{next(_numbers) % 15}"
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        return lambda: open_store(url, Path("/"))
