"""Online reads through the library: 15 features of a state view and of an event view, one key and a hundred."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import lmdb
import msgspec
import pyarrow.parquet as pq

from measure import CACHE, Report, Target, alternate, main, per_call_us
from workloads import END_US, HEAD, KEYS, STATE_COLUMNS, event_view, events, project, state_rows, state_view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asof import FeatureStore

ROUNDS = 7
TARGETS_US = {1: 20, 100: 400}


def by_hand(path: Path) -> Callable[[list[int]], dict[str, list[Any]]]:
    """Return a read of a plain LMDB file with one MessagePack list per key: no types, times or statuses."""
    environment = lmdb.open(str(CACHE / "projects" / "plain.lmdb"), map_size=2**30, sync=False)
    rows = pq.read_table(path, columns=["customer_id", *STATE_COLUMNS]).to_pydict()
    encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode
    with environment.begin(write=True) as transaction:
        for key, *values in zip(*rows.values(), strict=True):
            transaction.put(key.to_bytes(8, "big"), encode(values))

    def read(keys: list[int]) -> dict[str, list[Any]]:
        with environment.begin() as transaction:
            found = [decode(transaction.get(key.to_bytes(8, "big"))) for key in keys]
        return {name: list(column) for name, column in zip(STATE_COLUMNS, zip(*found, strict=True), strict=True)}

    return read


def reader(store: FeatureStore, service: str) -> Callable[[list[int]], dict[str, list[Any]]]:
    """Return a read through the store's facade, as users make it."""
    return lambda keys: store.get_online_features(service, {"customer_id": keys}).to_dict()


def run(quick: bool, report: Report) -> None:
    """Time calls with random keys; 100,000 keys are stored."""
    path = state_rows("alpha", KEYS, KEYS)
    definitions = (
        HEAD + state_view("alpha", path, ttl=None) + event_view("spend", events(1_000_000), ["Sum", "Count", "Mean"])
    )
    definitions += (
        "state = FeatureService('state', features=[alpha])\nevent = FeatureService('event', features=[spend])\n"
    )
    store = project("online_library", definitions, now_us=END_US)
    store.materialize()
    reads = {"state": reader(store, "state"), "event": reader(store, "event"), "by hand": by_hand(path)}
    for count, target in TARGETS_US.items():
        calls = (20_000 if count == 1 else 1_000) // (10 if quick else 1)
        picks = [[random.randrange(KEYS) for _ in range(count)] for _ in range(calls)]
        sides = {name: lambda read=read, picks=picks: per_call_us(read, picks) for name, read in reads.items()}
        took = alternate(sides, ROUNDS)
        keys = "1 key" if count == 1 else f"{count} keys"
        report.add(
            f"Library read, state view, {keys} x 15",
            "µs",
            took["state"],
            peer="LMDB and MessagePack by hand",
            theirs=took["by hand"],
            target=Target(target, "at most"),
        )
        report.add(
            f"Library read, event view, {keys} x 15 windows", "µs", took["event"], target=Target(target, "at most")
        )


if __name__ == "__main__":
    main(run)
