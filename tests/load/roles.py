"""What the clients of a load run do until their standard input ends: `python -m tests.load.roles ROLE SEED …`."""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asof import Count, Entity, EventView, FeatureService, FeatureStore, Max, StreamSource, Sum
from asof.errors import AsofError
from tests.soak.roles import ended, wait_for_end
from tests.soak.shop import CUSTOMERS, VIEWS, stream, views

CLICKS = {"click_id": "string", "customer_id": "int64", "ts": "timestamp", "price": "float64"}
_TIMEOUT_S = 20.0
_PAUSE_S = 0.1


def definitions(topic: str, turn: int = 0) -> list[Any]:
    """Return the project's definitions; those of another turn describe one view anew and mean another by it."""
    orders = views(stream(topic))
    customer = orders[0].entity
    assert isinstance(customer, Entity)
    clicks = StreamSource("clicks", schema=CLICKS, event_time="ts", event_id="click_id")
    clicking = EventView(
        "clicking",
        entity=customer,
        source=clicks,
        features=[Count(windows=["5s", "lifetime"]), Sum("price", windows=["30s", "lifetime"])],
        description=f"As described in turn {turn}.",
    )
    changing = EventView(
        "changing",
        entity=customer,
        source=clicks,
        where=f"price > {turn % 5}",
        features=[Max("price", windows=["30s"])],
    )
    served = FeatureService("shop", features=[*orders, clicking])
    return [*orders, clicking, changing, served]


class Server:
    """A connection to the server under test, opened again whenever it is lost."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and answer; status 0 where there is no answer."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_S)
            self._connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException) as error:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return 0, {"error": {"code": type(error).__name__}}


def push(seed: int, port: int, out: str) -> None:
    """Push clicks, each batch until it is acknowledged, and write down what was."""
    chance, server, number = random.Random(seed), Server(port), 0
    with Path(out).open("w", encoding="utf-8") as file:
        while not ended(0.05 * chance.random()):
            rows = [_click(chance, f"{seed}-{number + more}") for more in range(chance.choice([1, 1, 1, 5, 40]))]
            number += len(rows)
            while True:
                begun = time.monotonic()
                status, answer = server.post("/v1/push", {"source": "clicks", "rows": rows})
                _note(file, "push", status, answer, begun, ids=[row["click_id"] for row in rows])
                if status == 200 and answer["taken"] == len(rows):
                    break
                time.sleep(_PAUSE_S)  # a client that tries again waits, and pushes the same rows
    print("done", flush=True)


def _click(chance: random.Random, name: str) -> dict[str, Any]:
    return {
        "click_id": name,
        "customer_id": chance.randrange(CUSTOMERS),
        "ts": (datetime.now(UTC) - timedelta(seconds=chance.choice([0, 0, 1, 10]) * chance.random())).isoformat(),
        "price": round(chance.expovariate(0.1), 2),
    }


def read(seed: int, port: int, out: str) -> None:
    """Ask the service for some customers over and over, and write down what was answered, and how soon."""
    chance, server = random.Random(seed), Server(port)
    asked = [*VIEWS, "clicking"]
    with Path(out).open("w", encoding="utf-8") as file:
        while not ended(0.02 * chance.random()):
            keys = [chance.randrange(CUSTOMERS + 1) for _ in range(chance.randrange(1, 4))]
            begun = time.monotonic()
            body = {"service": "shop@1", "keys": {"customer_id": keys}, "metadata": True}
            status, answer = server.post("/v1/online-features", body)
            more = {"read": {**_line(answer, keys), "views": asked}} if status == 200 else {}
            _note(file, "read", status, answer, begun, **more)
            if status != 200:
                time.sleep(_PAUSE_S)  # as a client would, so that a failing server does not fill the account
    print("done", flush=True)


def _line(answer: dict[str, Any], keys: list[int]) -> dict[str, Any]:
    """Return an answer in the form that the soak test's readers write down."""
    names, results = answer["features"], answer["results"]
    return {
        "keys": keys,
        "at": answer["at"],
        "values": {name: [one["values"][place] for one in results] for place, name in enumerate(names)},
        "statuses": {name: [one["statuses"][place] for one in results] for place, name in enumerate(names)},
        "times": {view: [one["event_times"][view] for one in results] for view in answer["views"]},
    }


def _note(file: Any, what: str, status: int, answer: dict[str, Any], begun_s: float, **more: Any) -> None:
    code = None if status == 200 else answer.get("error", {}).get("code", "unknown")
    line = {"what": what, "status": status, "code": code, "seconds": time.monotonic() - begun_s, **more}
    file.write(json.dumps(line) + "\n")
    file.flush()


def work(root: str) -> None:
    """Take messages in; started while the registry is away, try again as a supervisor would."""
    stop, begun = threading.Event(), threading.Event()
    threading.Thread(target=wait_for_end, args=(stop,), daemon=True).start()
    while not stop.is_set():
        try:
            with FeatureStore(root) as store:
                store.stream(stop=stop, progress=lambda _: begun.set())
        except AsofError as error:
            if begun.is_set() or not error.retryable:
                raise
            stop.wait(_PAUSE_S)


def apply(seed: int, root: str, topic: str) -> None:
    """Change definitions over and over: one view's description, another one's meaning."""
    chance, turn = random.Random(seed), 0
    while not ended(chance.uniform(1.0, 3.0)):
        turn += 1
        try:
            with FeatureStore(root) as store:
                store.apply(store.plan(definitions(topic, turn)), who="load")
                if turn % 2:
                    store.materialize(["changing"])
                store.prune(store.plan_prune())
        except AsofError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            if not error.retryable and error.code != "conflict":
                raise
    print(turn, flush=True)


def main() -> None:
    """Play a role."""
    role, seed, *rest = sys.argv[1:]
    if role == "push":
        push(int(seed), int(rest[0]), rest[1])
    elif role == "read":
        read(int(seed), int(rest[0]), rest[1])
    elif role == "work":
        work(rest[0])
    else:
        apply(int(seed), *rest)


if __name__ == "__main__":
    main()
