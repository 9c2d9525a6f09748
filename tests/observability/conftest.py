"""A project with a topic, a server of two workers and a stream worker over it, with traffic of every kind."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from asof.clock import SystemClock
from asof.config import load_config
from asof.server.app import App
from asof.server.project import Project
from asof.store import FeatureStore
from tests.server.conftest import DATA, DEFINITIONS, KEYS, make_project, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from asof.clock import Clock
    from asof.server.metrics import Metrics
    from asof.server.serving_queue import ServingQueue
    from tests.servers.redis import RedisServer

PATH = "/v1/online-features"
WAIT_S = 90
_STREAM = """
from asof import StreamSource
clicks = StreamSource("clicks", event_time="at", schema={"customer_id": "int64", "at": "timestamp"}, topic="clicks")
clicked = EventView("clicked", entity=customer, source=clicks, features=[Count(windows=["lifetime"])], freshness="1h")
seen = FeatureService("seen", features=[clicked])
"""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, long enough for a loaded machine."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def scrape(url: str) -> dict[str, Any]:
    """Return the families of a scrape by name, as Prometheus reads them."""
    families = {}
    for family in text_string_to_metric_families(httpx.get(url + "/metrics", timeout=60).text):
        assert family.name not in families, f"{family.name} is there twice"
        families[family.name] = family
    return families


def value(families: dict[str, Any], sample: str, **labels: str) -> float:
    """Return the sum of the samples of a name that have these labels."""
    return sum(
        float(one.value)
        for family in families.values()
        for one in family.samples
        if one.name == sample and labels.items() <= one.labels.items()
    )


@pytest.fixture(scope="session")
def scraped(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> dict[str, Any]:
    """What a server and a stream worker say after traffic, by the names of families."""
    root = tmp_path_factory.mktemp("observed")
    (root / "asof.toml").write_text(f'project = "shop"\nstream = "{redis_server.url}/0"\n', encoding="utf-8")
    (root / "features.py").write_text(DEFINITIONS + _STREAM, encoding="utf-8")
    for name, text in DATA.items():
        (root / name).write_text(text, encoding="utf-8")
    with FeatureStore(root) as store:
        store.apply()
        store.materialize()
    with redis.Redis(redis_server.host, redis_server.port) as client:
        for body in (b'{"customer_id": 17, "at": "2026-01-01T00:00:00Z"}', b"{"):
            client.xadd("clicks", {"value": body})
    server = start(root, "--workers", "2", "--push", "--serving-log", "1")
    with _stream_worker(root) as url:
        for service in ("fraud", "filled", "seen"):
            httpx.post(server.url + PATH, json={"service": service, "keys": KEYS}, timeout=60)
        rows = [{"customer_id": 42, "at": "2026-01-02T00:00:00Z"}]
        httpx.post(server.url + "/v1/push", json={"source": "clicks", "rows": rows}, timeout=60)
        httpx.post(server.url + PATH, json={"service": "nothing", "keys": KEYS}, timeout=60)
        wait_until(lambda: value(scrape(url), "asof_stream_rows_total", outcome="taken") > 0, "the worker takes a row")
        wait_until(lambda: bool(scrape(server.url)["asof_source_lag_seconds"].samples), "the worker tells its lag")
        both = scrape(server.url) | scrape(url)
    assert server.stop() == 0, "".join(server.log)
    return both


@contextmanager
def _stream_worker(root: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "asof.cli", "--project", str(root), "stream", "--metrics-port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        found = next((match[1] for line in process.stderr if (match := re.search(r"(http://\S+)/metrics", line))), None)
        rest = threading.Thread(target=process.stderr.read, daemon=True)
        rest.start()
        try:
            assert found is not None, "the stream worker did not start"
            yield found
        finally:
            process.terminate()
            process.wait(timeout=WAIT_S)
            rest.join()


@dataclass
class InProcess:
    """An application of a server in this process, under a client."""

    client: httpx.AsyncClient
    app: App


@asynccontextmanager
async def running(
    root: Path,
    *,
    clock: Clock | None = None,
    access_log: bool = False,
    serving_log: Callable[[Metrics], ServingQueue] | None = None,
    push: bool = False,
) -> AsyncIterator[InProcess]:
    """Run a server's application in this process within the block, and end it in order."""
    project = Project.open(load_config(root, {}), clock or SystemClock())
    pushed_to = FeatureStore(root) if push else None
    app = App(project, pushed_to=pushed_to, access_log=access_log, serving_log=serving_log)
    incoming: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    outgoing: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, incoming.get, outgoing.put))
    await incoming.put({"type": "lifespan.startup"})
    assert (await outgoing.get())["type"] == "lifespan.startup.complete"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://asof", timeout=60) as client:
        yield InProcess(client, app)
    await incoming.put({"type": "lifespan.shutdown"})
    await life


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that tests only read."""
    return make_project(tmp_path_factory.mktemp("shop"))
