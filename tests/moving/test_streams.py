"""A topic is read on from where it was when the stores were switched, each message once."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from asof import FeatureStore
from asof.errors import AsofError, MovedError
from tests.streams.broker import MemoryBroker

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DEFINITIONS = """
from asof import Count, Entity, EventView, Sum, StreamSource

types = {"customer_id": "int64", "amount": "int64", "ts": "timestamp"}
orders = StreamSource("orders", schema=types, event_time="ts", topic="orders")
features = [Sum("amount", windows=["lifetime"]), Count(windows=["lifetime"])]
spend = EventView("spend", entity=Entity("customer", join_key="customer_id"), source=orders, features=features)
"""
ELSEWHERE: dict[str, Any] = {
    "registry": "sqlite:///two/registry.db",
    "offline": "two/offline",
    "online": "lmdb:///two/online",
}


def test_a_worker_that_runs_beside_the_copy_is_stopped_by_the_switch_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages come before, while it is copied, and after; the worker is told where the project is now."""
    (tmp_path / "asof.toml").write_text('project = "shop"\nstream = "kafka://nowhere:9092"\n', encoding="utf-8")
    (tmp_path / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    broker = MemoryBroker()
    monkeypatch.setattr("asof.streaming.open_stream", lambda *_: broker)
    sent = 0

    def produce(messages: int) -> None:
        nonlocal sent
        for number in range(sent, sent + messages):
            value = {"customer_id": number % 3, "amount": number, "ts": "2026-01-01T00:00:00Z"}
            broker.produce(number % 2, [json.dumps(value).encode()])
        sent += messages

    ended: list[AsofError] = []

    def work() -> None:
        with FeatureStore(tmp_path) as worker:
            try:
                worker.stream()
            except AsofError as error:
                ended.append(error)

    with FeatureStore(tmp_path) as store:
        store.apply()
        produce(20)
        store.stream(until_caught_up=True)
        running = threading.Thread(target=work)
        running.start()
        store.copy(**ELSEWHERE, progress=lambda *_: produce(1))
        store.copy(**ELSEWHERE, switch=True, progress=lambda *_: produce(1))
        produce(10)
        running.join(120)
        assert not running.is_alive()
        assert [type(error) for error in ended] == [MovedError]
        assert "was moved to" in str(ended[0])
        store.stream(until_caught_up=True)
        produce(5)
        store.stream(until_caught_up=True)
        found = store.get_online_features(["spend"], {"customer_id": [0, 1, 2]}).to_dict()
    assert found["spend__count_lifetime"] == [len(range(key, sent, 3)) for key in range(3)]
    assert found["spend__amount_sum_lifetime"] == [sum(range(key, sent, 3)) for key in range(3)]
