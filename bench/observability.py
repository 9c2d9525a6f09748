"""What API keys, metrics, request ids and a serving log at 1% cost the server, and what a second worker brings.

Overhead is in answers per second of the server's own processor time. A second worker is measured by wall time, under
wrk, which needs a part of the same two cores; without wrk that line has no figure.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from asof import FeatureStore
from feast_process import free_port, wait_for_port
from measure import CACHE, ROOT, Report, Target, alternate, main, pin, stop
from online_http import Side, picks, serving
from workloads import HEAD, KEYS, project, state_rows, state_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 5
CONNECTIONS = 32
PATH = "/v1/online-features"


def command(root: str, port: int, *options: str, program: tuple[str, ...] = ("-m", "asof.cli")) -> list[str]:
    """Return how a server is started."""
    return [sys.executable, *program, "--project", root, "serve", "--port", str(port), *options]


def side(port: int, server: subprocess.Popen[bytes], key: str = "") -> Side:
    """Return a server that answers."""
    found = Side(port, server, PATH, lambda keys: {"service": "state", "keys": keys}, key)
    found.wait_until_it_answers()
    return found


def loaded(one: Side, count: int, duration_s: float) -> Callable[[], float]:
    """Return what measures a server with requests for so many keys."""
    messages = one.messages(count)
    return lambda: one.measure(messages, duration_s)


def overhead(root: str, quick: bool, report: Report) -> None:
    """Compare the server that asks who you are and observes with one that does neither, for one and a hundred keys."""
    ours_port, bare_port = free_port(), free_port()
    unobserved = command(root, bare_port, program=(str(ROOT / "bench" / "peers" / "unobserved_server.py"),))
    with contextlib.ExitStack() as stack:
        sides = {"bare": side(bare_port, stack.enter_context(serving(unobserved, bare_port)))}
        with FeatureStore(root) as store:  # the first key turns access on, for whoever starts from now on
            store.access.create_key("ops", role="admin")
            key, _ = store.access.create_key("bench", role="reader", services=["state"])
        observed = stack.enter_context(serving(command(root, ours_port, "--serving-log", "0.01"), ours_port))
        sides["ours"] = side(ours_port, observed, key)
        for count in (1, 100):
            measures = {name: loaded(one, count, 1 if quick else 3) for name, one in sides.items()}
            rates = alternate(measures, ROUNDS)
            report.add(
                f"API keys, metrics and serving log at 1%, {count} {'key' if count == 1 else 'keys'} x 15",
                "requests/s",
                rates["ours"],
                peer="Same server without them",
                theirs=rates["bare"],
                target=Target(0.9, "ratio"),
            )


@contextlib.contextmanager
def workers(root: str, count: int) -> Iterator[int]:
    """Serve with some workers, on all cores."""
    port = free_port()
    with (CACHE / "server.log").open("ab") as log:
        started = command(root, port, "--workers", str(count), "--serving-log", "0.01")
        process = subprocess.Popen(started, stdout=log, stderr=log)
        try:
            wait_for_port(port, process)
            side(port, process)
            yield port
        finally:
            stop(process)


def wrk(port: int, duration_s: int) -> float:
    """Return answers per second under wrk's load."""
    bodies = ",\n".join(f"'{json.dumps({'service': 'state', 'keys': keys})}'" for keys in picks(1))
    script = CACHE / "post.lua"
    script.write_text(
        f"local bodies = {{{bodies}}}\nlocal turn = 0\nrequest = function()\n  turn = turn % #bodies + 1\n"
        f'  return wrk.format("POST", "{PATH}", {{["Content-Type"] = "application/json"}}, bodies[turn])\nend\n'
    )
    load = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{duration_s}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    done = subprocess.run(load, capture_output=True, text=True, check=True)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(done.stdout)
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None:
        raise RuntimeError(done.stdout)
    return float(found[1])


def second_worker(root: str, quick: bool, report: Report) -> None:
    """Compare two workers with one; wrk is on the same two cores."""
    measures: dict[str, Callable[[], float] | None] = {"two": None, "one": None}
    with contextlib.ExitStack() as stack:
        if shutil.which("wrk"):
            ports = {name: stack.enter_context(workers(root, count)) for name, count in (("two", 2), ("one", 1))}
            measures = {name: (lambda port=port: wrk(port, 2 if quick else 5)) for name, port in ports.items()}
        rates = alternate(measures, ROUNDS)
    report.add(
        "HTTP, 2 workers, 1 key x 15",
        "requests/s",
        rates["two"],
        peer="1 worker" + ("" if rates["one"] else ": wrk is not installed"),
        theirs=rates["one"],
        target=Target(1.7, "ratio"),
        note="wall time, load by wrk on the same two cores",
    )


def run(quick: bool, report: Report) -> None:
    """Measure both."""
    definitions = HEAD + state_view("alpha", state_rows("alpha", KEYS, KEYS), ttl=None)
    with project("observability", definitions + "state = FeatureService('state', features=[alpha])\n") as store:
        store.materialize()
        root = str(store.config.root)
    second_worker(root, quick, report)
    pin(1)()
    overhead(root, quick, report)


if __name__ == "__main__":
    main(run)
