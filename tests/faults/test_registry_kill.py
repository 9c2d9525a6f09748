"""A process that dies while it writes to the registry leaves the old revision or the new one, never a mix."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from asof.backends.loading import open_registry
from asof.testing.conformance.registry import change, commit

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

_WRITER = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from asof.backends.loading import open_registry
from asof.testing.conformance.registry import change, commit

root, victim, moment = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
registry = open_registry("sqlite:///r.db", root)
seen = 0

def count(*_):
    global seen
    seen += 1
    if seen == victim:
        os.kill(os.getpid(), signal.SIGKILL)

sa.event.listen(sa.Engine, moment, count)
commit(registry, 1, *[change("create", f"new{i}", body="x" * 3000) for i in range(4)], change("remove", "old"))
"""
_LOOP = """
import sys
from pathlib import Path
from asof.backends.loading import open_registry
from asof.testing.conformance.registry import change, commit

registry = open_registry("sqlite:///r.db", Path(sys.argv[1]))
print("ready", flush=True)
number = registry.revision()
while True:
    commit(registry, number, *[change("create", f"v{number}_{i}", body="x" * 2000) for i in range(3)])
    number += 1
    print(number, flush=True)
"""


@pytest.mark.parametrize("moment", ["before_cursor_execute", "after_cursor_execute", "commit"])
@pytest.mark.parametrize("victim", [1, 3, 5, 8])
def test_kill_between_statements_leaves_one_whole_revision(tmp_path: Path, victim: int, moment: str) -> None:
    registry = open_registry("sqlite:///r.db", tmp_path)
    commit(registry, 0, change("create", "old", body="o"))
    done = subprocess.run([sys.executable, "-c", _WRITER, str(tmp_path), str(victim), moment], check=False)
    snapshot = registry.snapshot()
    names = {name for _, name, _ in snapshot.objects}
    if moment == "commit" and victim > 1:
        assert done.returncode == 0
    else:
        assert done.returncode == -signal.SIGKILL
    if snapshot.revision == 1:
        assert names == {"old"}
        assert not snapshot.objects["view", "old", 1].hidden
    else:
        assert names == {"old", "new0", "new1", "new2", "new3"}
        assert snapshot.objects["view", "old", 1].hidden
    assert commit(registry, snapshot.revision, change("create", "next", body="n")).number == snapshot.revision + 1
    registry.close()


def test_kill_at_any_time_keeps_every_reported_revision(tmp_path: Path) -> None:
    """What the writer reported as done is there afterwards, whole, however often it is killed."""
    for after in (1, 2, 5, 9):
        with subprocess.Popen(
            [sys.executable, "-c", _LOOP, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(after + 1)]
            process.kill()
            lines += process.stdout.readlines()
        reported = [int(line) for line in lines if line.endswith("\n") and line.strip().isdigit()]
        registry = open_registry("sqlite:///r.db", tmp_path)
        snapshot = registry.snapshot()
        registry.close()
        assert snapshot.revision >= max(reported)
        assert len(snapshot.objects) == 3 * snapshot.revision


def test_two_processes_that_apply_at_once_never_share_a_revision(tmp_path: Path) -> None:
    """Both loop on one registry; the one that loses a race ends with a conflict and no half revision."""
    script = _LOOP.replace("while True:", "for _ in range(30):")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    results = [(process, *process.communicate(timeout=120)) for process in processes]
    assert any(process.returncode == 0 for process, _, _ in results)
    for process, _, stderr in results:
        assert process.returncode == 0 or "ConflictError" in stderr, stderr
    reported = [int(line) for _, out, _ in results for line in out.splitlines() if line.isdigit()]
    assert len(reported) == len(set(reported))
    registry = open_registry("sqlite:///r.db", tmp_path)
    assert len(registry.snapshot().objects) == 3 * registry.revision() == 3 * len(reported)
    registry.close()
