"""Drives a load run: serving, pushing, streaming, materializing and applying at once, while all of them are killed."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
import warnings
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pyarrow as pa
import pytest

from asof import FeatureStore
from asof.errors import RejectedRowsWarning
from tests.load.roles import definitions
from tests.load.stores import KINDS
from tests.servers.processes import free_ports
from tests.soak.check import Verdict, check
from tests.soak.roles import PARTITIONS, restored
from tests.soak.run import ROOT, URL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.load.stores import Stores
    from tests.servers.kafka import KafkaServer

_READY_S = 60.0
_SETTLE_S = 180


@dataclass(frozen=True)
class Settings:
    """How long, and how rough.

    Attributes:
        seconds: How long everything runs at once.
        rate: Messages per second of each producer.
        every_s: About how often something is killed.
        least: How many pushes there are at least, though it take longer on a busy machine.
    """

    seconds: float
    rate: float = 40.0
    every_s: float = 5.0
    least: int = 10
    seed: int = 1


@dataclass
class Child:
    """A process in a group of its own, started again whenever it ended or was killed."""

    name: str
    command: Sequence[str]
    said: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[str] | None = None
    ends: Counter[str] = field(default_factory=Counter)

    def start(self) -> None:
        with self.said.open("a", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *self.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    def revive(self) -> None:
        """Start it again where it ended by itself, and count how."""
        if self.process is not None and (code := self.process.poll()) is not None:
            self.ends[f"{self.name}: ended with {code}"] += 1
            self.process.communicate()
            self.start()

    def kill(self) -> None:
        """End it and all that it started, at once."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()

    def kill_again(self, chance: random.Random) -> None:
        """Kill it, or one of the processes that it started where it has some."""
        assert self.process is not None
        started = psutil.Process(self.process.pid).children() if self.process.poll() is None else []
        if started and chance.random() < 0.5:
            chance.choice(started).kill()
            self.ends[f"{self.name}: killed in part"] += 1
        else:
            self.kill()
            self.ends[f"{self.name}: killed"] += 1
            self.start()

    def finish(self) -> str:
        """Let it finish what it does, and return what it printed."""
        assert self.process is not None
        return self.process.communicate("end\n", timeout=_SETTLE_S)[0]


@dataclass
class Run:
    """The processes of a run, and where clients write down what they saw."""

    root: Path
    port: int
    clients: list[Child]
    servers: list[Child]
    producers: list[Child]
    appliers: list[Child]
    said: Path

    @property
    def mortals(self) -> list[Child]:
        return [*self.servers, *self.appliers]

    @property
    def every(self) -> list[Child]:
        return [*self.clients, *self.producers, *self.mortals]


def load(kafka: KafkaServer, stores: Stores, root: Path, settings: Settings) -> Verdict:
    """Run for some time, settle, and check everything that was read, acknowledged and kept."""
    topic = f"load-{uuid.uuid4().hex[:8]}"
    kafka.create(topic, PARTITIONS)
    lines = {"project": "load", "stream": URL.format(kafka.servers), **stores.settings}
    (root / "asof.toml").write_text("".join(f'{key} = "{value}"\n' for key, value in lines.items()), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stores.environment.items():
            patch.setenv(name, value)
        with FeatureStore(root) as store:
            store.apply(store.plan(definitions(topic)), who="load")
            store.materialize()
        run = _processes(kafka, root, topic, settings)
        try:
            run.servers[0].start()
            _ready(run.port)
            for child in run.every:
                if child.process is None:
                    child.start()
            crashes = _disturb(run, stores, settings)
            produced = _settle(run)
        finally:
            for child in run.every:
                child.kill()
        return _verdict(run, kafka, topic, produced, crashes)


def _processes(kafka: KafkaServer, root: Path, topic: str, settings: Settings) -> Run:
    said, seed = root / "said.txt", settings.seed * 1000
    [port] = free_ports(1)

    def child(name: str, *command: Any) -> Child:
        return Child(name, [str(part) for part in command], said, {})

    def client(role: str, number: int) -> Child:
        out = root / f"{role}-{number}.ndjson"
        return child(role, "-m", "tests.load.roles", role, seed + number, port, out)

    soak, own = ("-m", "tests.soak.roles"), ("-m", "tests.load.roles")
    serve = ("-m", "asof.cli", "--project", root, "serve", "--port", port, "--workers", 2, "--push")
    return Run(
        root=root,
        port=port,
        clients=[client(role, number) for role in ("read", "push") for number in range(2)],
        servers=[
            child("server", *serve),
            *(child("worker", *own, "work", seed + number, root) for number in range(2)),
            child("materialize", *soak, "rebuild", seed, root, 0),
        ],
        producers=[child("produce", *soak, "produce", seed, kafka.servers, topic, settings.rate)],
        appliers=[child("apply", *own, "apply", seed, root, topic)],
        said=said,
    )


def _ready(port: int) -> None:
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)  # until the next look
    raise TimeoutError("the server did not become ready")


