"""Requests per second of one worker for 1 key x 15 features, against a bare handler on the same server.

Both run in one process pinned to core 0 and answer the same number of bytes; the bare one parses the same body and
answers a constant. The client, pinned to core 1, keeps its connections open. Run: python bench/http_online.py
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn

from asof import Entity, FeatureService, FileSource, StateView
from asof.clock import SystemClock
from asof.config import load_config
from asof.server.app import App
from asof.server.online import PATH
from asof.server.project import Project
from asof.server.requests import from_json
from asof.store import FeatureStore

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ENTITIES = 100_000
SECONDS = 2.0
ROUNDS = 3
HEAD = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n".encode()


def make_project(root: Path) -> None:
    """A view of 10 float64, 3 int64 and 2 string features for 100k customers."""
    random = np.random.default_rng(7)
    columns: dict[str, Any] = {f"f{n}": random.normal(size=ENTITIES) for n in range(10)}
    columns |= {f"i{n}": random.integers(0, 10_000, ENTITIES) for n in range(3)}
    columns |= {f"s{n}": [f"text{v}" for v in random.integers(0, 1000, ENTITIES)] for n in range(2)}
    times = pa.array(np.full(ENTITIES, np.datetime64("2026-01-01", "us")))
    table = pa.table({"customer_id": np.arange(ENTITIES), "at": times, **columns})
    pq.write_table(table, root / "rows.parquet")
    (root / "asof.toml").write_text('project = "bench"\n', encoding="utf-8")
    view = StateView(
        "profile",
        entity=Entity("customer", join_key="customer_id"),
        source=FileSource("rows", path="rows.parquet", event_time="at"),
        features=list(columns),
    )
    with FeatureStore(root) as store:
        store.apply(store.plan([view, FeatureService("fraud", features=[view])]))
        store.materialize()


def serve(root: Path, kind: str, ready: Connection, constant: bytes) -> None:
    """Run one server in this process and report its port."""
    os.sched_setaffinity(0, {0})
    app: Any

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        from_json(message["body"])
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(constant))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": constant})

    app = bare if kind == "bare" else App(Project.open(load_config(root, {}), SystemClock()))
    configuration = uvicorn.Config(
        app,
        port=0,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off" if kind == "bare" else "on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )
    bound = configuration.bind_socket()
    ready.send(bound.getsockname()[1])
    uvicorn.Server(configuration).run(sockets=[bound])


async def load(port: int, connections: int, seconds: float) -> tuple[float, list[float], bytes]:
    """Return requests per second, the latencies in seconds, and one answer's body."""
    latencies: list[float] = []
    last = b""
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        nonlocal last
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        random = np.random.default_rng(number)
        while time.perf_counter() < end:
            body = b'{"service":"fraud","keys":{"customer_id":[%d]}}' % random.integers(ENTITIES)
            started = time.perf_counter()
            writer.write(
                b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (PATH.encode(), len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            last = await reader.readexactly(length)
            latencies.append(time.perf_counter() - started)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(connections)))
    return len(latencies) / (time.perf_counter() - started), latencies, last


def main() -> None:
    """Print medians of alternating rounds."""
    import uvloop

    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        make_project(root)
        servers = {}
        constant = b""
        for kind in ("asof", "bare"):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(root, kind, theirs, constant))
            process.start()
            port = ours.recv()
            servers[kind] = (process, port)
            for _ in range(100):
                try:
                    _, _, constant = uvloop.run(load(port, 1, 0.5))
                    break
                except OSError:
                    time.sleep(0.1)
        os.sched_setaffinity(0, {1})
        for connections in (1, 16, 64):
            rates: dict[str, list[float]] = {"asof": [], "bare": []}
            waits: dict[str, list[float]] = {"asof": [], "bare": []}
            for _ in range(ROUNDS):
                for kind, (_, port) in servers.items():
                    rate, latencies, _ = uvloop.run(load(port, connections, SECONDS))
                    rates[kind].append(rate)
                    waits[kind] += latencies
            asof, bare = (statistics.median(rates[kind]) for kind in ("asof", "bare"))
            p50, p99 = np.percentile(waits["asof"], [50, 99]) * 1000
            print(
                f"1 key x 15, {connections:2} connections: {asof:7,.0f}/s, bare {bare:7,.0f}/s,"
                f" ratio {asof / bare:.2f}, p50 {p50:.2f} ms, p99 {p99:.2f} ms"
            )
        for process, _ in servers.values():
            process.terminate()
            process.join()


if __name__ == "__main__":
    main()
