"""A small project with data, and real server processes on free ports."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest

from asof.store import FeatureStore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

START_S = 90

DEFINITIONS = """
from datetime import datetime
from asof import Count, Entity, EventView, FeatureService, FileSource, OnDemandView, RequestField, StateView, Sum
from asof import on_demand


def halved(inputs):
    return {"amount": inputs["spend__count_lifetime"].to_numpy() / 2}


customer = Entity("customer", join_key="customer_id")
day = Entity("day", join_key="day")
profile = StateView(
    "profile", entity=customer, source=FileSource("people", path="people.csv", event_time="since"), features=["country"]
)
spend = EventView(
    "spend",
    entity=customer,
    source=FileSource("orders", path="orders.csv", event_time="at"),
    features=[Sum("amount", windows=["lifetime"], default=0.0), Count(windows=["lifetime"])],
)
weather = StateView(
    "weather", entity=day, source=FileSource("days", path="days.csv", event_time="seen"), features=["rain"]
)
later = StateView(
    "later", entity=customer, source=FileSource("late", path="people.csv", event_time="since"), features=["country"]
)
pricing = OnDemandView(
    "pricing",
    inputs=[spend["count_lifetime"]],
    request=[RequestField("distance", "float64"), RequestField("since", "timestamp", default=datetime(2026, 1, 1))],
    features=[
        on_demand.ratio("per_mile", "spend__count_lifetime", "distance"),
        on_demand.elapsed("age", "since", unit="d"),
    ],
)
half = OnDemandView("half", inputs=[spend["count_lifetime"]], function=halved, outputs={"amount": "float64"})
offer = FeatureService("offer", features=[pricing, profile, half])
fraud = FeatureService("fraud", features=[spend, profile])
forecast = FeatureService("forecast", features=[weather])
filled = FeatureService(
    "filled",
    features=[
        spend["count_lifetime"].with_missing(default=-1, indicator=True),
        profile["country"].with_missing(default="??", limit="4000d", indicator=True),
    ],
)
strict = FeatureService("strict", features=[profile["country"].with_missing(error=True)])
pair = FeatureService("pair", features=[profile, profile.with_role("referrer", keys={"customer_id": "referrer_id"})])
cards = StateView(
    "cards",
    entity=Entity("card", join_key="card_id"),
    source=FileSource("cards", path="cards.csv", event_time="since"),
    features=["customer_id"],
)
payment = FeatureService("payment", features=[spend.via(cards["customer_id"])["count_lifetime"]])
"""
DATA = {
    "people.csv": "customer_id,country,since\n17,NL,2026-01-01\n42,BE,2026-01-02\n",
    "orders.csv": "customer_id,amount,at\n17,2.5,2026-01-01\n17,1.0,2026-01-03\n42,4.0,2026-01-02\n",
    "cards.csv": "card_id,customer_id,since\nA,17,2026-01-01\nB,,2026-01-01\n",
    "days.csv": "day,rain,seen\n2026-01-01,1.5,2026-01-02\n2026-01-05,2.5,2026-01-06\n",
}
KEYS = {"customer_id": [17, 42, 99]}
FEATURES = ["spend__amount_sum_lifetime", "spend__count_lifetime", "profile__country"]
VALUES = [[3.5, 2, "NL"], [4.0, 1, "BE"], [0.0, 0, None]]


def make_project(root: Path) -> Path:
    """Write, apply and materialize a project; the view `later` is left out."""
    (root / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    (root / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    for name, text in DATA.items():
        (root / name).write_text(text, encoding="utf-8")
    with FeatureStore(root) as store:
        store.apply()
        store.materialize(["profile", "spend", "weather", "cards"])
    return root


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    url: str
    log: list[str]
    collector: threading.Thread

    def stop(self) -> int:
        """Ask it to end and return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(timeout=60)
        self.collector.join(timeout=60)
        return status


def start(project: Path, *options: str, verify: ssl.SSLContext | bool = True) -> Server:
    """Start `asof serve` on a free port and wait until it is ready; `verify` is whom a client trusts over TLS."""
    process = subprocess.Popen(
        [sys.executable, "-m", "asof.cli", "--project", str(project), "serve", "--port", "0", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    log: list[str] = []
    urls: queue.Queue[str] = queue.Queue()

    def collect() -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                log.append(line)
                if found := re.search(r"https?://\S+", line):
                    urls.put(found[0])

    collector = threading.Thread(target=collect, daemon=True)
    collector.start()
    server = Server(process, urls.get(timeout=START_S), log, collector)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(server.url + "/ready", verify=verify).status_code == 200:
                return server
        except httpx.TransportError:
            assert process.poll() is None, "".join(log)
    process.kill()
    raise AssertionError("not ready: " + "".join(log))


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that tests only read."""
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def server(project: Path) -> Iterator[Server]:
    """One worker with small limits, shared by the tests that only ask."""
    server = start(project, "--max-body", "20000", "--max-keys", "100")
    yield server
    assert server.stop() == 0, "".join(server.log)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client of the shared server."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[Path, Server]]]:
    """Return a function that makes a project of the test's own and serves it."""
    running: list[Server] = []

    def begin(*options: str) -> tuple[Path, Server]:
        server = start(make_project(tmp_path), *options)
        running.append(server)
        return tmp_path, server

    yield begin
    for server in running:
        server.stop()