def _disturb(run: Run, stores: Stores, settings: Settings) -> int:
    """Kill something every few seconds until the time is over; return how often it was the store's server."""
    chance, crashes = random.Random(settings.seed), 0
    until = time.monotonic() + settings.seconds
    next_kill = time.monotonic() + settings.every_s
    while (now := time.monotonic()) < until or (now < until + _READY_S and _pushes(run.root) < settings.least):
        for child in run.mortals:
            child.revive()
        if until > now > next_kill:
            if stores.crash is not None and chance.random() < 0.4:
                stores.crash()
                crashes += 1
            else:
                chance.choice([*run.mortals, run.servers[0]]).kill_again(chance)
            next_kill = now + settings.every_s * chance.uniform(0.5, 1.5)
        time.sleep(0.05)  # between two looks at the processes
    return crashes


def _pushes(root: Path) -> int:
    """Return how many pushes were acknowledged so far."""
    return sum(path.read_text(encoding="utf-8").count('"status": 200') for path in root.glob("push-*.ndjson"))


def _settle(run: Run) -> int:
    """Stop who sends, let workers catch up and clients have their last answers; return how many messages were sent."""
    produced = sum(int(child.finish()) for child in run.producers)
    for child in [*run.appliers, *run.servers[1:]]:
        child.kill()
    with FeatureStore(run.root) as store:
        store.stream(until_caught_up=True)
    run.servers[0].revive()
    for child in run.clients:
        assert child.finish() == "done\n", run.said.read_text(encoding="utf-8")[-3000:]
    return produced


def _verdict(run: Run, kafka: KafkaServer, topic: str, produced: int, crashes: int) -> Verdict:
    seen = list(_seen(run.root))
    answers = [restored(line["read"]) for line in seen if "read" in line]
    with FeatureStore(run.root) as store:
        verdict = check(store, kafka.servers, topic, produced, answers)
        _check_clicks(verdict, store, seen)
    for child in run.mortals:
        verdict.counts.update(child.ends)
        failed = [how for how in child.ends if "ended with" in how and not how.endswith(" 0")]
        if failed:
            verdict.wrong.append(f"{', '.join(failed)}:\n{run.said.read_text(encoding='utf-8')[-3000:]}")
    verdict.counts["server of the store: killed"] = crashes
    for what in ("read", "push"):
        _tell(verdict, what, [line for line in seen if line["what"] == what])
    return verdict


def _seen(root: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(root.glob("*.ndjson")):
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _check_clicks(verdict: Verdict, store: FeatureStore, seen: Sequence[dict[str, Any]]) -> None:
    """Hold the log to what was acknowledged, and the views to the log: each click counts once."""
    acknowledged = {name for line in seen if line["what"] == "push" and line["status"] == 200 for name in line["ids"]}
    log = store.log.of("clicks")
    rows = pa.concat_tables([rows for _, rows in log.read(0, log.head().sequence)])
    kept = dict(zip(rows["click_id"].to_pylist(), rows["customer_id"].to_pylist(), strict=True))
    lost = acknowledged - kept.keys()
    verdict.wrong += [f"click {name} was acknowledged and is not in the log" for name in sorted(lost)]
    verdict.wrong += [f"click {name} is in the log and was never pushed" for name in kept.keys() - acknowledged]
    wanted = Counter(kept.values())
    customers = sorted(wanted)
    counted = store.get_online_features(["clicking:count_lifetime"], {"customer_id": customers}).to_dict()
    for customer, count in zip(customers, counted["clicking__count_lifetime"], strict=True):
        if count != wanted[customer]:
            verdict.wrong.append(f"customer {customer} has {count} clicks online, and {wanted[customer]} in the log")
    verdict.counts["clicks acknowledged"] = len(acknowledged)
    verdict.counts["clicks in the log twice, and counted once"] = rows.num_rows - len(kept)


def _tell(verdict: Verdict, what: str, lines: Sequence[dict[str, Any]]) -> None:
    """Add how many requests there were, how many failed and why, and how long the others took."""
    good = sorted(line["seconds"] for line in lines if line["status"] == 200)
    verdict.counts[f"{what}: requests"] = len(lines)
    verdict.counts.update(f"{what}: failed with {line['status']} {line['code']}" for line in lines if line["code"])
    if good:
        verdict.facts[f"{what}: share of failed requests"] = f"{1 - len(good) / len(lines):.2%}"
        for share in (0.5, 0.99):
            verdict.facts[f"{what}: p{share:.0%}".rstrip("%")] = f"{good[int(share * (len(good) - 1))] * 1000:.1f} ms"


def main() -> int:
    """Run on some stores, one after the other; the exit code is 1 if anything was wrong."""
    from tests.servers.kafka import kafka_broker

    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument("minutes", type=float, help="how long on each store")
    parser.add_argument("stores", nargs="*", default=list(KINDS), help=f"of {', '.join(KINDS)}; default: all")
    asked = parser.parse_args()
    warnings.simplefilter("ignore", RejectedRowsWarning)  # orders without a customer are part of it
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, kafka_broker(Path(folder)) as kafka:
        for kind in asked.stores:
            with ExitStack() as stack:
                stores = stack.enter_context(KINDS[kind]())
                root = Path(folder) / kind
                root.mkdir()
                settings = Settings(seconds=asked.minutes * 60, seed=int(time.time()) % 100_000)
                verdict = load(kafka, stores, root, settings)
            print(f"\n{kind}\n{verdict.text()}", flush=True)
            wrong += len(verdict.wrong)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
