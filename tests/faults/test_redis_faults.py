"""A Redis that is away, slow, full, evicting, a replica or a cluster: errors that say so, and nothing half-written."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import redis

from asof.backends.redis import open_store
from asof.backends.redis.online import scripts
from asof.errors import ConflictError, CorruptDataError, StoreError, StoreFullError, UnsupportedOperationError
from asof.interfaces.online import Progress, RemoteStore, Update
from asof.testing.conformance.online import OTHER, VIEW, fill, values
from tests.servers.processes import free_ports
from tests.servers.proxy import proxied
from tests.servers.redis import redis_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.interfaces import OnlineStore
    from tests.servers.proxy import Fault, Proxy
    from tests.servers.redis import RedisServer

pytestmark = pytest.mark.slow
ROOT = Path("/")
START = Progress(entry=7)


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server whose settings a test may change."""
    with redis_process(tmp_path_factory.mktemp("redis-faults")) as server:
        yield server


@pytest.fixture
def client(own_server: RedisServer) -> Iterator[redis.Redis]:
    """The empty server, with its settings as they were when it started; they are so again afterwards."""
    with redis.Redis(own_server.host, own_server.port, protocol=2) as client:
        client.flushall()
        yield client
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.replicaof("NO", "ONE")


@pytest.fixture
def proxy(own_server: RedisServer) -> Iterator[Proxy]:
    with proxied(own_server.port) as proxy:
        yield proxy


@pytest.fixture
def store(client: redis.Redis, own_server: RedisServer) -> Iterator[OnlineStore]:
    store = open_store(own_server.url, ROOT)
    yield store
    store.close()


@pytest.fixture
def reached(client: redis.Redis, proxy: Proxy) -> Iterator[OnlineStore]:
    """The same server, through the proxy."""
    store = open_store(f"redis://127.0.0.1:{proxy.port}?budget=20s", ROOT)
    yield store
    store.close()


def streamed(store: OnlineStore, value: bytes = b"old") -> None:
    """Fill a view that takes arrivals."""
    with store.write(VIEW) as writer:
        writer.put(pa.array([b"a"], pa.binary()), pa.array([value], pa.binary()))
        writer.commit(100, 105, "meaning", START)


def update(value: bytes | None, entry: int = 7) -> Update:
    return Update(
        view=VIEW,
        generation=1,
        entry=entry,
        keys=pa.array([b"a"], pa.binary()),
        values=pa.array([value], pa.binary()),
        instant_us=100 + entry,
        progress=Progress(entry=entry + 1),
    )


def leftovers(client: redis.Redis) -> int:
    """Count the keys of the server, but for pointers and the values they name."""
    kept = {b"asof:shop:views", *client.hvals("asof:shop:views")}
    return len(set(client.keys()) - kept)


def an_hour_later(client: redis.Redis) -> None:
    """Let what was left behind be that old."""
    for name in client.hkeys("asof:shop:writing"):
        client.hset("asof:shop:writing", name, str(time.time() - 3601))


@pytest.mark.parametrize(
    "work",
    [
        lambda store: store.read([(VIEW, [b"a"])]),
        lambda store: store.generations("shop"),
        lambda store: store.write(VIEW),
        lambda store: store.announce([VIEW], 5),
        lambda store: store.update([update(b"new")]),
        lambda store: store.drop(VIEW),
        lambda store: store.exclusive("shop", "orders").__enter__(),
    ],
)
def test_a_refused_connection_is_an_error_worth_a_retry(work: Callable[[OnlineStore], object]) -> None:
    """It names the server, and comes soon."""
    [port] = free_ports(1)
    store = open_store(f"redis://127.0.0.1:{port}", ROOT)
    begun = time.monotonic()
    with pytest.raises(StoreError, match=f"127.0.0.1:{port} could not be") as caught:
        work(store)
    assert caught.value.retryable
    assert time.monotonic() - begun < 15
    store.close()


