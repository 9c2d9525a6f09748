"""Feast beside us: its environment, made on demand, a process of it that answers commands, and Redis for it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import CACHE, ROOT, say, stop

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

VERSION = "0.67"
ENVIRONMENT = {**os.environ, "FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore"}


def environment() -> Path | None:
    """Return the directory of programs of an environment with Feast, or None where it cannot be installed."""
    root = CACHE / "feast"
    programs = root / "bin"
    if (programs / "feast").exists():
        return programs
    say(f"  installing Feast {VERSION}")
    make = ["uv", "venv", str(root)] if shutil.which("uv") else ["python3", "-m", "venv", str(root)]
    install = ["uv", "pip", "install", "-q", "--python", str(programs / "python")]
    if not shutil.which("uv"):
        install = [str(programs / "python"), "-m", "pip", "install", "-q"]
    try:
        subprocess.run(make, check=True, capture_output=True)
        subprocess.run([*install, f"feast[duckdb,postgres,redis]=={VERSION}.*"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(root, ignore_errors=True)
        say(f"  Feast is not available: {error}")
        return None
    return programs


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[Any], limit_s: float = 60) -> None:
    """Return when somebody listens; a process that ended or took too long is an error."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    raise RuntimeError(f"Nobody listens on port {port}")


class Redis:
    """A Redis server of the machine, on a free port of the loopback interface, without persistence."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )
        wait_for_port(self.port, self._process)

    def processor_s(self) -> float:
        """Return the seconds of processor time that the server has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Redis:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop(self._process)


class Feast:
    """A process of Feast over a new repository; `ask` it for one command at a time."""

    def __init__(
        self,
        programs: Path,
        views: Mapping[str, Path],
        *,
        spine: Path | None = None,
        pushed: Path | None = None,
        redis: int = 0,
        postgres: int = 0,
    ) -> None:
        self.directory = CACHE / "projects" / "feast"
        shutil.rmtree(self.directory, ignore_errors=True)
        options = [f"--spine={spine}"] if spine else []
        options += [f"--pushed={pushed}"] if pushed else []
        options += [f"--redis={redis}"] if redis else []
        options += [f"--postgres={postgres}"] if postgres else []
        self._log = (CACHE / "feast.log").open("w")
        self._process = subprocess.Popen(
            [
                str(programs / "python"),
                str(ROOT / "bench" / "peers" / "feast_peer.py"),
                str(self.directory),
                *[f"{name}={path}" for name, path in views.items()],
                *options,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=ENVIRONMENT,
        )
        self._answer()

    def ask(self, *command: object) -> float:
        """Return the seconds that one command took."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, command)) + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"Feast ended; see {self._log.name}")
        return json.loads(line)

    def __enter__(self) -> Feast:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop(self._process)
        self._log.close()
