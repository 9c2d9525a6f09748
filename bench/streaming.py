"""Streaming: JSON events of 200 bytes into 15 windowed features of 100,000 skewed keys, and reads beside; Feast beside.

Rates are events per second of the process's processor time, so that they are per core and hardly depend on what else
runs; latencies are by the clock.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from asof import _native
from asof.interfaces.online import ViewKey
from feast_process import VERSION, Feast, Redis, environment
from measure import ROOT, Report, Target, alternate, main, say, stop
from stream_load import BATCH, PARTITIONS, Intake, batches, broker, fill, messages, order, orders, shop, until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asof import FeatureStore

KEYS = 100_000
PROBE_KEYS = 10_000_000
HALF_LOAD = 50_000
ROUNDS = 3


def run(quick: bool, report: Report) -> None:
    """Measure the whole path without a broker beside Feast's push, then through Kafka, then what is stored."""
    path = orders(400_000 if quick else 1_000_000, KEYS)
    with feast_pushes(path) as feast:
        push(report, feast)
        ingest(report, path, feast)
    reads(report, 3 if quick else 15)
    through_kafka(report, path, 5 if quick else 20)
    state_size(report, 100_000 if quick else 1_000_000)


@contextlib.contextmanager
def feast_pushes(path: Path) -> Iterator[Callable[[int, int], float] | None]:
    """Give a function that pushes so many rows so often to Feast's Redis, and returns the processor time of both."""
    programs = environment()
    if programs is None or not shutil.which("redis-server"):
        yield None
        return
    with Redis() as redis, Feast(programs, {}, pushed=path, redis=redis.port) as feast:

        def ask(rows: int, times: int) -> float:
            before = redis.processor_s()
            return feast.ask("push", rows, times) + redis.processor_s() - before

        yield ask


def push(report: Report, feast: Callable[[int, int], float] | None) -> None:
    """Push one row at a time, with everything that a push does: durable in the log, then in every value."""
    times = 100
    store = shop("stream-push")
    for number in range(10):
        store.push("orders", [order(number)])
    took: list[float] = []

    def ours() -> float:
        began = time.process_time()
        for _ in range(times):
            start = time.perf_counter()
            store.push("orders", [order(random.randrange(1000))])
            took.append(time.perf_counter() - start)
        return (time.process_time() - began) / times * 1e6

    theirs = None if feast is None else lambda: feast(1, times) / times * 1e6
    found = alternate({"ours": ours, "feast": theirs}, ROUNDS)
    report.add("Push of 1 row", "µs", found["ours"], peer=f"Feast {VERSION}, Redis", theirs=found["feast"])
    p50, p99 = np.percentile(np.array(took), [50, 99]) * 1e3
    report.add("Push of 1 row, by the clock, median", "ms", float(p50), note=f"p99 {p99:.1f} ms; four syncs to disk")
    store.close()


def ingest(report: Report, path: Path, feast: Callable[[int, int], float] | None) -> None:
    """Take prepared messages in, batch by batch; Feast gets the same rows decoded, as a frame."""
    store = shop("stream-ingest")
    first, *waiting = batches(messages(until_now(path)))
    intake = Intake(store)
    intake.take_in(first)
    rounds = iter([waiting[number::ROUNDS] for number in range(ROUNDS)])
    walls: list[float] = []

    def ours() -> float:
        some = next(rounds)
        wall, began = time.perf_counter(), time.process_time()
        for batch in some:
            intake.take_in(batch)
        walls.append(BATCH * len(some) / (time.perf_counter() - wall))
        return BATCH * len(some) / (time.process_time() - began)

    theirs = None if feast is None else lambda: BATCH / feast(BATCH, 1)
    found = alternate({"ours": ours, "feast": theirs}, ROUNDS)
    note = f"{np.median(walls):,.0f} by the clock; Feast stores rows as they are, without windows"
    what = f"Ingest, {BATCH:,} messages a batch, to LMDB"
    report.add(what, "events/s", found["ours"], target=Target(100_000, "at least"), note=note)
    peer = f"Feast {VERSION} push, Redis"
    report.add(what, "events/s", found["ours"], peer=peer, theirs=found["feast"], target=Target(20, "ratio"))
    store.close()


def child(*command: Any) -> subprocess.Popen[str]:
    """Start a load, and return when it says that it is ready."""
    program = [sys.executable, str(ROOT / "bench" / "stream_load.py"), *map(str, command)]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str]) -> str:
    """End a load, and return what it says."""
    return process.communicate("end\n", timeout=120)[0]


def reads(report: Report, seconds: float) -> None:
    """Read one key and a hundred while another process takes events in as fast as it can, and when it has stopped."""
    store = shop("stream-reads")
    load = child("ingest", store.config.root)
    try:
        time.sleep(2)
        before, began = store.log.of("orders").head().rows, time.perf_counter()
        beside = {count: read_for(store, count, seconds) for count in (1, 100)}
        rate = (store.log.of("orders").head().rows - before) / (time.perf_counter() - began)
    finally:
        ended(load)
    for count, (wall, cpu) in beside.items():
        alone, _ = read_for(store, count, seconds / 3)
        keys = "1 key" if count == 1 else f"{count} keys"
        p50, p99 = np.percentile(wall, [50, 99])
        note = (
            f"median {p50:.3f} ms, p99 of processor time {np.percentile(cpu, 99):.3f} ms, of {len(wall):,} reads; "
            f"{rate:,.0f} events/s were taken in beside them"
        )
        report.add(
            f"Read beside full ingest, {keys} x 15 windows, p99",
            "ms",
            float(p99),
            peer="the same reads alone",
            theirs=float(np.percentile(alone, 99)),
            target=Target(5, "at most"),
            note=note,
        )
    store.close()


