"""Start-up and size: import, command line, a server that is ready, and what an installation takes on disk."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import time
from importlib.metadata import requires
from pathlib import Path

import asof
from feast_process import VERSION, environment, free_port
from measure import CACHE, Report, Target, alternate, main, seconds, stop
from workloads import HEAD, project, state_rows, state_view

READY_LIMIT_S = 30


def command(*arguments: str) -> float:
    """Return the wall time of a program."""
    return seconds(lambda: subprocess.run(arguments, check=True, capture_output=True))


def import_s(python: str, module: str) -> float:
    """Return how long the import alone takes in a new interpreter."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    done = subprocess.run([python, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def ready_s(root: Path) -> float:
    """Return how long `asof serve` takes until it says that it is ready."""
    port = free_port()
    started = time.perf_counter()
    serve = [sys.executable, "-m", "asof.cli", "--project", str(root), "serve", "--port", str(port)]
    process = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - started < READY_LIMIT_S and process.poll() is None:
            if _is_ready(port):
                return time.perf_counter() - started
            time.sleep(0.01)
    finally:
        stop(process)
    raise RuntimeError("The server did not become ready")


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def installed_mb(site_packages: Path) -> float:
    """Return the size of the files below a directory; links are followed to nothing."""
    return sum(file.lstat().st_size for file in site_packages.rglob("*") if file.is_file()) / 1e6


def core_mb() -> float | None:
    """Return the size of this package and its core dependencies in a new environment, or None without a network."""
    root = CACHE / "core"
    core = [name for name in requires("asof") or [] if "extra ==" not in name]
    if not (root / "bin" / "python").exists():
        uv = shutil.which("uv")
        make = [uv, "venv", str(root)] if uv else [sys.executable, "-m", "venv", str(root)]
        install = [uv, "pip", "install", "--python", str(root)] if uv else [str(root / "bin" / "pip"), "install"]
        try:
            subprocess.run(make, check=True, capture_output=True)
            subprocess.run([*install, *core], check=True, capture_output=True)
        except subprocess.CalledProcessError:
            shutil.rmtree(root, ignore_errors=True)
            return None
    ours = Path(asof.__file__).parent
    return installed_mb(next(root.glob("lib/python*/site-packages"))) + installed_mb(ours)


def run(quick: bool, report: Report) -> None:
    """Measure ours and, where it is available, Feast's."""
    programs = environment()
    repeats = 3 if quick else 7
    ours = str(Path(sys.executable).with_name("asof"))
    with project("startup", HEAD + state_view("alpha", state_rows("alpha", 1000, 1000), ttl=None)) as store:
        store.materialize()
        root = store.config.root
    took = alternate(
        {
            "import": lambda: import_s(sys.executable, "asof"),
            "help": lambda: command(ours, "--help"),
            "ready": lambda: ready_s(root),
        },
        repeats,
    )
    theirs: dict[str, float | None] = {"import": None, "help": None}
    if programs is not None:
        python, program = str(programs / "python"), str(programs / "feast")
        theirs = alternate({"import": lambda: import_s(python, "feast"), "help": lambda: command(program, "--help")}, 1)
    feast = f"Feast {VERSION}" + ("" if programs else ": not available")
    report.add("import", "s", took["import"], peer=feast, theirs=theirs["import"], target=Target(0.3, "at most"))
    report.add("asof --help", "s", took["help"], peer=feast, theirs=theirs["help"], target=Target(0.5, "at most"))
    report.add("asof serve, ready", "s", took["ready"], target=Target(2, "at most"))
    theirs_mb = installed_mb(next(programs.parent.glob("lib/python*/site-packages"))) if programs else None
    report.add("Core install", "MB", core_mb(), peer=feast, theirs=theirs_mb, target=Target(500, "at most"))


if __name__ == "__main__":
    main(run)
