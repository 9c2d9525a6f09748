"""Redis keeps the online store contract on a real server."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asof.backends.redis import open_store
from asof.testing.conformance.online import OTHER, VIEW, OnlineStoreConformance, fill

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


def test_a_read_is_one_command_whatever_the_number_of_views_and_keys(redis_server: RedisServer) -> None:
    """So it is one round trip, and sees one instant."""
    import redis

    url = f"{redis_server.url}/15"
    keys = [b"%d" % number for number in range(9000)]
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        store = open_store(url, Path("/"))
        for view in (VIEW, OTHER):
            fill(store, view, {key: key + view.view.encode() for key in keys[::2]})
        asked: list[bytes | None] = [None, *keys]
        store.read([(VIEW, asked[:2])])
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        found = store.read([(VIEW, asked), (OTHER, asked), (VIEW, [])])
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1
        store.close()
    for view, read in zip((VIEW, OTHER), found, strict=False):
        expected = [key + view.view.encode() if number % 2 == 0 else None for number, key in enumerate(keys)]
        assert list(read.values) == [None, *expected]
    assert list(found[2].values) == []
