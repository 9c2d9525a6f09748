"""Drives the soak test: starts the processes, kills and restarts them for some minutes, and lets everything settle."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asof import FeatureStore
from asof.errors import RejectedRowsWarning
from tests.soak.check import Verdict, check
from tests.soak.roles import PARTITIONS, recorded
from tests.soak.shop import stream, views

if TYPE_CHECKING:
    from tests.servers.kafka import KafkaServer

ROOT = Path(__file__).parents[2]
URL = "kafka://{}?topic.metadata.refresh.interval.ms=500&heartbeat.interval.ms=300&session.timeout.ms=1500"


@dataclass
class Child:
    """A process that is started again whenever it died."""

    role: str
    arguments: tuple[Any, ...]
    said: Path
    process: subprocess.Popen[str] | None = None
    deaths: Counter[str] = field(default_factory=Counter)

    def start(self, seed: int) -> None:
        command = [sys.executable, "-m", "tests.soak.roles", self.role, str(seed), *map(str, self.arguments)]
        with self.said.open("a", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT
            )

    def died(self) -> str | None:
        """Return how it ended, or None while it runs."""
        code = self.process.poll() if self.process is not None else None
        return None if code is None else ("killed" if code == -9 else f"failed with {code}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def end(self) -> str:
        """Let it finish what it does, and return what it printed."""
        assert self.process is not None
        return self.process.communicate("end\n", timeout=120)[0]


@dataclass(frozen=True)
class Settings:
    """How long, and how rough.

    Attributes:
        seconds: How long messages are sent.
        rate: Messages per second of each producer.
        deadly: Probability of dying at one write.
        every_s: About how often the driver kills a process itself.
    """

    seconds: float
    rate: float = 60.0
    deadly: float = 0.01
    every_s: float = 6.0
    seed: int = 1


def soak(server: KafkaServer, root: Path, settings: Settings) -> Verdict:
    """Run for some time, settle, and check everything that was read and kept."""
    topic = f"orders-{uuid.uuid4().hex[:8]}"
    server.create(topic, PARTITIONS)
    text = f'project = "soak"\nstream = "{URL.format(server.servers)}"\n'
    (root / "asof.toml").write_text(text, encoding="utf-8")
    with FeatureStore(root) as store:
        store.apply(store.plan(views(stream(topic))), who="soak")
        store.materialize()
    seeds = iter(range(settings.seed * 1000, settings.seed * 1000 + 1000))
    said = root / "said.txt"
    reads = [root / f"reads-{number}.ndjson" for number in range(2)]
    producers = [Child("produce", (server.servers, topic, settings.rate), said) for _ in range(2)]
    readers = [Child("read", (root, path), said) for path in reads]
    mortals = [Child("work", (root, settings.deadly), said) for _ in range(2)]
    mortals.append(Child("rebuild", (root, settings.deadly), said))
    every = [*producers, *readers, *mortals]
    try:
        for child in every:
            child.start(next(seeds))
        _disturb(mortals, settings, seeds)
        produced = sum(int(child.end()) for child in producers)
        for child in mortals:
            child.kill()
        with FeatureStore(root) as store:
            store.stream(until_caught_up=True)
        for child in readers:
            assert child.end() == "done\n", said.read_text(encoding="utf-8")
    finally:
        for child in every:
            if child.process is not None and child.process.poll() is None:
                child.kill()
    deaths = sum((child.deaths for child in mortals), Counter[str]())
    lines = [line for path in reads for line in recorded(path)]
    with FeatureStore(root) as store:
        verdict = check(store, server.servers, topic, produced, lines)
    failed = [how for how in deaths if how.startswith("failed")]
    if failed:
        verdict.wrong.append(f"processes {', '.join(failed)}:\n{said.read_text(encoding='utf-8')[-3000:]}")
    verdict.counts.update({f"processes {how}": count for how, count in deaths.items()})
    return verdict


def _disturb(mortals: list[Child], settings: Settings, seeds: Any) -> None:
    chance = random.Random(settings.seed)
    until = time.monotonic() + settings.seconds
    next_kill = time.monotonic() + settings.every_s
    while (now := time.monotonic()) < until:
        for child in mortals:
            how = child.died()
            if how is not None:
                child.deaths[how if how != "killed" else f"killed at a write ({child.role})"] += 1
                child.kill()
                child.start(next(seeds))
        if now > next_kill:
            victim = chance.choice(mortals)
            if victim.died() is None:
                victim.deaths[f"killed at any moment ({victim.role})"] += 1
                victim.kill()
                victim.start(next(seeds))
            next_kill = now + settings.every_s * chance.uniform(0.5, 1.5)
        time.sleep(0.05)  # between two looks at the processes


def main(minutes: float) -> int:
    """Run with a broker of its own; the exit code is 1 if anything was wrong."""
    from tests.servers.kafka import kafka_broker

    warnings.simplefilter("ignore", RejectedRowsWarning)  # orders without a customer are part of it
    with tempfile.TemporaryDirectory() as folder, kafka_broker(Path(folder)) as server:
        root = Path(folder) / "project"
        root.mkdir()
        verdict = soak(server, root, Settings(seconds=minutes * 60, seed=int(time.time()) % 100_000))
    print(verdict.text())
    return int(bool(verdict.wrong))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0))
