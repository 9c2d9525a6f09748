"""Writers that die and disks that fill up leave the online store with the old generation or the new one, whole."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from asof.backends.lmdb import LmdbStore
from asof.errors import StoreFullError
from asof.testing.conformance.online import OTHER, VIEW, fill, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEYS = [b"%05d" % n for n in range(3000)]

WRITER = """
import itertools, sys
import pyarrow as pa
from pathlib import Path
import asof.backends.lmdb.writer as writer
from asof.backends.lmdb import LmdbStore
from asof.interfaces.online import ViewKey
writer._TRANSACTION_BYTES = 50_000
store = LmdbStore(Path(sys.argv[1]))
keys = pa.array([b"%05d" % n for n in range(3000)], pa.binary())
for number in itertools.count(int(sys.argv[2])):
    with store.write(ViewKey("shop", "spend", 1)) as generation:
        generation.put(keys, pa.array([(b"%d" % number) * 20] * 3000, pa.binary()))
        generation.commit(number, number, "meaning")
    print(number, flush=True)
"""

THREADS = """
import sys, threading
from pathlib import Path
import pyarrow as pa
from asof.backends.lmdb import LmdbStore
from asof.interfaces.online import ViewKey
view = ViewKey("shop", "spend", 1)
keys = pa.array([b"%05d" % n for n in range(500)], pa.binary())
def work():
    for _ in range(20):
        store = LmdbStore(Path(sys.argv[1]))
        with store.write(view) as generation:
            generation.put(keys, pa.array([b"x" * 200] * 500, pa.binary()))
            generation.commit(1, 1, "meaning")
        assert store.read([(view, [b"00001"])])[0].values == [b"x" * 200]
        store.close()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(LmdbStore(Path(sys.argv[1])).generations("shop")[view].number)
"""

READER = """
import sys
from pathlib import Path
from asof.backends.lmdb import LmdbStore
from asof.interfaces.online import ViewKey
store = LmdbStore(Path(sys.argv[1]))
keys = [b"%05d" % n for n in range(3000)]
reads = 0
print("ready", flush=True)
while not Path(sys.argv[2]).exists():
    [found] = store.read([(ViewKey("shop", "spend", 1), keys)])
    assert found.generation is not None
    expected = (b"%d" % found.generation.instant_us) * 20
    assert set(found.values) == {expected}, (found.generation, set(found.values))
    reads += 1
print(reads, flush=True)
"""


@pytest.fixture
def run() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts a Python process, which ends with the test however that ends."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, *arguments: object) -> subprocess.Popen[str]:
        started.append(start(code, *arguments))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_writer_killed_at_any_point_leaves_whole_generations(
    tmp_path: Path, run: Callable[..., subprocess.Popen[str]]
) -> None:
    """Readers of another process check every answer throughout; the next writer cleans up and goes on."""
    chance = random.Random(7)
    store = LmdbStore(tmp_path / "online")
    fill(store, VIEW, dict.fromkeys(KEYS, b"0" * 20), instant_us=0)
    stop = tmp_path / "stop"
    reader = run(READER, tmp_path / "online", stop)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    newest = 0
    for _ in range(4):
        writer = run(WRITER, tmp_path / "online", newest + 1)
        assert writer.stdout is not None
        reported = int(writer.stdout.readline())
        time.sleep(chance.random() * 0.1)  # the point of death is random on purpose
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        reported = max([reported, *map(int, rest.split())])
        # One read, because a commit that its writer did not live to report may become visible between two.
        [found] = store.read([(VIEW, KEYS)])
        assert found.generation is not None
        newest = found.generation.instant_us
        assert newest in (reported, reported + 1), "a reported commit was lost"
        assert set(found.values) == {b"%d" % newest * 20}
    stop.touch()
    counted, problem = reader.communicate(timeout=60)
    assert reader.returncode == 0, problem
    assert int(counted) > 0
    fill(store, VIEW, {b"a": b"1"}, instant_us=newest + 1)
    fill(store, OTHER, {b"a": b"1"})
    with store._environment._env.begin() as txn, txn.cursor() as cursor:
        names = [key for key in cursor.iternext(values=False) if key != b"meta"]
    assert len(names) == 2, "only the current generations are left"
    store.close()


def test_threads_that_open_write_and_close_one_store_at_once_neither_wait_forever_nor_fail(tmp_path: Path) -> None:
    """A writer that removes old storage needs the file alone, while others wait for their turn to write."""
    command = [sys.executable, "-c", THREADS, str(tmp_path / "online")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "80\n"


def fill_under_limit(path: Path) -> int:
    """Write 8 MB in a child whose files may grow to 2 MB; return its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))
            store = LmdbStore(path)
            try:
                fill(store, VIEW, {b"%05d" % n: b"x" * 1000 for n in range(8000)}, instant_us=200)
            except StoreFullError:
                status = 0 if values(store, VIEW, [b"a"]) == [b"old"] else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_full_disk_leaves_the_old_generation(tmp_path: Path) -> None:
    """The error says so, reads go on, and writing works again once there is space."""
    path = tmp_path / "online"
    store = LmdbStore(path)
    fill(store, VIEW, {b"a": b"old"})
    store.close()
    assert fill_under_limit(path) == 0
    store = LmdbStore(path)
    assert values(store, VIEW, [b"a"]) == [b"old"]
    fill(store, VIEW, {b"a": b"new"}, instant_us=300)
    assert values(store, VIEW, [b"a"]) == [b"new"]
    store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_write_permission_is_a_store_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="cannot be opened"):
        LmdbStore(tmp_path / "online")
