"""A Redis Cluster whose slots move and whose masters die: values are right, or an error that says so."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from asof.backends.redis import open_store
from asof.errors import AsofError, InputError, StoreError, UnsupportedOperationError
from asof.interfaces.online import Progress
from asof.testing.conformance.online import OTHER, VIEW, begin, change, fill, values
from tests.servers.redis_cluster import redis_cluster_processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.interfaces import OnlineStore
    from tests.servers.redis import RedisServer
    from tests.servers.redis_cluster import Node, RedisCluster

pytestmark = pytest.mark.slow
ROOT = Path("/")
POINTERS = b"asof:{shop}:views"


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A cluster that takes nobody for dead."""
    with redis_cluster_processes(tmp_path_factory.mktemp("steady"), timeout_ms=60_000) as cluster:
        yield cluster


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[RedisCluster]:
    """A cluster whose master may be killed."""
    with redis_cluster_processes(tmp_path, timeout_ms=2000) as cluster:
        yield cluster


@pytest.fixture
def store(steady: RedisCluster) -> Iterator[OnlineStore]:
    """An empty store on the cluster that is steady."""
    steady.clear()
    store = open_store(steady.url, ROOT)
    yield store
    store.close()


def ends(cluster: RedisCluster) -> tuple[Node, Node]:
    """Return who has the project, and another master."""
    [source] = [node for node in cluster.nodes[:3] if cluster.keys(node)]
    return source, next(node for node in cluster.nodes[:3] if node is not source)


def move(cluster: RedisCluster) -> None:
    """Move the project key by key."""
    source, target = ends(cluster)
    cluster.begin_move(source, target)
    while keys := cluster.keys(source):
        cluster.move(source, target, keys[:1])
    cluster.end_move(target)


@pytest.mark.parametrize("first", ["pointers", "values"])
def test_a_project_on_its_way_is_never_read_as_empty(steady: RedisCluster, store: OnlineStore, first: str) -> None:
    """While its keys are with two nodes a read waits, or is an error worth a retry; with either of them it goes on."""
    fill(store, VIEW, {b"a": b"1"})
    hasty = open_store(steady.url.replace("budget=20s", "budget=300ms"), ROOT)
    source, target = ends(steady)
    steady.begin_move(source, target)
    assert values(store, VIEW, [b"a"]) == [b"1"]
    keys = sorted(steady.keys(source), key=lambda key: (key == POINTERS) != (first == "pointers"))
    assert len(keys) == 2
    steady.move(source, target, keys[:1])
    with pytest.raises(StoreError, match="could not be read") as caught:
        values(hasty, VIEW, [b"a"])
    assert caught.value.retryable
    steady.move(source, target, keys[1:])
    assert values(store, VIEW, [b"a", b"x"]) == [b"1", None]
    assert store.generations("shop")[VIEW].keys == 1
    steady.end_move(target)
    assert values(store, VIEW, [b"a", b"x"]) == [b"1", None]
    assert fill(store, VIEW, {b"a": b"2"}).number == 2
    hasty.close()


