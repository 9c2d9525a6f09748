"""What a server acknowledged is there after it was killed in the midst of writes, in all views or in none."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pyarrow as pa
import pytest
import redis

from asof.backends.postgres import open_store as open_postgres
from asof.backends.redis import open_store as open_redis
from asof.errors import ConflictError, StoreError
from asof.interfaces.online import Progress, Update
from asof.testing.conformance.online import OTHER, VIEW
from tests.servers.proxy import proxied
from tests.servers.redis import redis_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from asof.interfaces import OnlineStore
    from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.slow
ROOT = Path("/")
_ENOUGH = 40


def updates(entry: int) -> list[Update]:
    """Return an update of two views that gives 20 keys the number of the entry after it."""
    keys = pa.array([b"%d" % key for key in range(20)], pa.binary())
    said = pa.array([b"%d" % (entry + 1)] * 20, pa.binary())
    return [Update(view, 1, entry, keys, said, 100 + entry, Progress(entry + 1)) for view in (VIEW, OTHER)]


def written_until(store: OnlineStore, kill: Callable[[], None]) -> int:
    """Write one update after the other, kill the server in the midst of them, return how many it acknowledged."""
    for view in (VIEW, OTHER):
        with store.write(view) as writer:
            writer.put(pa.array([b"0"], pa.binary()), pa.array([b"0"], pa.binary()))
            writer.commit(100, 100, "meaning", Progress(0))
    acknowledged, enough, killed = 0, threading.Event(), threading.Event()

    def work() -> None:
        nonlocal acknowledged
        try:
            while not killed.is_set():
                store.update(updates(acknowledged))
                acknowledged += 1
                if acknowledged >= _ENOUGH:
                    enough.set()
        except (StoreError, ConflictError):  # tried again by the store itself, and refused as it had been written
            enough.set()

    writing = threading.Thread(target=work)
    writing.start()
    assert enough.wait(60)
    kill()
    killed.set()
    writing.join()
    return acknowledged


def holds(store: OnlineStore) -> int:
    """Return how far both views have come, once the server answers again; all their values have to be of there."""
    until_s = time.monotonic() + 60
    while True:
        try:
            found = store.read([(view, [b"%d" % key for key in range(20)]) for view in (VIEW, OTHER)])
            break
        except StoreError:
            assert time.monotonic() < until_s
    entries = {one.generation.progress.entry for one in found if one.generation and one.generation.progress}
    assert len(entries) == 1
    [entry] = entries
    assert [list(one.values) for one in found] == [[b"%d" % entry] * 20] * 2
    return entry


def test_a_redis_that_is_killed_has_every_update_that_it_acknowledged(tmp_path: Path) -> None:
    """With the settings that the documentation asks for; the next server begins with the same files."""
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    with redis_process(tmp_path, *durable) as first, proxied(first.port) as proxy:
        store = open_redis(f"redis://127.0.0.1:{proxy.port}?budget=20s", ROOT)
        with redis.Redis(first.host, first.port) as client:
            process = client.info("server")["process_id"]
        acknowledged = written_until(store, lambda: os.kill(process, signal.SIGKILL))
        assert acknowledged >= _ENOUGH
        with redis_process(tmp_path, *durable) as second:
            proxy.switch(second.port)
            entry = holds(store)
            assert acknowledged <= entry <= acknowledged + 1  # of the last one only the answer may be lost
            store.update(updates(entry))
            assert holds(store) == entry + 1
            store.close()


def test_a_postgresql_that_crashes_has_every_update_that_it_acknowledged(postgres_server: PostgresServer) -> None:
    """One of its processes is killed, so that it ends all others and recovers from its log."""
    schema = "acknowledged"
    store = open_postgres(f"{postgres_server.url}?schema={schema}", ROOT)

    def kill() -> None:
        victim = postgres_server.connect()
        with postgres_server.connect() as witness, suppress(psycopg.OperationalError):
            os.kill(victim.info.backend_pid, signal.SIGKILL)
            while True:
                witness.execute("SELECT 1")  # until the server has noticed, and ends all sessions
        victim.close()

    acknowledged = written_until(store, kill)
    assert acknowledged >= _ENOUGH
    entry = holds(store)
    assert acknowledged <= entry <= acknowledged + 1
    store.update(updates(entry))
    assert holds(store) == entry + 1
    store.close()
    postgres_server.forget(schema)
