"""What each process of the soak test does until its standard input ends: `python -m tests.soak.roles ROLE SEED …`."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

from asof import FeatureStore
from asof.backends.lmdb import store as lmdb_store
from asof.backends.lmdb.store import LmdbStore
from asof.backends.lmdb.writer import LmdbWriter
from asof.backends.local import disk
from asof.backends.local.log import LocalSourceLog
from asof.errors import AsofError
from tests.soak.shop import CUSTOMERS, VIEWS, Orders

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS = 3
WRITES = (
    *((LocalSourceLog, "append"), (disk, "_sync"), (LmdbStore, "announce"), (LmdbStore, "update")),
    *((lmdb_store, "put_pairs"), (LmdbWriter, "put"), (LmdbWriter, "replace"), (LmdbWriter, "commit")),
)
"""What a process may die before and after: every write of the log and of the store, and the parts of each."""


def mortal(chance: random.Random, rate: float) -> None:
    """Let this process kill itself before or after any write, each time with this probability."""

    def kill() -> None:
        if chance.random() < rate:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(work: Any) -> Any:
        def done(*arguments: Any, **options: Any) -> Any:
            kill()
            found = work(*arguments, **options)
            kill()
            return found

        return done

    for owner, name in WRITES:
        setattr(owner, name, wrapped(getattr(owner, name)))


def ended(wait_s: float) -> bool:
    """Return whether the driver wants this process to stop, after so long at most."""
    return bool(select.select([sys.stdin], [], [], wait_s)[0])


def produce(seed: int, servers: str, topic: str, rate: float) -> None:
    """Send messages to all partitions, a burst at a time, and say how many there were."""
    orders, chance, count = Orders(seed), random.Random(seed), 0
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
    while not ended(0.1):
        for _ in range(int(chance.expovariate(10 / rate))):
            producer.produce(topic, orders.next(), partition=chance.randrange(PARTITIONS))
            count += 1
        producer.poll(0)
    assert producer.flush(60) == 0
    print(count, flush=True)


def work(seed: int, root: str, rate: float) -> None:
    """Take messages in, and die at some write."""
    mortal(random.Random(seed), rate)
    stop = threading.Event()
    with FeatureStore(root) as store:
        threading.Thread(target=wait_for_end, args=(stop,), daemon=True).start()
        store.stream(stop=stop)


def wait_for_end(stop: threading.Event) -> None:
    """Set an event once the driver wants this process to stop."""
    sys.stdin.read()
    stop.set()


def rebuild(seed: int, root: str, rate: float) -> None:
    """Materialize again and again, join the log's files, and die at some write."""
    mortal(random.Random(seed), rate)
    with FeatureStore(root) as store:
        while not ended(0.3):
            try:
                store.materialize()
                store.log.of("orders").compact()
            except AsofError as error:
                if not error.retryable:
                    raise
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)


def read(seed: int, root: str, out: str) -> None:
    """Read some customers, sometimes views one by one, and write down what was answered."""
    chance = random.Random(seed)
    with FeatureStore(root) as store, open(out, "w", encoding="utf-8") as file:  # noqa: PTH123 # its name is an argument
        while not ended(0.02 * chance.random()):
            asked = list(VIEWS) if chance.random() < 0.7 else [chance.choice(VIEWS)]
            keys = [chance.randrange(CUSTOMERS + 1) for _ in range(chance.randrange(1, 4))]
            try:
                found = store.get_online_features(asked, {"customer_id": keys})
            except AsofError as error:
                if not error.retryable:
                    raise
                continue
            times = {
                view: [None if at is None else at.isoformat() for at in some]
                for view, some in found.event_times.items()
            }
            line = {"views": asked, "keys": keys, "at": found.at.isoformat(), "values": found.to_dict()}
            shown = {view: [v["generation"], v["instant"].isoformat()] for view, v in found.versions.items()}
            file.write(json.dumps({**line, "statuses": found.statuses, "times": times, "shown": shown}) + "\n")
    print("done", flush=True)


def recorded(path: Path) -> list[dict[str, Any]]:
    """Return what a reader wrote down; a reader is never killed."""
    return [restored(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def restored(line: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that was written down, with its instants as such."""
    times = {
        view: [None if at is None else datetime.fromisoformat(at) for at in some]
        for view, some in line["times"].items()
    }
    return {**line, "at": datetime.fromisoformat(line["at"]), "times": times}


def main() -> None:
    """Play a role."""
    role, seed, *rest = sys.argv[1:]
    if role == "produce":
        produce(int(seed), rest[0], rest[1], float(rest[2]))
    elif role == "work":
        work(int(seed), rest[0], float(rest[1]))
    elif role == "rebuild":
        rebuild(int(seed), rest[0], float(rest[1]))
    else:
        read(int(seed), rest[0], rest[1])


if __name__ == "__main__":
    main()
