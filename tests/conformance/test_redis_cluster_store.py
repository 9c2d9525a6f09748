"""A Redis Cluster keeps the online store contract, and projects spread over its masters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asof.backends.redis import open_store
from asof.interfaces.online import ConversingStore, ViewKey
from asof.testing.conformance.online import OnlineStoreConformance, fill, values
from tests.servers.redis_cluster import redis_cluster_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.interfaces import OnlineStore
    from tests.servers.redis_cluster import RedisCluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A cluster whose nodes are patient, as nothing fails here but what is slow."""
    with redis_cluster_processes(tmp_path_factory.mktemp("cluster"), timeout_ms=60_000) as cluster:
        yield cluster


class TestRedisClusterStore(OnlineStoreConformance):
    @pytest.fixture
    def open_store(self, cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch) -> Callable[[], OnlineStore]:
        monkeypatch.setattr("asof.backends.redis.online.store._LEASE_MS", 5000)  # a test waits for its end
        cluster.clear()
        return lambda: open_store(cluster.url, Path("/"))


def test_projects_spread_over_the_masters(cluster: RedisCluster) -> None:
    """All keys of one are with one master, which nobody needs to name; writes of all reach them."""
    cluster.clear()
    store = open_store(cluster.url, Path("/"))
    views = [ViewKey(f"project{number}", "spend", 1) for number in range(12)]
    for view in views:
        fill(store, view, {b"a": view.project.encode()})
    assert [values(store, view, [b"a"]) for view in views] == [[view.project.encode()] for view in views]
    sizes = [node.ask("DBSIZE") for node in cluster.nodes[:3]]
    assert all(sizes)
    assert sum(sizes) == 24  # pointers and values of each
    store.close()


def test_an_answer_is_not_waited_for_elsewhere(cluster: RedisCluster) -> None:
    """Nodes send readers to one another, which a conversation could not follow."""
    store = open_store(cluster.url, Path("/"))
    assert isinstance(store, ConversingStore)
    assert store.converse() is None
    store.close()
