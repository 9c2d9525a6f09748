"""A Redis that restarts with less than it had: it is noticed, repaired from the log, and never served as empty."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis

from asof import FeatureStore
from asof.clock import FixedClock, to_us
from asof.errors import NotMaterializedError, StoreError
from asof.interfaces.online import ViewKey
from tests.servers.proxy import proxied
from tests.servers.redis import redis_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.servers.proxy import Proxy
    from tests.servers.redis import RedisServer

pytestmark = pytest.mark.slow
START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DEFINITIONS = """
from asof import Count, Entity, EventView, StateView, StreamSource, Sum

customer = Entity("customer", join_key="customer_id")
schema = {"id": "int64", "customer_id": "int64", "amount": "int64", "ts": "timestamp"}
orders = StreamSource("orders", event_time="ts", event_id="id", schema=schema)
features = [Sum("amount", windows=["lifetime"]), Count(windows=["lifetime"])]
spend = EventView("spend", entity=customer, source=orders, features=features, freshness="5s")
last = StateView("last", entity=customer, source=orders, features=["amount"])
"""
FEATURES = ["spend:amount_sum_lifetime", "spend:count_lifetime", "last:amount"]


class Shop:
    """A project on a Redis that can be replaced by one with other contents."""

    def __init__(self, root: Path, proxy: Proxy) -> None:
        self.root = root / "shop"
        self.root.mkdir()
        self.proxy = proxy
        self.clock = FixedClock(to_us(START))
        settings = f'project = "shop"\nonline = "redis://127.0.0.1:{proxy.port}/0?budget=20s"\n'
        (self.root / "asof.toml").write_text(settings, encoding="utf-8")
        (self.root / "features.py").write_text(DEFINITIONS, encoding="utf-8")
        self.store = FeatureStore(self.root, clock=self.clock)
        self.store.apply()
        self.amounts: dict[int, int] = {}

    def push(self, id: int, amount: int) -> None:
        self.clock.set(self.clock.now_us() + 1_000_000)
        self.amounts[id] = amount
        row = {"id": id, "customer_id": 1, "amount": amount, "ts": START}
        assert not self.store.push("orders", [row]).behind

    def read(self, store: FeatureStore | None = None) -> dict[str, Any]:
        return (store or self.store).get_online_features(FEATURES, {"customer_id": [1]}).to_dict()

    def truth(self) -> dict[str, Any]:
        newest = self.amounts[max(self.amounts)]
        return {
            "spend__amount_sum_lifetime": [sum(self.amounts.values())],
            "spend__count_lifetime": [len(self.amounts)],
            "last__amount": [newest],
        }

    def process(self) -> FeatureStore:
        """Open the project as another process does."""
        return FeatureStore(self.root, clock=self.clock)


@pytest.fixture
def shop(tmp_path: Path, redis_a: RedisServer) -> Iterator[Shop]:
    with proxied(redis_a.port) as proxy:
        shop = Shop(tmp_path, proxy)
        yield shop
        shop.store.close()


@pytest.fixture
def redis_a(tmp_path: Path) -> Iterator[RedisServer]:
    """The server that a test begins with."""
    (tmp_path / "a").mkdir()
    with redis_process(tmp_path / "a") as server:
        yield server


def restored(tmp_path: Path, snapshot: Path | None) -> AbstractContextManager[RedisServer]:
    """Run a server on a copy of a snapshot, or an empty one."""
    (tmp_path / "b").mkdir()
    if snapshot is not None:
        shutil.copy(snapshot, tmp_path / "b" / "dump.rdb")
    return redis_process(tmp_path / "b")


def saved(tmp_path: Path, server: RedisServer) -> Path:
    """Write a snapshot."""
    with redis.Redis(server.host, server.port) as client:
        client.save()
    return tmp_path / "a" / "dump.rdb"


def test_an_older_snapshot_is_noticed_and_the_next_arrival_repairs_it(
    shop: Shop, redis_a: RedisServer, tmp_path: Path
) -> None:
    """Reads of the process that saw newer values are errors until then; what was acknowledged is in the log."""
    shop.push(1, 10)
    assert shop.read() == shop.truth()
    snapshot = saved(tmp_path, redis_a)
    shop.push(2, 20)
    shop.push(3, 30)
    assert shop.read() == shop.truth()
    with restored(tmp_path, snapshot) as other:
        shop.proxy.switch(other.port)
        for _ in range(2):
            with pytest.raises(StoreError, match="older in the online store than it was before") as caught:
                shop.read()
            assert caught.value.retryable
        shop.push(4, 40)
        assert shop.read() == shop.truth()
        shop.push(3, 30)  # an id that was known before, and came after the snapshot, counts once
        assert shop.read()["spend__count_lifetime"] == [4]


def test_a_process_that_saw_nothing_newer_tells_by_the_freshness_objective(
    shop: Shop, redis_a: RedisServer, tmp_path: Path
) -> None:
    """A worker with nothing to do repairs it, within about a second."""
    shop.push(1, 10)
    snapshot = saved(tmp_path, redis_a)
    shop.push(2, 20)
    with restored(tmp_path, snapshot) as other:
        shop.proxy.switch(other.port)
        shop.clock.set(shop.clock.now_us() + 10_000_000)
        with shop.process() as reader:
            found = reader.get_online_features(FEATURES, {"customer_id": [1]})
            assert found.statuses["spend__amount_sum_lifetime"] == ["stale"]
            shop.store.ingestor("orders").ingestor.note_checked()  # as the worker does
            found = reader.get_online_features(FEATURES, {"customer_id": [1]})
            assert found.statuses["spend__amount_sum_lifetime"] == ["present"]
            assert found.to_dict() == shop.truth()


def test_a_server_that_lost_everything_is_not_served_as_empty(shop: Shop, tmp_path: Path) -> None:
    """Views are not materialized; once they are, nothing counts twice, though the server forgot all event ids."""
    shop.push(1, 10)
    shop.push(2, 20)
    with restored(tmp_path, None) as other:
        shop.proxy.switch(other.port)
        with pytest.raises(NotMaterializedError):
            shop.read()
        shop.push(3, 30)
        with pytest.raises(NotMaterializedError):
            shop.read()
        with shop.process() as repairing:
            repairing.materialize()
        assert shop.read() == shop.truth()
        shop.push(2, 20)
        shop.push(4, 40)
        assert shop.read()["spend__count_lifetime"] == [4]


def test_event_ids_that_were_evicted_are_worked_out_again(shop: Shop, redis_a: RedisServer) -> None:
    """From the log: at first of every arrival, then by whoever opens the project next."""
    shop.push(1, 10)
    with redis.Redis(redis_a.host, redis_a.port) as client:
        [name] = client.keys("asof:shop:values:orders#ids@0:*")
        client.delete(name)
    ids = ViewKey("shop", "orders#ids", 0)
    shop.push(1, 10)
    shop.push(2, 20)
    assert shop.read() == shop.truth()
    assert ids not in shop.store.online.generations("shop")
    with shop.process() as other:
        other.push("orders", [{"id": 2, "customer_id": 1, "amount": 20, "ts": START}])
    assert ids in shop.store.online.generations("shop")
    assert shop.read() == shop.truth()