def test_reads_and_updates_go_on_while_a_project_moves(steady: RedisCluster, store: OnlineStore) -> None:
    """To and fro; every read sees all of an update of two views or nothing, and none is lost or written twice."""
    keys = [b"%d" % number for number in range(20)]
    for view in (VIEW, OTHER):
        begin(store, view, dict.fromkeys(keys, b"0"))
    done = threading.Event()
    wrong: list[object] = []
    written = 0

    def read() -> None:
        newest = 0
        while not done.is_set():
            try:
                found = store.read([(VIEW, keys), (OTHER, keys)])
            except AsofError as error:
                wrong.append(error)
                return
            seen = {value for one in found for value in one.values}
            if len(seen) != 1 or None in seen or int(max(filter(None, seen))) < newest:
                wrong.append(found)
            newest = int(max(filter(None, seen), default=b"0"))

    def write() -> None:
        nonlocal written
        while not done.is_set():
            new: dict[bytes, bytes | None] = dict.fromkeys(keys, b"%d" % (written + 1))
            try:
                with store.exclusive("shop", "orders"):
                    store.update([change(view, new, entry=written) for view in (VIEW, OTHER)])
            except AsofError as error:
                wrong.append(error)
                return
            written += 1

    threads = [threading.Thread(target=work) for work in (read, read, write)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        before = written
        move(steady)
        while written < before + 3 and not wrong:
            done.wait(0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert values(store, VIEW, keys) == [b"%d" % written] * 20


def test_a_generation_is_written_on_while_a_project_moves(steady: RedisCluster, store: OnlineStore) -> None:
    """Whatever part of it had been written; keys that come twice are found as ever."""

    def put(keys: range) -> None:
        names = pa.array([b"%d" % key for key in keys], pa.binary())
        writer.put(names, names)

    fill(store, VIEW, {b"old": b"old"})
    with store.write(VIEW) as writer:
        put(range(3000))
        move(steady)
        put(range(3000, 6000))
        move(steady)
        assert writer.commit(200, 205, "meaning").keys == 6000
    assert values(store, VIEW, [b"0", b"2999", b"3000", b"5999", b"old"]) == [b"0", b"2999", b"3000", b"5999", None]
    with store.write(VIEW) as writer:
        put(range(10))
        move(steady)
        with pytest.raises(InputError, match="1 keys of view 'spend' come twice"):
            put(range(9, 20))
    [source] = [node for node in steady.nodes[:3] if steady.keys(node)]
    assert len(steady.keys(source)) == 2


def test_a_replica_takes_over_and_has_what_was_acknowledged(
    mortal: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads and writes find it; where nobody is left to follow it, a write that asks for one says so."""
    sure = open_store(f"{mortal.url}&replicas=1", ROOT)
    plain = open_store(mortal.url, ROOT)
    begin(sure, VIEW, {b"a": b"0"})
    for entry in range(20):
        sure.update([change(VIEW, {b"a": b"%d" % (entry + 1)}, entry=entry)])
    assert values(plain, VIEW, [b"a"]) == [b"20"]
    mortal.owner.process.kill()
    assert values(plain, VIEW, [b"a"]) == [b"20"]
    with plain.exclusive("shop", "orders"):
        plain.update([change(VIEW, {b"a": b"21"}, entry=20)])
    assert values(sure, VIEW, [b"a"]) == [b"21"]
    assert fill(plain, OTHER, {b"b": b"1"}).number == 1
    monkeypatch.setattr("asof.backends.redis.online.places._WAIT_MS", 100)
    with pytest.raises(StoreError, match="reached 0 of 1 replicas") as caught:
        sure.update([change(VIEW, {b"a": b"22"}, entry=21)])
    assert caught.value.retryable
    assert values(plain, VIEW, [b"a"]) == [b"22"]
    for store in (sure, plain):
        store.close()


def test_an_update_whose_answer_is_lost_with_the_master_is_written_once(
    mortal: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that goes on through a failover loses nothing that was acknowledged."""
    monkeypatch.setattr("asof.backends.redis.online.places._WAIT_MS", 2000)
    sure = open_store(f"{mortal.url}&replicas=1", ROOT)
    begin(sure, VIEW, {b"a": b"0"})
    acknowledged = 0
    killer = threading.Timer(0.5, mortal.owner.process.kill)
    killer.start()
    refused: StoreError | None = None
    while refused is None:  # until nobody is left to follow the new master
        try:
            sure.update([change(VIEW, {b"a": b"%d" % (acknowledged + 1)}, entry=acknowledged)])
            acknowledged += 1
        except StoreError as error:
            refused = error
    killer.join()
    assert refused.retryable
    assert acknowledged > 0
    [found] = sure.read([(VIEW, [b"a"])])
    assert found.generation is not None
    assert found.generation.progress is not None
    assert found.generation.progress.entry in (acknowledged, acknowledged + 1)
    assert found.values == [b"%d" % found.generation.progress.entry]
    sure.close()


def test_a_server_outside_of_clusters_says_so(redis_server: RedisServer) -> None:
    """A URL that promises a cluster is wrong about it."""
    store = open_store(f"{redis_server.url}/?cluster=true", ROOT)
    for work in (lambda: store.read([(VIEW, [b"a"])]), lambda: store.write(VIEW)):
        with pytest.raises(UnsupportedOperationError, match="could not be") as caught:
            work()
        assert "cluster=true" in caught.value.fix
    store.close()


def test_a_write_waits_for_replicas_outside_of_clusters_too(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generation that too few replicas have is switched in, and an error worth a retry."""
    monkeypatch.setattr("asof.backends.redis.online.places._WAIT_MS", 100)
    store = open_store(f"{redis_server.url}/13?replicas=1", ROOT)
    store.drop(VIEW)
    with pytest.raises(StoreError, match="reached 0 of 1 replicas"):
        begin(store, VIEW, {b"a": b"1"})
    assert store.generations("shop")[VIEW].progress == Progress(0)
    store.drop(VIEW)
    store.close()
