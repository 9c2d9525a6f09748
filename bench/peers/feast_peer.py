"""Feast's side of the benchmarks: runs in Feast's own environment, does one command per line of standard input.

Usage: feast_peer.py DIRECTORY VIEW=PARQUET... [--spine PARQUET] [--pushed PARQUET] [--redis PORT] [--postgres PORT]
Commands: `history`, `materialize`, `read KEYS CALLS`, `push ROWS TIMES`. Every answer is a line of JSON with seconds,
those of `push` of processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.data_source import PushMode
from feast.types import Float64, Int64, String

TTL = timedelta(days=30)
FIRST, LAST = datetime(2025, 1, 1, tzinfo=timezone.utc), datetime(2025, 4, 2, tzinfo=timezone.utc)  # noqa: UP017
COLUMNS = {
    **{f"f{i}": Float64 for i in range(10)},
    **{f"i{i}": Int64 for i in range(3)},
    **{f"s{i}": String for i in range(2)},
}
PUSHED = {"amount": Float64, "items": Int64, "merchant": String, "channel": String}


def make_store(options: argparse.Namespace, views: dict[str, str]) -> FeatureStore:
    """Return a store over a new repository with every view applied."""
    root = Path(options.directory)
    root.mkdir(parents=True, exist_ok=True)
    online = f"{{type: redis, connection_string: '127.0.0.1:{options.redis}'}}" if options.redis else "{type: sqlite}"
    if options.postgres:  # whose server lets this machine's users in without a password
        where = f"host: 127.0.0.1, port: {options.postgres}, sslmode: disable, database: feast, db_schema: public"
        online = f"{{type: postgres, {where}, user: bench, password: none}}"
    (root / "feature_store.yaml").write_text(
        "project: bench\nregistry: registry.db\nprovider: local\nentity_key_serialization_version: 3\n"
        f"offline_store: {{type: duckdb}}\nonline_store: {online}\n"
    )
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    fields = [Field(name=name, dtype=dtype) for name, dtype in COLUMNS.items()]
    feature_views = [
        FeatureView(
            name=name,
            entities=[customer],
            schema=fields,
            ttl=TTL,
            source=FileSource(name=f"{name}_source", path=path, timestamp_field="event_timestamp"),
        )
        for name, path in views.items()
    ]
    if options.pushed:
        history = FileSource(name="orders_history", path=options.pushed, timestamp_field="ts")
        source = PushSource(name="orders", batch_source=history)
        pushed = [Field(name=name, dtype=dtype) for name, dtype in PUSHED.items()]
        feature_views.append(FeatureView(name="spend", entities=[customer], schema=pushed, ttl=TTL, source=source))
    store = FeatureStore(repo_path=str(root))
    store.apply([customer, *feature_views])
    return store


class Peer:
    """Does what the commands say; every method returns seconds."""

    def __init__(self, store: FeatureStore, views: list[str], spine: str | None, pushed: str | None) -> None:
        self.store = store
        self.features = [f"{view}:{column}" for view in views for column in COLUMNS]
        self.spine = spine
        self.pushed = None if pushed is None else pd.read_parquet(pushed)
        if self.pushed is not None:
            times = self.pushed["ts"] + time.time_ns() // 1000
            self.pushed["ts"] = pd.to_datetime(times, unit="us", utc=True)
        self.next = 0

    def history(self) -> float:
        """Join all views to the spine, from files to an Arrow table."""
        started = time.perf_counter()
        spine = pd.read_parquet(self.spine)
        self.store.get_historical_features(spine, self.features, full_feature_names=True).to_arrow()
        return time.perf_counter() - started

    def materialize(self) -> float:
        """Write the newest rows to the online store."""
        started = time.perf_counter()
        self.store.materialize(FIRST, LAST)
        return time.perf_counter() - started

    def read(self, keys: str, calls: str) -> float:
        """Read all features of random keys, call by call."""
        picks = [[{"customer_id": random.randrange(10_000)} for _ in range(int(keys))] for _ in range(int(calls))]
        started = time.perf_counter()
        for pick in picks:
            self.store.get_online_features(self.features, pick, full_feature_names=True).to_dict()
        return time.perf_counter() - started

    def push(self, rows: str, times: str) -> float:
        """Push the next rows to the online store, so many at a time and so often."""
        count = int(rows)
        began = time.process_time()
        for _ in range(int(times)):
            some = self.pushed.iloc[self.next : self.next + count]
            self.store.push("orders", some, to=PushMode.ONLINE)
            self.next += count
        return time.process_time() - began


def main() -> None:
    """Answer commands until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("views", nargs="*")
    parser.add_argument("--spine")
    parser.add_argument("--pushed")
    parser.add_argument("--redis", type=int)
    parser.add_argument("--postgres", type=int)
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")  # Feast prints progress to standard output
    os.dup2(2, 1)
    views = dict(view.split("=", 1) for view in options.views)
    peer = Peer(make_store(options, views), list(views), options.spine, options.pushed)
    print("null", file=answers, flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        print(json.dumps(getattr(peer, command)(*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