def read_for(store: FeatureStore, count: int, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Read random keys for some seconds, and return milliseconds of each read by the clock and of processor time."""
    wall, cpu = [], []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        keys = [random.randrange(KEYS) for _ in range(count)]
        start, began = time.perf_counter(), time.thread_time()
        store.get_online_features("fraud", {"customer_id": keys})
        cpu.append(time.thread_time() - began)
        wall.append(time.perf_counter() - start)
    return np.array(wall) * 1e3, np.array(cpu) * 1e3


def through_kafka(report: Report, path: Path, seconds: float) -> None:
    """Catch up with a full topic, then follow one that is filled at half the target, and look when rows are served."""
    with broker() as server:
        if server is None:
            say("  Kafka is not available")
            return
        topic = f"orders-{uuid.uuid4().hex[:8]}"
        server.create(topic, PARTITIONS)
        store = shop("stream-kafka", topic=topic, stream=f"kafka://{server.servers}")
        values = messages(until_now(path))
        fill(server.servers, topic, values)
        wall, began = time.perf_counter(), time.process_time()
        (done,) = store.stream(until_caught_up=True)
        rate = len(values) / (time.process_time() - began)
        by_clock = len(values) / (time.perf_counter() - wall)
        assert done.taken == len(values)
        note = f"{by_clock:,.0f} by the clock, with the broker on the same machine"
        report.add("Ingest through Kafka", "events/s", rate, target=Target(100_000, "at least"), note=note)
        latency(report, server, store, topic, load=min(HALF_LOAD, by_clock / 2), seconds=seconds)
        store.close()


def latency(report: Report, server: Any, store: FeatureStore, topic: str, *, load: float, seconds: float) -> None:
    """Send a marked order every 50 ms within a load, and read until each of them shows.

    The load is half the target, or half of what was just measured by the clock where the machine is too busy for that.
    """
    import msgspec
    from confluent_kafka import Producer

    code = "from asof.cli import main; main()"
    command = [sys.executable, "-c", code, "--project", str(store.config.root), "stream"]
    worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    crowd = child("produce", server.servers, topic, load)
    producer = Producer({"bootstrap.servers": server.servers, "linger.ms": 0})
    sent: dict[int, float] = {}
    took: list[float] = []

    def mark(number: int) -> None:
        producer.produce(topic, msgspec.json.encode(order(number)), partition=number % PARTITIONS)
        producer.poll(0)
        sent[number] = time.perf_counter()

    def look() -> None:
        asked = list(sent)
        found = store.get_online_features(["spend:count_30d"], {"customer_id": asked})
        seen = time.perf_counter()
        counts = found.to_dict()["spend__count_30d"]
        took.extend(seen - sent.pop(key) for key, count in zip(asked, counts, strict=True) if count)
        time.sleep(0.005)

    try:
        started = time.perf_counter()
        for number in range(PARTITIONS):  # once these show, the worker has its partitions and has caught up
            mark(PROBE_KEYS + number)
        while sent and time.perf_counter() < started + 90:
            look()
        took.clear()
        due = time.perf_counter()
        until = due + seconds
        number = PROBE_KEYS + PARTITIONS
        while (now := time.perf_counter()) < until or (sent and now < until + 30):
            if due <= now < until:
                mark(number)
                number, due = number + 1, max(due + 0.05, now)
            if sent:
                look()
    finally:
        rate = float(ended(crowd))
        stop(worker)
    assert not sent, f"{len(sent)} orders never showed"
    p50, p99 = np.percentile(np.array(took), [50, 99])
    note = f"p50 {p50:.3f} s of {len(took)} orders within {rate:,.0f} events/s, broker and producer on the same cores"
    report.add("Produced to servable, p99", "s", float(p99), target=Target(1, "at most"), note=note)


def state_size(report: Report, keys: int) -> None:
    """Take five orders per key in, skewed, over 30 days, and weigh what is stored of each key."""
    store = shop("stream-size")
    ingestor = store.ingestor("orders")
    table = until_now(orders(keys * 5, keys))
    for start in range(0, table.num_rows, 200_000):
        ingestor.push(table.slice(start, 200_000))
    seen = table.column("customer_id").unique()
    encoded = _native.KeyIndex([seen]).encoded()
    view = ViewKey(store.config.project, "spend", 1)
    sizes: list[int] = []
    for start in range(0, len(encoded), 50_000):
        (found,) = store.online.read([(view, encoded.slice(start, 50_000).to_pylist())])
        sizes += [len(value) for value in found.values if value is not None]
    assert len(sizes) == len(seen)
    p50, p99 = np.percentile(np.array(sizes), [50, 99])
    files = sum(one.stat().st_blocks * 512 for one in (store.config.root / ".asof").rglob("*.mdb"))
    note = (
        f"median {p50:,.0f}, p99 {p99:,.0f}, largest {max(sizes):,} bytes; {len(sizes):,} of {keys:,} keys had events; "
        f"the store's file is {files / 1e6:,.0f} MB, {files / len(sizes):,.0f} bytes a key"
    )
    what = f"State of 15 windows, {keys:,} keys, mean"
    report.add(what, "bytes", float(np.mean(sizes)), target=Target(1024, "at most"), note=note)
    store.close()
    shutil.rmtree(store.config.root)


if __name__ == "__main__":
    main(run)
