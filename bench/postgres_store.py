"""PostgreSQL as the online store: materializing; Feast into the same server beside."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from feast_process import VERSION, Feast, environment, free_port, wait_for_port
from measure import Report, Target, alternate, main, stop
from workloads import END_US, HEAD, project, state_rows, state_view

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 3
FEAST_KEYS = 10


@contextlib.contextmanager
def server() -> Iterator[int | None]:
    """Run PostgreSQL, durable as installed, on a free port of the loopback interface; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "initdb")]
    folder = found[-1].parent
    if not (folder / "postgres").is_file():
        yield None
        return
    directory = Path(tempfile.mkdtemp(prefix="asof-bench-"))
    user: list[str] = []
    if os.geteuid() == 0:  # as which the server refuses to run
        shutil.chown(directory, "postgres", "postgres")
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    data, port = directory / "data", free_port()
    make = [*user, str(folder / "initdb"), "--pgdata", str(data), "--username", "bench", "--auth", "trust"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd=directory)
    command = [*user, str(folder / "postgres"), "-D", str(data), "-p", str(port)]
    process = subprocess.Popen(
        [*command, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, process)
        for name in ("asof", "feast"):
            where = ["--host", "127.0.0.1", "--port", str(port), "--username", "bench"]
            subprocess.run([str(folder / "createdb"), *where, name], check=True)
        yield port
    finally:
        stop(process)
        shutil.rmtree(directory, ignore_errors=True)


def run(quick: bool, report: Report) -> None:
    """Write a state view of 15 columns; Feast gets a tenth of the keys, its rate does not depend on them."""
    keys = 100_000 if quick else 1_000_000
    definitions = HEAD + state_view("alpha", state_rows("alpha", keys, keys), ttl=None)
    os.environ["ASOF_POSTGRES_USER"] = "bench"
    with server() as port:
        if port is None:
            report.add("PostgreSQL", "keys/s", None, note="it is not installed")
            return
        online = f"postgresql://127.0.0.1:{port}/asof"
        store = project("postgres_materialize", definitions, now_us=END_US, online=online)

        def rate() -> float:
            (done,) = store.materialize(["alpha"])
            return done.keys / done.seconds

        ours = alternate({"ours": rate}, ROUNDS)["ours"]
        store.close()
        feast, programs, theirs = None, environment(), keys // FEAST_KEYS
        if programs is not None:
            with Feast(programs, {"alpha": state_rows("alpha", theirs, theirs)}, postgres=port) as peer:
                feast = theirs / peer.ask("materialize")
        report.add(
            f"Materialize to PostgreSQL, {keys:,} keys x 15",
            "keys/s",
            ours,
            peer=f"Feast {VERSION}, {theirs:,} keys to the same server" + ("" if feast else ": not available"),
            theirs=feast,
            target=Target(20, "ratio"),
        )


if __name__ == "__main__":
    main(run)
