"""Reads over HTTP from stores on servers: whole, in time, and honest about what is remembered."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pytest

from asof.deadline import waiting_until
from asof.errors import StoreError
from asof.store import FeatureStore
from tests.server.conftest import start
from tests.servers.proxy import proxied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.server.conftest import Server
    from tests.servers.postgres import PostgresServer
    from tests.servers.redis import RedisServer

    Serve = Callable[..., Server]

pytestmark = pytest.mark.slow
PATH = "/v1/online-features"
CUSTOMERS = list(range(20))
DEFINITIONS = """
from asof import Count, Entity, EventView, FeatureService, FileSource, StateView, StreamSource, Sum

customer = Entity("customer", join_key="customer_id")
numbers = FileSource("numbers", path="numbers.csv", event_time="since")
round = StateView("round", entity=customer, source=numbers, features=["a", "b"])
schema = {"customer_id": "int64", "amount": "int64", "ts": "timestamp"}
orders = StreamSource("orders", schema=schema, event_time="ts")
spend = EventView(
    "spend", entity=customer, source=orders, features=[Sum("amount", windows=["lifetime"]), Count(windows=["lifetime"])]
)
cards = StateView(
    "cards",
    entity=Entity("card", join_key="card_id"),
    source=FileSource("cards", path="cards.csv", event_time="since"),
    features=["customer_id"],
)
rounds = FeatureService("rounds", features=[round, spend])
payment = FeatureService("payment", features=[round.via(cards["customer_id"])["a"]])
"""
_numbers = itertools.count(1)


def write_round(root: Path, number: int) -> None:
    """Let every feature of every customer be this number."""
    rows = "".join(f"{customer},2026-01-01T00:00:{number:02},{number},{number}\n" for customer in CUSTOMERS)
    (root / "numbers.csv").write_text("customer_id,since,a,b\n" + rows, encoding="utf-8")


def make(root: Path, online: str) -> FeatureStore:
    """Open a new project in the first round."""
    settings = f'project = "rounds{next(_numbers)}"\n' + (f'online = "{online}"\n' if online else "")
    (root / "asof.toml").write_text(settings, encoding="utf-8")
    (root / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    (root / "cards.csv").write_text("card_id,customer_id,since\nA,3,2026-01-01\n", encoding="utf-8")
    write_round(root, 1)
    store = FeatureStore(root)
    store.apply()
    push(store, 1)
    store.materialize()
    return store


def push(store: FeatureStore, amount: int) -> None:
    row = {"customer_id": 1, "amount": amount, "ts": datetime(2026, 1, 1, tzinfo=UTC)}
    assert not store.push("orders", [row]).behind


@pytest.fixture(params=["lmdb", "redis", "postgres"])
def online(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an online store of each kind."""
    if request.param == "lmdb":
        yield ""
    elif request.param == "redis":
        redis: RedisServer = request.getfixturevalue("redis_server")
        yield f"{redis.url}/0?budget=20s"
    else:
        postgres: PostgresServer = request.getfixturevalue("postgres_server")
        schema = f"serving_{next(_numbers)}"
        yield f"{postgres.url}?schema={schema}"
        postgres.forget(schema)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves a project until the test ends."""
    running: list[Server] = []

    def begin(root: Path, *options: str) -> Server:
        running.append(start(root, *options))
        return running[-1]

    yield begin
    for server in running:
        server.stop()


def ask(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post(PATH, json={"service": "rounds", "keys": {"customer_id": CUSTOMERS}, **body})


def test_an_answer_never_mixes_generations(online: str, tmp_path: Path, serve: Serve) -> None:
    """Readers ask, alone and together with others, while generations are switched in and arrivals taken."""
    store = make(tmp_path, online)
    server = serve(tmp_path, "--timeout", "60s")
    wrong: list[Any] = []
    seen: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        with httpx.Client(base_url=server.url, timeout=180) as client:
            while not stop.is_set():
                response = ask(client, metadata=True)
                if response.status_code in (503, 504):
                    continue  # nobody said that a crowded machine answers in time
                answer = response.json()
                rows = [one["values"] for one in answer["results"]]
                found = {value for row in rows for value in row[:2]}
                seen.update(found)
                total, count = rows[1][2:]
                if len(found) != 1 or total != count * (count + 1) // 2:
                    wrong.append(answer)
                response = client.post(PATH, json={"service": "payment", "keys": {"card_id": ["A", "A"]}})
                if response.status_code in (503, 504):
                    continue
                looked_up = response.json()
                if len({one["values"][0] for one in looked_up["results"]}) != 1:
                    wrong.append(looked_up)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for number in range(2, 10):
            write_round(tmp_path, number)
            store.materialize(["round"])
            push(store, number)
        deadline = time.monotonic() + 60
        while 9 not in seen and not wrong and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    store.close()
    assert server.stop() == 0, "".join(server.log)
    assert wrong == []
    assert 9 in seen


def test_a_store_that_holds_an_answer_back_costs_one_request_its_time(
    redis_server: RedisServer, tmp_path: Path, serve: Serve
) -> None:
    """It is a 504 after the time that the request allows; others are answered meanwhile."""
    with proxied(redis_server.port) as proxy:
        make(tmp_path, f"redis://127.0.0.1:{proxy.port}/0?budget=20s").close()
        server = serve(tmp_path)
        with httpx.Client(base_url=server.url, timeout=180) as client:
            expected = ask(client).json()["results"]
            for _ in range(5):  # by now the store is talked to in the loop
                assert ask(client).json()["results"] == expected
            proxy.arm("hold", b"EVALSHA", times=2)  # in the loop, then by a thread
            late: list[httpx.Response] = []

            def wait() -> None:
                late.append(httpx.post(server.url + PATH, json={**body, "timeout_ms": 3000}, timeout=180))

            body = {"service": "rounds", "keys": {"customer_id": CUSTOMERS}}
            waiting = threading.Thread(target=wait)
            waiting.start()
            while waiting.is_alive():
                assert client.get("/health").status_code == 200
                time.sleep(0.05)
            waiting.join()
            [answer] = late
            assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
            assert ask(client).json()["results"] == expected
            assert 'code="deadline_exceeded"' in client.get("/metrics").text
        assert server.stop() == 0, "".join(server.log)


def test_a_dead_conversation_is_replaced(redis_server: RedisServer, tmp_path: Path, serve: Serve) -> None:
    """Every request is answered although connections are cut all the time."""
    with proxied(redis_server.port) as proxy:
        make(tmp_path, f"redis://127.0.0.1:{proxy.port}/0?budget=20s").close()
        server = serve(tmp_path)
        with httpx.Client(base_url=server.url, timeout=180) as client:
            expected = ask(client).json()["results"]
            for fault in ("refuse", "lose", "cut"):
                for _ in range(3):
                    proxy.arm(fault, b"EVALSHA")
                    assert ask(client).json()["results"] == expected
        assert server.stop() == 0, "".join(server.log)


def test_a_remembered_answer_is_exact_as_of_its_instant_and_says_so(
    redis_server: RedisServer, tmp_path: Path, serve: Serve
) -> None:
    """A training row at that instant has the same values; explicit instants and snapshots are never remembered."""
    store = make(tmp_path, f"{redis_server.url}/0?budget=20s")
    server = serve(tmp_path, "--cache", "1h,1000")
    with httpx.Client(base_url=server.url, timeout=180) as client:
        first = ask(client, metadata=True).json()
        assert "cached" not in first
        push(store, 2)
        second = ask(client, metadata=True).json()
        assert second["cached"] is True
        assert second["age_ms"] >= 0
        assert [one["values"] for one in second["results"]] == [one["values"] for one in first["results"]]
        now = ask(client, metadata=True, consistency="snapshot").json()
        assert "cached" not in now
        assert now["results"][1]["values"][2:] == [3, 2]
        later = ask(client, metadata=True, at=now["at"]).json()
        assert "cached" not in later
        assert later["results"][1]["values"][2:] == [3, 2]
        other = client.post(PATH, json={"features": ["spend:count_lifetime"], "keys": {"customer_id": [1]}}).json()
        assert other["results"] == [{"values": [1]}]  # an answer of its own, of the same moment

        spine = pa.table(
            {
                "customer_id": CUSTOMERS,
                "at": pa.array([datetime.fromisoformat(second["at"])] * len(CUSTOMERS), pa.timestamp("us", "UTC")),
            }
        )
        trained = store.get_historical_features("rounds", spine, event_time="at").to_arrow()
        columns = [trained.column(name).to_pylist() for name in second["features"]]
        assert [list(row) for row in zip(*columns, strict=True)] == [one["values"] for one in second["results"]]
    store.close()
    assert server.stop() == 0, "".join(server.log)


def test_impatient_readers_do_not_shut_the_store_for_others(redis_server: RedisServer, tmp_path: Path) -> None:
    """A store that does not answer in its own time, several times, is left alone; theirs is no measure."""
    with make(tmp_path, f"{redis_server.url}/0?budget=20s") as store:
        keys = {"customer_id": CUSTOMERS}
        expected = store.get_online_features("rounds", keys).to_dict()
        for _ in range(5):
            with waiting_until(time.monotonic()), pytest.raises(StoreError):
                store.get_online_features("rounds", keys)
        assert store.get_online_features("rounds", keys).to_dict() == expected