@pytest.mark.parametrize("fault", ["refuse", "lose", "cut"])
def test_a_read_that_is_cut_off_is_asked_again(reached: OnlineStore, proxy: Proxy, fault: Fault) -> None:
    """Twice; a third time is an error, and the next read is a new one."""
    fill(reached, VIEW, {b"%d" % n: b"x" * 100 for n in range(50)})
    keys = [b"%d" % n for n in range(50)]
    assert values(reached, VIEW, keys) == [b"x" * 100] * 50
    proxy.arm(fault, b"EVAL", times=2)
    assert values(reached, VIEW, keys) == [b"x" * 100] * 50
    proxy.arm(fault, b"EVAL", times=3)
    with pytest.raises(StoreError, match="could not be read") as caught:
        values(reached, VIEW, keys)
    assert caught.value.retryable
    assert values(reached, VIEW, keys) == [b"x" * 100] * 50


@pytest.mark.parametrize("fault", ["hold", "drip"])
def test_a_read_ends_when_its_budget_is_spent(store: OnlineStore, proxy: Proxy, fault: Fault) -> None:
    """Whether the server is silent or answers too slowly."""
    fill(store, VIEW, {b"a": b"x" * 10_000})
    slow = open_store(f"redis://127.0.0.1:{proxy.port}?budget=300ms", ROOT)
    proxy.arm(fault, b"EVAL")
    begun = time.monotonic()
    with pytest.raises(StoreError, match="in time") as caught:
        slow.read([(VIEW, [b"a"])])
    assert caught.value.retryable
    assert 0.2 < time.monotonic() - begun < 5
    slow.close()


def test_a_server_that_never_answers_is_left_alone_for_a_moment(store: OnlineStore, proxy: Proxy) -> None:
    """After three reads that were not answered in time the next ones fail at once; then it is asked again."""
    fill(store, VIEW, {b"a": b"x"})
    slow = open_store(f"redis://127.0.0.1:{proxy.port}?budget=300ms", ROOT)
    proxy.arm("hold", b"EVAL", times=3)
    for _ in range(3):
        with pytest.raises(StoreError, match="in time"):
            slow.read([(VIEW, [b"a"])])
    begun = time.monotonic()
    with pytest.raises(StoreError, match="until a moment ago"):
        slow.read([(VIEW, [b"a"])])
    while time.monotonic() < begun + 20:
        try:
            [found] = slow.read([(VIEW, [b"a"])])
            break
        except StoreError:
            continue
    assert found.values == [b"x"]
    slow.close()


def test_a_server_that_was_away_is_read_again_without_an_error(reached: OnlineStore, proxy: Proxy) -> None:
    """A connection that was kept is closed by a restart; the read opens another one."""
    fill(reached, VIEW, {b"a": b"x"})
    assert values(reached, VIEW, [b"a"]) == [b"x"]
    proxy.switch(proxy.target)
    assert values(reached, VIEW, [b"a"]) == [b"x"]
    assert VIEW in reached.generations("shop")


@pytest.mark.parametrize("fault", ["refuse", "lose"])
def test_an_update_whose_answer_is_lost_is_written_once(
    reached: OnlineStore, proxy: Proxy, client: redis.Redis, fault: Fault
) -> None:
    """Looking again tells whether it was written."""
    streamed(reached)
    client.script_load(scripts.UPDATE)
    proxy.arm(fault, b"EVALSHA")
    reached.update([update(b"new")])
    [found] = reached.read([(VIEW, [b"a"])])
    assert found.values == [b"new"]
    assert found.generation is not None
    assert found.generation.progress == Progress(entry=8)
    with pytest.raises(ConflictError):
        reached.update([update(b"again")])


@pytest.mark.parametrize("fault", ["refuse", "lose"])
def test_a_commit_whose_answer_is_lost_is_made_once(
    reached: OnlineStore, proxy: Proxy, client: redis.Redis, fault: Fault
) -> None:
    """The same."""
    fill(reached, VIEW, {b"a": b"old"}, instant_us=90)
    client.script_load(scripts.SWITCH)
    with reached.write(VIEW) as writer:
        writer.put(pa.array([b"a"], pa.binary()), pa.array([b"new"], pa.binary()))
        proxy.arm(fault, b"EVALSHA")
        generation = writer.commit(100, 105, "meaning")
    assert generation.number == 2
    assert reached.generations("shop") == {VIEW: generation}
    assert values(reached, VIEW, [b"a"]) == [b"new"]
    assert leftovers(client) == 0


