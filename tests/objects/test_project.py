"""A project whose offline side is in a bucket does what one on local disk does, and gives the oracle's values."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asof import BatchView, Count, Entity, EventView, FeatureService, FeatureStore, FileSource, Sum
from asof.backends.local import log as local_log
from asof.backends.local.log import LocalLog
from asof.backends.objects import open_place
from asof.clock import FixedClock, from_us, to_us
from asof.errors import NotFoundError
from asof.testing import oracle
from tests.unit.stream_project import CUSTOMER, NOW, START, apply, open_store, payments, read, row, train
from tests.unit.test_log_compaction import fill

if TYPE_CHECKING:
    from asof.definitions import Source
    from tests.servers.objects import ObjectServer


@pytest.fixture
def root(object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASOF_OFFLINE", object_server.url())
    return tmp_path


@pytest.mark.filterwarnings("ignore::asof.errors.RejectedRowsWarning")
def test_a_project_from_its_definitions_to_a_read(root: Path) -> None:
    """Pushed rows, a batch view, training sets, a rebuild, quarantine and prune: nothing is left on local disk."""
    hours = [START + timedelta(hours=hour) for hour in (0, 5, 30)]
    orders = {"customer_id": [7, 7, None], "ts": hours, "amount": [1, 2, 4]}
    pq.write_table(pa.table(orders), root / "orders.parquet")
    daily = BatchView(
        "daily",
        entity=CUSTOMER,
        inputs=[FileSource("orders", path="orders.parquet", event_time="ts")],
        sql="SELECT customer_id, sum(amount)::BIGINT AS total FROM orders WHERE ts >= $start AND ts < $end GROUP BY 1",
        schedule="1d",
        features=["total"],
    )
    spend = EventView(
        "spend", entity=CUSTOMER, source=payments(), features=[Sum("amount", windows=["1d"]), Count(windows=["1d"])]
    )
    with open_store(root) as store:
        apply(store, daily, spend, FeatureService("fraud", features=[daily, spend]))
        assert store.backfill("daily", START, START + timedelta(days=2)).rows == 2
        for number in range(70):
            store.push("payments", [row(230 + number % 9, number)])
        store.materialize()
        assert read(store, "spend:count_1d") == 70
        assert read(store, "spend:amount_sum_1d") == sum(range(70))
        assert train(store, "spend:count_1d", NOW) in (70, 0)  # what arrives at an instant is known from then on
        assert train(store, "daily:total", START + timedelta(days=1)) == 3
        spine = {"customer_id": [7, 7], "event_timestamp": [START + timedelta(days=1), NOW]}
        made = store.create_training_set("march", "fraud", spine)
        before = made.read().to_arrow()
        assert before.num_rows == 2
        assert [item.name for item in store.offline.files("quarantine").items()] == ["daily.customer_id.parquet"]
        assert [one.name for one in store.training_sets()] == ["march"]
        assert store.rebuild_training_set("march").read().to_arrow() == before
        assert sorted(path.name for path in made.path.iterdir()) == ["data.parquet", "manifest.json", "spine.arrow"]
    with open_store(root) as store:
        assert read(store, "spend:count_1d") == 70
        store.delete_training_set("march")
        with pytest.raises(NotFoundError):
            store.training_set("march")
    assert not (root / ".asof" / "offline").exists()


SPINE = st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 7)), min_size=1, max_size=4)
ROWS = st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 6), st.integers(-2, 3)), min_size=1, max_size=6)


def sums(source: Source) -> EventView:
    windows = [timedelta(microseconds=4)]
    return EventView("sums", entity=Entity("entity", join_key="k"), source=source, features=[Sum("v", windows=windows)])


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, spine=SPINE)
def test_training_rows_and_reads_are_the_oracles(
    object_server: ObjectServer, rows: list[tuple[int, int, int]], spine: list[tuple[int, int]]
) -> None:
    """Rows are pushed one by one; each is known from its arrival on."""
    origin = to_us(START)
    view = sums(payments({"k": "int64", "ts": "timestamp", "v": "int64"}))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASOF_OFFLINE", object_server.url())
        Path(folder, "asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
        clock = FixedClock(origin + 7)
        with FeatureStore(folder, clock=clock) as store:
            apply(store, view)
            logged = []
            for k, ts, v in rows:
                found = store.push("payments", [{"k": k, "ts": from_us(origin + ts), "v": v}])
                logged.append({"k": k, "ts": from_us(origin + ts), "v": v, "known": from_us(found.at_us)})
            asked = [(k, origin + 7 + t) for k, t in spine]
            table = {"k": [k for k, _ in asked], "event_timestamp": [from_us(t) for _, t in asked]}
            with store.get_historical_features([view], table) as trained:
                answers = trained.to_arrow().column(2).to_pylist()
            told = FileSource("payments", path="none", event_time="ts", available_at="known")
            exact = oracle.history(sums(told), logged, [((k,), t) for k, t in asked])
            assert answers == [one.values["v_sum_4us"] for one in exact]


_WRITER = """
import os, signal, sys
from pathlib import Path
import obstore
from asof.backends.local import log as module
from asof.backends.objects import open_place
from tests.unit.test_log_compaction import fill

module.JOIN_FILES, module._GRACE_S = 4, -60.0
place, victim, seen = sys.argv[3], int(sys.argv[4]), 0

def killing(work):
    def done(*arguments, **named):
        global seen
        seen += 1
        if seen == victim and place.startswith("before"):
            os.kill(os.getpid(), signal.SIGKILL)
        found = work(*arguments, **named)
        if seen == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return done

name = place.split()[1]
setattr(obstore, name, killing(getattr(obstore, name)))
log = module.LocalLog(open_place(sys.argv[1], Path(sys.argv[2])).files("log")).of("rows")
for number in range(8):
    fill(log, 1)
    print(log.head().sequence, flush=True)
    log.compact()
"""


def writing(url: str, root: Path, place: str, victim: int) -> tuple[int, list[str]]:
    command = [sys.executable, "-c", _WRITER, url, str(root), place, str(victim)]
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], timeout=120
    )
    return done.returncode, done.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize(("place", "victim"), [("before put", 4), ("after put", 5), ("after delete", 3)])
def test_killed_before_or_after_any_request_the_log_is_whole(
    object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, victim: int
) -> None:
    """What was acknowledged is there once, at most one entry more, and the next writer goes on."""
    url = object_server.url()

    def entries() -> list[int]:
        log = LocalLog(open_place(url, tmp_path / "reader").files("log")).of("rows")
        return [value for _, table in log.read(0, log.head().sequence) for value in table["value"].to_pylist()]

    code, told = writing(url, tmp_path, place, victim)
    assert code == -signal.SIGKILL
    found = entries()
    assert found == list(range(1, len(found) + 1))
    assert int(told[-1]) <= len(found) <= int(told[-1]) + 1
    monkeypatch.setattr(local_log, "JOIN_FILES", 4)
    monkeypatch.setattr(local_log, "_GRACE_S", -60.0)
    log = LocalLog(open_place(url, tmp_path / "next").files("log")).of("rows")
    for _ in range(8):
        fill(log, 1)
        log.compact()
    assert entries() == list(range(1, len(found) + 9))


def test_neither_the_library_nor_a_local_project_loads_the_client(tmp_path: Path) -> None:
    code = "import sys, asof.store, asof.server.app; sys.exit('obstore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ), cwd=tmp_path).returncode == 0
