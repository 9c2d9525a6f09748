"""A writer that dies while it joins the files of a log loses no entry, and readers meanwhile miss none."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asof.backends.local.log import LocalLog

pytestmark = pytest.mark.slow

_WRITER = """
import os, signal, sys
from pathlib import Path
from asof.backends.local import disk, log as module
from tests.unit.test_log_compaction import fill

module.JOIN_FILES, module._GRACE_S = 4, float(sys.argv[4])
names = ("_sync", "conform", "link", "replace", "unlink")
place, victim = sys.argv[2], int(sys.argv[3])
seen = 0

def killing(work):
    def done(*arguments, **named):
        global seen
        seen += 1
        if seen == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*arguments, **named)
    return done

if place == "_sync":
    disk._sync = killing(disk._sync)
elif place == "conform":
    module.conform = killing(module.conform)
elif place == "link":
    os.link = killing(os.link)
elif place in ("replace", "unlink"):
    setattr(Path, place, killing(getattr(Path, place)))
log = module.LocalLog(Path(sys.argv[1])).of("rows")
print("ready", flush=True)
for number in range(40):
    if sys.argv[5] == "paced":
        sys.stdin.readline()
    fill(log, 1)
    print(log.head().sequence, flush=True)
    log.compact()
"""


def start(
    root: Path, place: str = "", victim: int = 0, grace_s: float = 0.0, pace: str = "alone"
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, str(root), place, str(victim), str(grace_s), pace]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=Path(__file__).parents[2])


def entries(root: Path, after: int = 0) -> list[int]:
    log = LocalLog(root).of("rows")
    end = log.head().sequence
    return [value for _, table in log.read(after, end) for value in table["value"].to_pylist()]


@pytest.mark.parametrize(
    ("place", "victim"), [("conform", 6), ("replace", 3), ("unlink", 9), ("_sync", 11), ("_sync", 12), ("link", 13)]
)
def test_killed_at_any_step_the_log_has_every_entry_that_was_acknowledged(
    tmp_path: Path, place: str, victim: int
) -> None:
    writer = start(tmp_path, place, victim)
    told, _ = writer.communicate(timeout=120)
    assert writer.returncode == -signal.SIGKILL
    acknowledged = int(told.split()[-1])
    found = entries(tmp_path)
    assert found == list(range(1, len(found) + 1))
    assert acknowledged <= len(found) <= acknowledged + 1
    again = start(tmp_path)
    again.communicate(timeout=120)
    assert again.returncode == 0
    assert entries(tmp_path) == list(range(1, len(found) + 41))


def test_readers_see_every_entry_while_files_are_joined(tmp_path: Path) -> None:
    """The writer makes an entry per read, so that there are reads of many states however busy the machine is."""
    writer = start(tmp_path, grace_s=2.0, pace="paced")
    assert writer.stdin is not None
    reads = []
    deadline = time.monotonic() + 120
    while writer.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(BrokenPipeError):
            writer.stdin.write("\n")
            writer.stdin.flush()
        reads.append(entries(tmp_path))
    writer.communicate(timeout=60)
    assert writer.returncode == 0
    assert all(found == list(range(1, len(found) + 1)) for found in reads)
    assert [len(found) for found in reads] == sorted(len(found) for found in reads)
    assert len({len(found) for found in reads}) > 3
    assert entries(tmp_path) == list(range(1, 41))
