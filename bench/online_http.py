"""Online reads over HTTP: one worker on one core, a client on another; a bare handler and Feast's server beside.

Figures are answers per second of the server's own processor time: what one busy core gives, whatever else runs.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from feast_process import ENVIRONMENT, VERSION, Feast, Redis, environment, free_port, wait_for_port
from http_client import Load, ask_once, load, request
from measure import CACHE, ROOT, Report, Target, alternate, main, pin, stop
from workloads import HEAD, KEYS, STATE_COLUMNS, project, state_rows, state_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REQUESTS = 500
ROUNDS = 3
ANSWERS_WITHIN_S = 120
FEAST_KEYS = 10_000  # what Feast is given to hold: writing more takes it long and changes nothing in its reads


@contextlib.contextmanager
def serving(
    command: list[str], port: int, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on the first core until the block ends."""
    with (CACHE / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=pin(0), env=environment)  # noqa: PLW1509
        try:
            wait_for_port(port, process)
            yield process
        finally:
            stop(process)


def picks(count: int) -> list[dict[str, list[int]]]:
    """Return random keys for every request."""
    return [{"customer_id": [random.randrange(FEAST_KEYS) for _ in range(count)]} for _ in range(REQUESTS)]


class Side:
    """A server under load, with its requests per number of keys."""

    def __init__(
        self, port: int, server: subprocess.Popen[bytes], path: str, body: Callable[[object], object], key: str = ""
    ) -> None:
        self._key = key
        self.port = port
        self._server = server
        self._path = path
        self._body = body
        self.loads: list[Load] = []

    def messages(self, count: int) -> list[bytes]:
        """Return requests for `count` keys each."""
        return [request(self._path, json.dumps(self._body(keys)).encode(), self._key) for keys in picks(count)]

    def wait_until_it_answers(self) -> None:
        """Ask until an answer comes: a port is open before the worker behind it has started."""
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        message = self.messages(1)[0]
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, RuntimeError):
                ask_once(self.port, message)
                return
            time.sleep(0.2)
        raise RuntimeError("The server does not answer")

    def measure(self, messages: list[bytes], duration_s: float) -> float:
        """Return answers per second of the server's processor time."""
        self.loads.append(load(self.port, messages, self._server, duration_s))
        return self.loads[-1].per_cpu_second


@contextlib.contextmanager
def our_side(path: Path) -> Iterator[Side]:
    """Serve one state view with one worker."""
    definitions = HEAD + state_view("alpha", path, ttl=None) + "state = FeatureService('state', features=[alpha])\n"
    with project("online_http", definitions) as store:
        store.materialize()
        root = str(store.config.root)
    port = free_port()
    command = [sys.executable, "-m", "asof.cli", "--project", root, "serve", "--port", str(port)]
    with serving(command, port) as server:
        yield Side(port, server, "/v1/online-features", lambda keys: {"service": "state", "keys": keys})


@contextlib.contextmanager
def bare_side(answer: bytes) -> Iterator[Side]:
    """Serve an answer of ours that is ready."""
    file = CACHE / "answer.json"
    file.write_bytes(answer)
    port = free_port()
    command = [sys.executable, str(ROOT / "bench" / "peers" / "bare_server.py"), str(port), str(file)]
    with serving(command, port) as server:
        yield Side(port, server, "/", lambda keys: {"service": "state", "keys": keys})


@contextlib.contextmanager
def feast_side() -> Iterator[Side | None]:
    """Serve the same columns with Feast from Redis, or nothing where one of them is not available."""
    programs = environment()
    if programs is None or not shutil.which("redis-server"):
        yield None
        return
    path = state_rows("alpha", FEAST_KEYS, FEAST_KEYS)
    with Redis() as redis, Feast(programs, {"alpha": path}, redis=redis.port) as feast:
        feast.ask("materialize")
        port = free_port()
        options = ["-h", "127.0.0.1", "-p", str(port), "-w", "1", "--no-access-log", "--max-requests", "0"]
        command = [str(programs / "feast"), "-c", str(feast.directory), "serve", *options]
        features = [f"alpha:{column}" for column in STATE_COLUMNS]
        with serving(command, port, ENVIRONMENT) as server:
            side = Side(port, server, "/get-online-features", lambda keys: {"features": features, "entities": keys})
            side.wait_until_it_answers()
            yield side


def run(quick: bool, report: Report) -> None:
    """Load the servers in turn, for one, ten and a hundred keys."""
    duration_s = 1 if quick else 3
    pin(1)()
    with our_side(state_rows("alpha", KEYS, KEYS)) as ours, feast_side() as feast:
        for count in (1, 10, 100):
            messages = ours.messages(count)
            with bare_side(ask_once(ours.port, messages[0])) as bare:
                compare(report, count, {"ours": ours, "bare": bare, "feast": feast}, duration_s)


def compare(report: Report, count: int, sides: dict[str, Side | None], duration_s: float) -> None:
    """Add the two lines for one number of keys; targets hold for one key."""
    messages = {name: side.messages(count) for name, side in sides.items() if side}
    measures = {
        name: (lambda name=name, side=side: side.measure(messages[name], duration_s)) if side else None
        for name, side in sides.items()
    }
    rates = alternate(measures, ROUNDS)
    what = f"HTTP, {count} {'key' if count == 1 else 'keys'} x 15"
    walls = ", ".join(f"{name} {side.loads[-1].per_second:,.0f}" for name, side in sides.items() if side)
    report.add(
        what,
        "requests/s",
        rates["ours"],
        peer="Bare handler, same server",
        theirs=rates["bare"],
        target=Target(0.5, "ratio") if count == 1 else None,
        note=f"requests per second of wall time, client included: {walls}",
    )
    report.add(
        what,
        "requests/s",
        rates["ours"],
        peer=f"Feast {VERSION}, Redis" + ("" if sides["feast"] else ": not available"),
        theirs=rates["feast"],
        target=Target(20, "ratio") if count == 1 else None,
    )


if __name__ == "__main__":
    main(run)
