"""A Redis Cluster keeps the online store contract, and projects spread over its masters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asof.backends.redis import open_store
from asof.errors import ConfigError
from asof.interfaces.online import ConversingStore, ViewKey
from asof.testing.conformance.online import VIEW, OnlineStoreConformance, fill, values
from tests.conformance.test_redis_logins import RIGHTS, certificate
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


def test_a_user_reaches_all_nodes_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rights that one server asks for, and that to ask who serves which slot."""
    with redis_cluster_processes(tmp_path, timeout_ms=60_000, certificate=certificate(tmp_path, "node")) as cluster:
        for node in cluster.nodes:
            node.ask("ACL", "SETUSER", "asof", "on", ">password", *RIGHTS)
        monkeypatch.setenv("ASOF_REDIS_USERNAME", "asof")
        monkeypatch.setenv("ASOF_REDIS_PASSWORD", "password")
        store = open_store(f"{cluster.url}&ssl_ca_certs=node.crt&replicas=1", tmp_path)
        with pytest.raises(ConfigError, match="cluster"):
            store.generations("shop")
        for node in cluster.nodes:
            node.ask("ACL", "SETUSER", "asof", "+cluster|slots")
        fill(store, VIEW, {b"a": b"1"})
        with store.exclusive("shop", "orders"):
            assert values(store, VIEW, [b"a"]) == [b"1"]
        store.drop(VIEW)
        assert store.generations("shop") == {}
        store.close()


def test_an_answer_is_not_waited_for_elsewhere(cluster: RedisCluster) -> None:
    """Nodes send readers to one another, which a conversation could not follow."""
    store = open_store(cluster.url, Path("/"))
    assert isinstance(store, ConversingStore)
    assert store.converse() is None
    store.close()
