"""What streams in the streaming benchmark: skewed orders as JSON of 200 bytes, a project for them, a Kafka broker.

Run as a program it is a load beside a measurement, until its standard input ends:
`stream_load.py ingest ROOT` takes orders in as fast as it can; `stream_load.py produce SERVERS TOPIC RATE` sends them.
"""

from __future__ import annotations

import contextlib
import select
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asof import FeatureStore
from asof.backends.formats.json import JsonDecoder
from asof.plan.streams import row_schema
from asof.services.ingest import Batch
from measure import ROOT
from workloads import DAY_US, HEAD, SEED, cached, project, skewed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.services.ingest import Ingested

MESSAGE_BYTES = 200
BATCH = 50_000  # what the worker takes at a time when it is behind
PARTITIONS = 4
SPAN_US = 30 * DAY_US
CHANNELS = ("web", "app", "shop", "phone")
DEFINITIONS = HEAD + (
    "orders = StreamSource('orders', event_time='ts', topic={topic!r}, schema={{'customer_id': 'int64',\n"
    "    'amount': 'float64', 'items': 'int64', 'merchant': 'string', 'channel': 'string', 'ts': 'timestamp'}})\n"
    "W = ['1h', '1d', '30d']\n"
    "spend = EventView('spend', entity=customer, source=orders, features=[Sum('amount', windows=W), Count(windows=W),\n"
    "    Mean('amount', windows=W), Max('amount', windows=W), Sum('items', windows=W)])\n"
    "fraud = FeatureService('fraud', features=[spend])\n"
)


def orders(rows: int, keys: int) -> Path:
    """Orders in the order of their times, which are spread evenly over the 30 days before `ts` = 0."""

    def make(path: Path) -> None:
        rng = np.random.default_rng([SEED, 9])
        merchants = pa.array([f"merchant-{i:05}" for i in range(5000)])
        table = pa.table(
            {
                "customer_id": skewed(rng, rows, keys),
                "amount": np.round(rng.exponential(50, rows), 2),
                "items": rng.integers(1, 9, rows),
                "merchant": merchants.take(pa.array(rng.integers(0, 5000, rows))),
                "channel": pa.array(CHANNELS).take(pa.array(rng.integers(0, len(CHANNELS), rows))),
                "ts": np.linspace(-SPAN_US, -1_000_000, rows).astype(np.int64),
            }
        )
        pq.write_table(table, path)

    return cached(f"orders-{rows}-{keys}.parquet", make)


def until_now(path: Path) -> pa.Table:
    """Return orders whose last one is of a second ago."""
    table = pq.read_table(path)
    shift = pa.scalar(time.time_ns() // 1000)
    times = pa.compute.add(table.column("ts"), shift).cast(pa.timestamp("us", "UTC"))
    return table.set_column(table.schema.get_field_index("ts"), "ts", times)


def messages(rows: pa.Table) -> list[bytes]:
    """Return each order as a JSON object of 200 bytes, its time as ISO 8601 text, padded by a field nobody reads."""
    encode = msgspec.json.encode
    found = []
    for row in rows.to_pylist():
        text = encode(row)
        found.append(text[:-1] + b',"session":"' + b"0" * (MESSAGE_BYTES - len(text) - 14) + b'"}')
    return found


def order(customer: int) -> dict[str, Any]:
    """Return one order of this moment."""
    at = datetime.now(UTC) - timedelta(microseconds=1)
    return {
        "customer_id": customer,
        "amount": 9.5,
        "items": 1,
        "merchant": "merchant-00001",
        "channel": "web",
        "ts": at,
    }


def shop(name: str, *, topic: str = "orders", stream: str = "") -> FeatureStore:
    """Return a store over a new project with 5 aggregates over 3 windows of the orders."""
    store = project(name, DEFINITIONS.format(topic=topic))
    if not stream:
        return store
    settings = store.config.root / "asof.toml"
    store.close()
    settings.write_text(settings.read_text() + f'stream = "{stream}"\n')
    return FeatureStore(settings.parent)


class Intake:
    """Takes messages in as the worker does, without a broker: decoding, door, log, states and commit."""

    def __init__(self, store: FeatureStore) -> None:
        self._ingestor = store.ingestor("orders").ingestor
        self._decoder = JsonDecoder(row_schema(self._ingestor.source))
        self._position = self._ingestor.log.head().positions.get("0", 0)

    def take_in(self, values: pa.BinaryArray) -> Ingested:
        """Take in a batch of messages of partition 0."""
        decoded = self._decoder.decode(values)
        start, end = self._position, self._position + len(values)
        partition, position = pa.repeat(pa.scalar("0"), len(values)), pa.array(range(start, end), pa.int64())
        done = self._ingestor.take_in(Batch(decoded.rows, partition, position, {"0": end}))
        assert done.taken == len(values), done
        self._position = end
        return done


def batches(values: list[bytes]) -> list[pa.BinaryArray]:
    """Return messages as the batches of a worker that is behind."""
    return [pa.array(values[start : start + BATCH], pa.binary()) for start in range(0, len(values), BATCH)]


@contextlib.contextmanager
def broker() -> Iterator[Any]:
    """Run the test suite's Kafka broker; None where its jars or Java are not there."""
    sys.path.insert(0, str(ROOT))
    from tests.servers.kafka import JARS, kafka_broker

    if not any(JARS.glob("kafka_*.jar")) or shutil.which("java") is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as directory, kafka_broker(Path(directory)) as server:
        yield server


def fill(servers: str, topic: str, values: list[bytes]) -> None:
    """Append messages to a topic, spread over its partitions."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000})
    for number, value in enumerate(values):
        producer.produce(topic, value, partition=number // 500 % PARTITIONS)
        if number % 5000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0


def _ended() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def _ingest(root: str) -> None:
    with FeatureStore(root) as store:
        intake, waiting = Intake(store), batches(messages(until_now(orders(400_000, 100_000))))
        print("ready", flush=True)
        while True:
            for batch in waiting:
                if _ended():
                    return
                intake.take_in(batch)


def _produce(servers: str, topic: str, rate: float) -> None:
    """Send at an even rate, which is caught up with where the machine was busy; say how many were sent."""
    from confluent_kafka import Producer

    values = messages(until_now(orders(400_000, 100_000)))
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000})
    print("ready", flush=True)
    began, sent = time.perf_counter(), 0
    while not _ended():
        due = int((time.perf_counter() - began) * rate)
        for number in range(sent, due):
            producer.produce(topic, values[number % len(values)], partition=number // 100 % PARTITIONS)
        sent = max(sent, due)
        producer.poll(0.005)
    took = time.perf_counter() - began
    producer.flush(60)
    print(sent / took, flush=True)


if __name__ == "__main__":
    {"ingest": _ingest, "produce": lambda s, t, r: _produce(s, t, float(r))}[sys.argv[1]](*sys.argv[2:])
