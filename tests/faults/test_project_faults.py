"""Commands that are killed, interrupted or run out of disk leave a project as it was, and clean up the next time."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import FeatureStore
from asof.backends.local.temporary import replacing
from asof.clock import FixedClock, parse_instant
from asof.errors import AsofError, ConflictError, SourceError, StoreFullError

if TYPE_CHECKING:
    from pathlib import Path

DEFINITIONS = """\
from asof import Count, Entity, EventView, FeatureService, FileSource, Sum

customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="orders.parquet", event_time="ts")
features = [Sum("amount", windows=["1d", "7d"]), Count(windows=["7d"])]
spend = EventView("spend", entity=customer, source=orders, features=features)
fraud = FeatureService("fraud", features=[spend])
"""
ROWS, CUSTOMERS = 200_000, 5_000
DAY = 86_400 * 10**6
NOW = parse_instant("2026-01-31")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project whose work spills to disk, applied and materialized, with a training set."""
    chance = np.random.default_rng(1)
    times = pa.array(np.sort(chance.integers(NOW - 30 * DAY, NOW, ROWS)), pa.timestamp("us"))
    keys = chance.integers(0, CUSTOMERS, ROWS)
    pq.write_table(
        pa.table({"customer_id": keys, "ts": times, "amount": chance.random(ROWS)}), tmp_path / "orders.parquet"
    )
    pq.write_table(pa.table({"customer_id": keys, "event_timestamp": times}), tmp_path / "labels.parquet")
    (tmp_path / "asof.toml").write_text('project = "shop"\nmemory_budget = "17MB"\n', encoding="utf-8")
    (tmp_path / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    with opened(tmp_path) as store:
        store.apply()
        store.materialize(at="2026-01-30")
        with store.get_historical_features("fraud", tmp_path / "labels.parquet", memory_budget="2GB") as found:
            found.write(tmp_path / "training.parquet")
            found.write(tmp_path / "training.delta")
    return tmp_path


def opened(root: Path) -> FeatureStore:
    return FeatureStore(root, clock=FixedClock(NOW))


def command(root: Path, *arguments: str) -> subprocess.Popen[str]:
    code = "from asof.cli import main; print('ready', flush=True); main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "--project", str(root), *arguments],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


JOBS = {
    "materialize": ["materialize", "--at", "2026-01-31"],
    "parquet": ["get-historical-features", "fraud", "--spine", "labels.parquet", "--out", "training.parquet"],
    "delta": ["get-historical-features", "fraud", "--spine", "labels.parquet", "--out", "training.delta"],
    "apply": ["apply", "--yes"],
}


def stopped(root: Path, job: str, stop: signal.Signals, after_s: float) -> tuple[int, str]:
    """Start a job, stop it after a while, and return its exit status and what it said."""
    process = command(root, *JOBS[job])
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after_s)
    process.send_signal(stop)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def check_whole(root: Path) -> None:
    """Assert that the training sets and what is served are there, whole: the old ones or the new ones."""
    import deltalake

    for table in (
        pq.read_table(root / "training.parquet"),
        deltalake.DeltaTable(root / "training.delta").to_pyarrow_table(),
    ):
        assert table.num_rows == ROWS
        assert table["spend__count_7d"].null_count == 0
    with opened(root) as store:
        read = store.get_online_features("fraud@1", {"customer_id": list(range(CUSTOMERS))}, at="2026-01-31")
        assert sum(read.to_dict()["spend__count_7d"]) > ROWS / 8
        assert store.list("service")


def leftovers(root: Path) -> list[str]:
    found = [*root.glob(".training*"), *(root / ".asof/tmp").glob("*")]
    return [str(path) for path in found]


@pytest.mark.slow
@pytest.mark.parametrize("job", list(JOBS))
def test_a_killed_command_changes_nothing_or_everything_and_the_next_one_cleans_up(root: Path, job: str) -> None:
    chance = random.Random(job)
    if job == "apply":
        (root / "features.py").write_text(DEFINITIONS.replace('"7d"])]', '"7d", "3d"])]'), encoding="utf-8")
    for _ in range(4):
        code, said = stopped(root, job, signal.SIGKILL, 0.2 + chance.random() * 0.8)  # the moment of death is random
        assert code in (-signal.SIGKILL, 0), said
        check_whole(root)
    process = command(root, *JOBS[job])
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    check_whole(root)
    if job != "apply":
        assert leftovers(root) == [], (code, said)


@pytest.mark.slow
@pytest.mark.parametrize("job", ["materialize", "parquet", "delta"])
def test_ctrl_c_says_so_leaves_nothing_behind_and_changes_nothing(root: Path, job: str) -> None:
    before = (root / "training.parquet").read_bytes()
    for after_s in (0.3, 0.6, 0.9):
        code, said = stopped(root, job, signal.SIGINT, after_s)
        # The system itself ends a process that is interrupted before Python listens, or after it has stopped to.
        assert code in (130, 0, -signal.SIGINT), said
        assert "Traceback" not in said
        if code:
            assert code < 0 or said.strip().endswith("Interrupted.")
        if code == 130:
            assert (root / "training.parquet").read_bytes() == before
        assert leftovers(root) == [], (code, said)
    check_whole(root)