def test_a_commit_whose_outcome_is_unknown_is_left_alone(
    reached: OnlineStore, proxy: Proxy, client: redis.Redis
) -> None:
    """A writer that gives up deletes its values only if they were not switched in."""
    client.script_load(scripts.SWITCH)
    writer = reached.write(VIEW)
    writer.put(pa.array([b"a"], pa.binary()), pa.array([b"new"], pa.binary()))
    before = proxy.target
    proxy.arm("vanish", b"EVALSHA")
    with writer:
        with pytest.raises(StoreError, match="could not be"):
            writer.commit(100, 105, "meaning")
        proxy.switch(before)
    assert values(reached, VIEW, [b"a"]) == [b"new"]


def test_what_a_writer_left_that_died_is_deleted_an_hour_later(store: OnlineStore, client: redis.Redis) -> None:
    """Not before: it may just be slow."""
    store.write(VIEW).put(pa.array([b"a"], pa.binary()), pa.array([b"x"], pa.binary()))
    [name] = client.keys("asof:shop:values:*")
    with store.write(VIEW):
        assert client.exists(name)
    client.hset("asof:shop:writing", name, str(time.time() - 3601))
    with store.write(VIEW):
        assert not client.exists(name)
    assert leftovers(client) == 0


def test_a_write_that_is_cut_off_leaves_the_old_generation(
    reached: OnlineStore, proxy: Proxy, client: redis.Redis
) -> None:
    """And nothing else, once the writer could clean up."""
    fill(reached, VIEW, {b"a": b"old"})
    writer = reached.write(VIEW)
    proxy.arm("lose", b"HSET")
    with pytest.raises(StoreError, match="could not be written"), writer:
        writer.put(pa.array([b"a"], pa.binary()), pa.array([b"new"], pa.binary()))
    assert values(reached, VIEW, [b"a"]) == [b"old"]
    assert leftovers(client) == 0


def test_what_is_written_after_a_refusal_is_waited_for(
    reached: OnlineStore, proxy: Proxy, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that were sent before it was known run before the values are deleted, not after."""
    monkeypatch.setattr("asof.backends.redis.online.writer._PAIRS", 1)
    proxy.arm("deny", b"needle")
    with pytest.raises(StoreFullError), reached.write(VIEW) as writer:
        writer.put(pa.array([b"a", b"b", b"needle"], pa.binary()), pa.array([b"x"] * 3, pa.binary()))
    proxy.deliver()
    assert leftovers(client) == 0


def test_what_is_written_after_a_writer_gave_up_is_deleted_an_hour_later(
    reached: OnlineStore, proxy: Proxy, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may run commands that it had received when the connection broke."""
    monkeypatch.setattr("asof.backends.redis.online.writer._WAIT_S", 0.3)
    proxy.arm("late", b"needle")
    with pytest.raises(StoreError, match="in time"), reached.write(VIEW) as writer:
        writer.put(pa.array([b"needle"], pa.binary()), pa.array([b"x"], pa.binary()))
    assert client.keys("asof:shop:values:*") == []
    proxy.deliver()
    assert len(client.keys("asof:shop:values:*")) == 1
    an_hour_later(client)
    with reached.write(VIEW):
        pass
    assert leftovers(client) == 0


def test_a_view_is_not_dropped_with_a_generation_that_came_in_between(store: OnlineStore, client: redis.Redis) -> None:
    """Pointer and values go in one step: neither is left without the other."""
    fill(store, VIEW, {b"a": b"old"})
    client.eval(scripts.DROP, 1, "asof:shop:views", "spend@1", "other values")
    assert values(store, VIEW, [b"a"]) == [b"old"]
    store.drop(VIEW)
    assert client.keys() == []


def test_a_full_server_refuses_writes_and_goes_on_reading(store: OnlineStore, client: redis.Redis) -> None:
    """Nothing is half-written: not a generation, not an update of several views, not an announcement."""
    streamed(store)
    fill(store, OTHER, {b"a": b"other"})
    before = dict(client.hgetall("asof:shop:views"))
    many = pa.array([b"%d" % n for n in range(20_000)], pa.binary())
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 2_000_000)
    with pytest.raises(StoreFullError, match="could not be written") as caught, store.write(VIEW) as writer:
        writer.put(many, pa.array([b"x" * 500] * 20_000, pa.binary()))
    assert not caught.value.retryable
    assert leftovers(client) == 0
    client.config_set("maxmemory", 1)
    for refused in (
        lambda: store.update([update(b"new")]),
        lambda: store.announce([VIEW], 5),
        lambda: store.exclusive("shop", "orders").__enter__(),
        lambda: store.write(VIEW),
    ):
        with pytest.raises(StoreFullError):
            refused()
    assert dict(client.hgetall("asof:shop:views")) == before
    assert values(store, VIEW, [b"a"]) == [b"old"]
    store.drop(OTHER)
    assert set(store.generations("shop")) == {VIEW}
    client.config_set("maxmemory", 0)
    store.update([update(b"new")])
    assert values(store, VIEW, [b"a"]) == [b"new"]


