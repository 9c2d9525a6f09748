"""The stream worker on a real broker: every message once, through restarts, kills, several workers and bad messages."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asof import FeatureStore
from asof.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.kafka import KafkaServer

pytestmark = pytest.mark.slow
PARTITIONS = 3
START = datetime(2026, 1, 1, tzinfo=UTC)
DEFINITIONS = """
from asof import Count, Entity, EventView, FeatureService, Last, StreamSource, Sum

customer = Entity("customer", join_key="customer_id")
orders = StreamSource(
    "orders",
    event_time="ts",
    topic="{topic}",
    schema={{"customer_id": "int64", "amount": "int64", "ts": "timestamp"}},
)
features = [Sum("amount", windows=["lifetime"]), Count(windows=["lifetime"])]
spend = EventView("spend", entity=customer, source=orders, features=features)
"""


class Project:
    """A project whose orders come from a topic of its own."""

    def __init__(self, root: Path, server: KafkaServer) -> None:
        self.root = root
        self.server = server
        self.topic = f"orders-{uuid.uuid4().hex[:8]}"
        server.create(self.topic, PARTITIONS)
        url = f"kafka://{server.servers}?topic.metadata.refresh.interval.ms=200&heartbeat.interval.ms=300"
        (root / "asof.toml").write_text(f'project = "shop"\nstream = "{url}"\n', encoding="utf-8")
        (root / "features.py").write_text(DEFINITIONS.format(topic=self.topic), encoding="utf-8")
        with self.store() as store:
            store.apply()
        self.sums: Counter[int] = Counter()
        self.counts: Counter[int] = Counter()

    def store(self) -> FeatureStore:
        return FeatureStore(self.root)

    def produce(self, count: int, seed: int) -> None:
        """Send orders to all partitions, and count them."""
        chance = random.Random(seed)
        messages: dict[int, list[bytes]] = {part: [] for part in range(PARTITIONS)}
        for number in range(count):
            customer, amount = chance.randrange(20), chance.randrange(100)
            self.sums[customer] += amount
            self.counts[customer] += 1
            at = START + timedelta(seconds=number)
            row = {"customer_id": customer, "amount": amount, "ts": at.isoformat()}
            messages[chance.randrange(PARTITIONS)].append(json.dumps(row).encode())
        for part, values in messages.items():
            self.server.produce(self.topic, part, values)

    def worker(self, *options: str) -> subprocess.Popen[str]:
        code = "from asof.cli import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, "--project", str(self.root), "stream", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> None:
        with self.store() as store:
            store.stream(until_caught_up=True)

    def check(self) -> None:
        """Compare every customer online, and in history, with what was sent."""
        customers = sorted(self.counts)
        with self.store() as store:
            read = store.get_online_features(["spend"], {"customer_id": customers}).to_dict()
            assert read["spend__count_lifetime"] == [self.counts[one] for one in customers]
            assert read["spend__amount_sum_lifetime"] == [self.sums[one] for one in customers]
            spine = {"customer_id": customers, "event_timestamp": [datetime.now(UTC)] * len(customers)}
            past = store.get_historical_features(["spend"], spine).to_arrow().to_pydict()
            assert past["spend__count_lifetime"] == read["spend__count_lifetime"]
            assert store.log.of("orders").head().rows == sum(self.counts.values())


@pytest.fixture
def project(tmp_path: Path, kafka_server: KafkaServer) -> Project:
    return Project(tmp_path, kafka_server)


def test_a_topic_is_taken_in_once_and_again_only_from_where_it_stopped(project: Project) -> None:
    """Catching up twice reads nothing twice; what comes later is added."""
    project.produce(500, seed=1)
    project.finish()
    project.check()
    project.finish()
    project.produce(100, seed=2)
    project.finish()
    project.check()


def test_a_rebuild_beside_the_stream_counts_nothing_twice(project: Project) -> None:
    """Materialize replaces the values with those of the log, and the stream goes on from there."""
    project.produce(200, seed=3)
    project.finish()
    with project.store() as store:
        store.materialize()
    project.check()
    project.produce(200, seed=4)
    project.finish()
    project.check()


def test_killed_workers_lose_and_double_nothing(project: Project) -> None:
    """Workers die at random moments while messages come; the last one finds everything in order."""
    chance = random.Random(5)
    for round_ in range(4):
        worker = project.worker()
        project.produce(300, seed=10 + round_)
        time.sleep(1.0 + chance.random() * 1.5)  # the moment of death is random
        worker.send_signal(signal.SIGKILL)
        worker.communicate(timeout=30)
    project.finish()
    project.check()


def test_two_workers_share_the_partitions_and_one_takes_over(project: Project) -> None:
    """Each message is taken in once while members come and go."""
    first, second = project.worker(), project.worker()
    project.produce(400, seed=20)
    time.sleep(2.0)  # both take part
    project.produce(400, seed=21)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 0, said
    project.produce(200, seed=22)
    project.finish()
    second.send_signal(signal.SIGINT)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 0, said
    project.check()


def test_a_message_that_cannot_be_read_stops_nothing(project: Project) -> None:
    """The good ones around it are taken in, and it is counted."""
    project.produce(10, seed=30)
    project.server.produce(project.topic, 0, [b"{not json", json.dumps({"customer_id": "x"}).encode()])
    project.produce(10, seed=31)
    with project.store() as store:
        [done] = store.stream(until_caught_up=True)
    assert (done.taken, done.refused) == (20, 2)
    project.check()


def test_a_project_without_a_broker_says_what_is_missing(tmp_path: Path) -> None:
    """A source with a topic needs the setting `stream`."""
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    (tmp_path / "features.py").write_text(DEFINITIONS.format(topic="orders"), encoding="utf-8")
    with FeatureStore(tmp_path) as store:
        store.apply()
        with pytest.raises(ConfigError, match="has no stream"):
            store.stream()