CHILD = """
import resource, sys
from pathlib import Path
from asof import FeatureStore
from asof.clock import FixedClock
from asof.errors import AsofError

root, now, limit, action = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
store = FeatureStore(root, clock=FixedClock(now))
store.list()
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if action == "apply":
        store.apply()
    elif action == "materialize":
        store.materialize(at="2026-01-31")
    else:
        with store.get_historical_features("fraud", root / "labels.parquet", memory_budget=sys.argv[5]) as found:
            found.write(root / action)
except AsofError as error:
    print(type(error).__name__ if error.fix else "an error without a fix")
"""


def with_small_files(root: Path, limit_bytes: int, *action: str) -> str:
    """Do something in a process whose files may not grow beyond a limit; return the class of its error."""
    arguments = [sys.executable, "-c", CHILD, str(root), str(NOW), str(limit_bytes), *action]
    done: subprocess.CompletedProcess[str] = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write_training(root: Path, name: str, budget: str) -> None:
    with (
        opened(root) as store,
        store.get_historical_features("fraud", root / "labels.parquet", memory_budget=budget) as found,
    ):
        found.write(root / name)


@pytest.mark.parametrize(
    ("name", "budget", "limit_bytes"),
    [
        ("training.parquet", "2GB", 100_000),
        ("training.delta", "2GB", 100_000),
        ("new.csv", "2GB", 100_000),
        ("new.arrow", "2GB", 100_000),
        ("new.delta", "2GB", 100_000),
        ("new.parquet", "17MB", 60_000),
    ],
)
def test_a_full_disk_while_writing_a_training_set(root: Path, name: str, budget: str, limit_bytes: int) -> None:
    """What was there is still there, what was begun is gone, and with room it works; also where work spills."""
    assert with_small_files(root, limit_bytes, name, budget) == StoreFullError.__name__
    check_whole(root)
    assert leftovers(root) == []
    assert not name.startswith("new") or not (root / name).exists()
    write_training(root, name, budget)
    check_whole(root)


def materialize(root: Path) -> None:
    with opened(root) as store:
        store.materialize(at="2026-01-31")


def test_a_full_disk_while_materializing_keeps_what_is_served(root: Path) -> None:
    size = (root / ".asof/online/data.mdb").stat().st_size
    for limit_bytes in (40_000, size + 8_192):
        assert with_small_files(root, limit_bytes, "materialize") == StoreFullError.__name__
        check_whole(root)
    assert leftovers(root) == []
    materialize(root)
    check_whole(root)


def test_a_full_disk_during_apply_keeps_the_registry(root: Path) -> None:
    (root / "features.py").write_text(DEFINITIONS.replace('"7d"])]', '"7d", "3d"])]'), encoding="utf-8")

    assert with_small_files(root, 4_096, "apply") in ("StoreError", "StoreFullError")
    with opened(root) as store:
        assert [listed.version for listed in store.list("view")] == [1]
    with opened(root) as store:
        store.apply()
        assert [listed.version for listed in store.list("view")] == [2]
    check_whole(root)


def test_a_write_that_died_is_cleaned_up_by_the_next_write_of_that_target_only(tmp_path: Path) -> None:
    """The temporary file of a writer that still runs stays."""
    code = (
        "import os, sys; from pathlib import Path; from asof.backends.local.temporary import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os._exit(9)\n"
    )
    for name in ("a[1].csv", "b.csv"):
        assert subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=False).returncode == 9
    with replacing(tmp_path / "a[1].csv") as mine:
        mine.write_text("mine", encoding="utf-8")
        with replacing(tmp_path / "a[1].csv") as other:
            other.write_text("other", encoding="utf-8")
        assert mine.exists()
    assert sorted(path.name.partition(".csv")[0] for path in tmp_path.iterdir()) == [".b", "a[1]"]
    assert (tmp_path / "a[1].csv").read_text(encoding="utf-8") == "mine"


def test_two_that_materialize_one_view_at_once_leave_one_whole_generation(root: Path) -> None:
    """Each succeeds or is told of the conflict; the newer instant wins in any order."""
    problems: list[str] = []

    def run(day: int) -> None:
        try:
            with opened(root) as store:
                store.materialize("spend", at=f"2026-02-{day:02}")
        except ConflictError:
            pass
        except AsofError as error:
            problems.append(f"{error}")

    threads = [threading.Thread(target=run, args=(day,)) for day in (3, 1, 4, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with opened(root) as store:
        read = store.get_online_features("fraud", {"customer_id": [1]}, at="2026-02-05")
        assert str(read.versions["spend"]["instant"]).startswith("2026-02-04")


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was_or_refused(root: Path) -> None:
    """Never half of each: amounts of the old file are below 1, of the new ones 1000."""
    table = pq.read_table(root / "orders.parquet")
    new = table.set_column(2, "amount", pa.array(np.full(ROWS, 1000.0)))
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            for one in (new, table):
                pq.write_table(one, root / "orders.new")
                (root / "orders.new").replace(root / "orders.parquet")

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        with opened(root) as store:
            for _ in range(8):
                try:
                    with store.get_historical_features("fraud", root / "labels.parquet", memory_budget="2GB") as found:
                        answer = found.to_arrow()
                except SourceError:
                    continue
                sums = np.array(answer["spend__amount_sum_7d"].drop_null())
                counts = np.array(answer["spend__count_7d"])
                counts = counts[counts > 0]
                assert np.allclose(sums, 1000 * counts) or (sums <= counts).all()
    finally:
        stop.set()
        thread.join()