def evict(client: redis.Redis) -> None:
    """Let the server evict all values, and nothing else."""
    for name in client.keys("asof:shop:values:*"):
        client.expire(name, 10_000)
    client.config_set("maxmemory-policy", "volatile-lru")
    client.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        client.set("more", "x")
    assert client.info("stats")["evicted_keys"] > 0
    client.config_set("maxmemory", 0)


def test_values_that_were_evicted_are_an_error_and_never_missing(store: OnlineStore, client: redis.Redis) -> None:
    """Neither reads nor updates take them for entities that were never seen; a new generation heals it."""
    streamed(store)
    evict(client)
    with pytest.raises(CorruptDataError, match="spend@1 are gone") as caught:
        store.read([(VIEW, [b"a"])])
    assert "noeviction" in caught.value.fix
    with pytest.raises(CorruptDataError, match="spend@1 are gone"):
        store.update([update(b"new")])
    assert client.keys("asof:shop:values:*") == []
    fill(store, VIEW, {b"a": b"again"}, instant_us=200)
    assert values(store, VIEW, [b"a"]) == [b"again"]


def test_values_that_are_evicted_while_they_are_written_are_not_switched_in(
    store: OnlineStore, client: redis.Redis
) -> None:
    """Half a generation is none."""
    fill(store, VIEW, {b"a": b"old"})
    with store.write(OTHER) as writer:
        writer.put(pa.array([b"a"], pa.binary()), pa.array([b"x"], pa.binary()))
        evict(client)
        writer.put(pa.array([b"b"], pa.binary()), pa.array([b"x"], pa.binary()))
        with pytest.raises(StoreError, match="removed before it was switched in"):
            writer.commit(100, 105, "meaning")
    assert set(store.generations("shop")) == {VIEW}


@pytest.mark.parametrize("work", ["put", "replace"])
def test_a_generation_whose_end_was_lost_at_a_failover_is_not_switched_in(
    store: OnlineStore, client: redis.Redis, work: str
) -> None:
    """A replica that takes over has a beginning of what was written, which is told by the mark behind each part."""
    with store.write(VIEW) as writer:
        writer.put(pa.array([b"a"], pa.binary()), pa.array([b"x"], pa.binary()))
        [name] = client.keys("asof:shop:values:*")
        before: dict[Any, Any] = client.hgetall(name)
        getattr(writer, work)(pa.array([b"b"], pa.binary()), pa.array([b"y"], pa.binary()))
        client.delete(name)
        client.hset(name, mapping=before)
        with pytest.raises(StoreError, match="removed before it was switched in"):
            writer.commit(100, 105, "meaning")
    assert store.generations("shop") == {}
    assert leftovers(client) == 0


def test_a_name_for_values_is_never_used_twice(store: OnlineStore, client: redis.Redis) -> None:
    """Though the server forgot which ones are being written, no writer writes into what is being read."""
    fill(store, VIEW, {b"a": b"old"})
    client.delete("asof:shop:writing")
    with store.write(VIEW) as writer:
        writer.put(pa.array([b"a"], pa.binary()), pa.array([b"new"], pa.binary()))
        assert values(store, VIEW, [b"a"]) == [b"old"]


