"""Processes that write to one bucket at once, and are killed, lose and double nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import redis

from asof import FeatureStore
from asof.clock import FixedClock, SystemClock, from_us
from tests.server.conftest import KEYS, make_project, start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.objects import ObjectServer
    from tests.servers.redis import RedisServer

pytestmark = pytest.mark.slow

DEFINITIONS = """
from asof import BatchSource, Count, Entity, EventView, FeatureService, FileSource, StateView, StreamSource, Sum

customer = Entity("customer", join_key="customer_id")
types = {"id": "int64", "customer_id": "int64", "amount": "int64", "ts": "timestamp"}
features = [Sum("amount", windows=["lifetime"]), Count(windows=["lifetime"])]
orders = StreamSource("orders", schema=types, event_time="ts", topic="TOPIC", max_skew="1h")
spend = EventView("spend", entity=customer, source=orders, features=features)
clicks = StreamSource("clicks", schema=types, event_time="ts", event_id="id")
seen = EventView("seen", entity=customer, source=clicks, features=features)
days = FileSource("days", path="days.csv", event_time="ts")
query = "SELECT customer_id, sum(amount)::BIGINT AS total FROM days WHERE ts >= $start AND ts < $end GROUP BY 1"
daily = BatchSource("daily", inputs=[days], schedule="1d", sql=query)
totals = StateView("totals", entity=customer, source=daily, features=["total"])
fraud = FeatureService("fraud", features=[spend, seen, totals])
"""
CUSTOMERS = {"customer_id": [0, 1, 2]}
DAYS = 12


@pytest.fixture
def root(object_server: ObjectServer, redis_server: RedisServer, tmp_path: Path) -> Path:
    """Return a project whose files are in a bucket, and whose topic has two partitions."""
    settings = ['project = "shop"', f'offline = "{object_server.url()}"']
    settings.append(f'stream = "redis://{redis_server.host}:{redis_server.port}/0?partitions=2&lease=3s"')
    (tmp_path / "asof.toml").write_text("\n".join(settings), encoding="utf-8")
    definitions = DEFINITIONS.replace("TOPIC", f"orders-{uuid.uuid4().hex}")
    (tmp_path / "features.py").write_text(definitions, encoding="utf-8")
    lines = [f"{day % 3},2026-01-{day + 1:02}T05:00:00,{10**day}" for day in range(DAYS)]
    (tmp_path / "days.csv").write_text("\n".join(["customer_id,ts,amount", *lines]), encoding="utf-8")
    with FeatureStore(tmp_path) as store:
        store.apply()
        store.materialize(["spend", "seen"])
    return tmp_path


def begin(root: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "asof.cli", "--project", str(root), *arguments, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return json.loads(out)


def same(store: FeatureStore, view: str, at: Any) -> list[Any]:
    """Return the sums of a view, which a training row of the same instant has, too."""
    name = f"{view}__amount_sum_lifetime"
    read = store.get_online_features([view], CUSTOMERS, at=at).to_dict()[name]
    spine = {**CUSTOMERS, "event_timestamp": [at] * 3}
    with store.get_historical_features([view], spine) as trained:
        assert trained.to_arrow()[name].to_pylist() == read
    return list(read)


def test_stream_workers_of_which_one_is_killed(root: Path, redis_server: RedisServer) -> None:
    """Each message counts once; what cannot be taken in is a dead letter, once, and is replayed once."""
    now_us = SystemClock().now_us()
    later = from_us(now_us) + timedelta(hours=4)
    topic = (root / "features.py").read_text(encoding="utf-8").partition('topic="')[2].partition('"')[0]
    with redis.Redis(redis_server.host, redis_server.port) as client, FeatureStore(root) as store:

        def produce(numbers: range) -> None:
            pipeline = client.pipeline(transaction=False)
            for number in numbers:
                ts = from_us(now_us + 2 * 3_600_000_000).isoformat() if number % 50 == 49 else "2026-01-01T00:00:00Z"
                value = json.dumps({"id": number, "customer_id": number % 3, "amount": 2**number, "ts": ts})
                text = "poison" if number % 50 == 48 else value.replace(str(2**number), str(number + 1))
                pipeline.xadd(f"{topic}.{number % 2}", {"value": text})
            pipeline.execute()

        for number in range(2):
            client.xgroup_create(f"{topic}.{number}", "asof", "$", mkstream=True)
        produce(range(300))
        workers = [begin(root, "stream", "orders") for _ in range(2)]
        head = store.log.of("orders").head().sequence
        while store.log.of("orders").head().sequence < head + 1 and workers[0].poll() is None:
            pass
        workers[0].kill()
        workers[0].communicate(timeout=60)
        produce(range(300, 400))
        workers[1].terminate()
        ended(workers[1])
        ended(begin(root, "stream", "orders", "--until-caught-up"))
        fine = [number for number in range(400) if number % 50 < 48]
        expected = [sum(number + 1 for number in fine if number % 3 == key) for key in range(3)]
        assert same(store, "spend", later) == expected
        assert store.dead_letters("orders").total == 16
        client.delete(*(f"{topic}.{number}" for number in range(2)))
    with FeatureStore(root, clock=FixedClock(now_us + 3 * 3_600_000_000)) as store:
        assert store.replay_dead_letters("orders").taken == 8
        assert store.replay_dead_letters("orders").taken == 0
        assert store.dead_letters("orders").total == 8
        ahead = range(49, 400, 50)
        for key in range(3):
            expected[key] += sum(number + 1 for number in ahead if number % 3 == key)
        assert same(store, "spend", later) == expected


def test_pushers_beside_each_other(root: Path) -> None:
    """Two files of rows, half of whose ids are in both."""
    for pusher in range(2):
        numbers = range(pusher * 50, pusher * 50 + 100)
        rows = [{"id": n, "customer_id": n % 3, "amount": n, "ts": "2026-01-01T00:00:00Z"} for n in numbers]
        (root / f"{pusher}.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    running = [begin(root, "push", "clicks", str(root / f"{pusher}.ndjson"), "--batch-size", "10") for pusher in (0, 1)]
    for process in running:
        assert ended(process)["taken"] == 100
    with FeatureStore(root) as store:
        at = from_us(SystemClock().now_us()) + timedelta(hours=1)
        assert same(store, "seen", at) == [sum(range(key, 150, 3)) for key in range(3)]


def test_backfills_beside_each_other_and_prune(root: Path) -> None:
    """Each interval is there once; what nothing reads any more is deleted from the bucket."""
    span = ["--start", "2026-01-01", "--end", f"2026-01-{DAYS + 1}"]
    for process in [begin(root, "backfill", "daily", *span) for _ in range(2)]:
        ended(process)
    with FeatureStore(root) as store:
        spine = {**CUSTOMERS, "event_timestamp": [from_us(SystemClock().now_us())] * 3}
        published = store.offline.files("batch")
        [folder] = published.folders()
        assert len(published.below(folder).items()) == DAYS
        assert store.backfill("daily", "2026-01-01", f"2026-01-{DAYS + 1}").skipped == DAYS
        with store.get_historical_features(["totals"], spine) as trained:
            assert trained.to_arrow()["totals__total"].to_pylist() == [10**9, 10**10, 10**11]
        store.materialize(["totals"])
        assert store.get_online_features(["totals"], CUSTOMERS).to_dict()["totals__total"] == [10**9, 10**10, 10**11]
        text = (root / "features.py").read_text(encoding="utf-8")
        (root / "features.py").write_text(text.partition("days =")[0], encoding="utf-8")
        store.apply()
        store.prune()
        assert published.folders() == []


def test_servers_that_log_what_they_serve(
    object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two worker processes write to one log; every answer is in it, and equals training."""
    monkeypatch.setenv("ASOF_OFFLINE", object_server.url())
    server = start(make_project(tmp_path), "--workers", "2", "--serving-log", "1")
    try:
        for number in range(20):
            body = {"service": "fraud", "keys": KEYS}
            headers = {"x-request-id": f"r{number}", "connection": "close"}
            response = httpx.post(server.url + "/v1/online-features", json=body, headers=headers, timeout=60)
            assert response.status_code == 200
    finally:
        assert server.stop() == 0, "".join(server.log)
    with FeatureStore(tmp_path) as store:
        found = store.serving_log("fraud")
        assert sorted(set(found["_request_id"].to_pylist())) == sorted(f"r{number}" for number in range(20))
        assert len(found) == 60
        compared = store.compare_serving("fraud")
        assert (compared.rows, compared.different) == (60, 0)
        assert store.prune_serving_log(from_us(SystemClock().now_us()) + timedelta(hours=1))
        assert store.serving_logs() == []
    assert not (tmp_path / ".asof" / "offline").exists()