def test_a_replica_is_read_but_writes_wait_for_the_failover(store: OnlineStore, client: redis.Redis) -> None:
    """They fail with an error worth a retry, and succeed once it is the primary."""
    streamed(store)
    [nowhere] = free_ports(1)
    client.replicaof("127.0.0.1", str(nowhere))
    for refused in (
        lambda: store.update([update(b"new")]),
        lambda: store.announce([VIEW], 5),
        lambda: store.write(VIEW),
        lambda: store.drop(VIEW),
        lambda: store.exclusive("shop", "orders").__enter__(),
    ):
        with pytest.raises(StoreError, match="could not be written") as caught:
            refused()
        assert caught.value.retryable
        assert "failover" in caught.value.fix
    assert values(store, VIEW, [b"a"]) == [b"old"]
    client.replicaof("NO", "ONE")
    store.update([update(b"new")])
    assert values(store, VIEW, [b"a"]) == [b"new"]


def test_a_lock_that_lapsed_gives_way_and_its_holder_cannot_write(store: OnlineStore, client: redis.Redis) -> None:
    """Whoever was frozen for too long finds the views further on, and does not release the other's lock."""
    streamed(store)
    with store.exclusive("shop", "orders"):
        client.delete("asof:shop:lock:orders")  # its lease ended
        with store.exclusive("shop", "orders"):
            store.update([update(b"theirs")])
            with pytest.raises(ConflictError):
                store.update([update(b"ours")])
            with pytest.raises(ConflictError), store.write(VIEW) as writer:
                writer.commit(100, 105, "meaning", START)
    [found] = store.read([(VIEW, [b"a"])])
    assert found.values == [b"theirs"]
    assert client.keys("asof:shop:lock:*") == []


def test_an_update_of_several_views_is_refused_as_a_whole(store: OnlineStore) -> None:
    """If one of them has come further meanwhile."""
    streamed(store)
    with store.write(OTHER) as writer:
        writer.put(pa.array([b"a"], pa.binary()), pa.array([b"old"], pa.binary()))
        writer.commit(100, 105, "meaning", START)
    store.update([update(b"new")])
    with pytest.raises(ConflictError):
        store.update([replace(update(b"x"), view=OTHER), update(b"x")])
    assert values(store, OTHER, [b"a"]) == [b"old"]


def test_a_lock_is_renewed_while_it_is_held(
    store: OnlineStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a renewal that fails leaves the block alone."""
    monkeypatch.setattr("asof.backends.redis.online.store._LEASE_MS", 600)
    with store.exclusive("shop", "orders"):
        left_ms, until_s = client.pttl("asof:shop:lock:orders"), time.monotonic() + 20
        while (now_ms := client.pttl("asof:shop:lock:orders")) <= left_ms:
            left_ms = now_ms
            assert time.monotonic() < until_s, "nobody renewed the lock"
        assert now_ms > 0


def test_a_node_of_a_cluster_is_refused(tmp_path: Path) -> None:
    """Even one that holds all slots, and before anything is written."""
    [bus] = free_ports(1)  # by default its port and 10,000, which may be no port at all
    with (
        redis_process(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(bus)) as server,
        redis.Redis(server.host, server.port, protocol=2) as client,
    ):
        store = open_store(server.url, ROOT)
        with pytest.raises(UnsupportedOperationError, match="cluster"):
            store.read([(VIEW, [b"a"])])
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until_s = time.monotonic() + 20
        while client.cluster("info")["cluster_state"] != "ok":
            assert time.monotonic() < until_s
        with pytest.raises(UnsupportedOperationError, match="cluster"):
            store.write(VIEW)
        assert client.keys() == []
        store.close()


def test_a_server_that_is_gone_is_left_alone_and_found_again(reached: OnlineStore, proxy: Proxy) -> None:
    """Refused connections open the circuit as well; writes and other calls go on trying, and status says so."""
    fill(reached, VIEW, {b"a": b"x"})
    assert isinstance(reached, RemoteStore)
    before = proxy.target
    [nobody] = free_ports(1)
    proxy.switch(nobody)
    for _ in range(3):
        with pytest.raises(StoreError, match="could not be read"):
            reached.read([(VIEW, [b"a"])])
    assert reached.circuit.state().state == "open"
    with pytest.raises(StoreError, match="left alone for a moment"):
        reached.read([(VIEW, [b"a"])])
    proxy.switch(before)
    assert VIEW in reached.generations("shop")
    until_s = time.monotonic() + 20
    while reached.circuit.state().state != "closed":
        assert time.monotonic() < until_s
        with suppress(StoreError):
            assert values(reached, VIEW, [b"a"]) == [b"x"]
