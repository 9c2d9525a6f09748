"""What status and metrics say of views, sources and workers, as another process sees them."""

from __future__ import annotations

import json
import threading
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from asof import Count, Entity, EventView, StreamSource
from asof.cli import main
from asof.clock import FixedClock, from_us
from asof.errors import StoreError, StreamError
from asof.interfaces.online import ViewKey
from asof.server.gauges import StatusCollector
from asof.server.stream_metrics import StreamMetrics, serving_metrics
from asof.services.caught_up import CaughtUp, Peer
from asof.services.latency import BOUNDS_S, NOTHING
from asof.services.stream import StreamProgress
from asof.services.workers import SILENT_AFTER_US, WorkerBoard, WorkerRecord, published
from asof.store import FeatureStore
from tests.streams.broker import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.services.overview import Status
    from asof.services.standing import SourceStatus, ViewFreshness

SECOND = 1_000_000
START = 1_750_000_000 * SECOND
SCHEMA = {"customer_id": "int64", "ts": "timestamp"}
customer = Entity("customer", join_key="customer_id")
orders = StreamSource("orders", event_time="ts", schema=SCHEMA, topic="orders")
spend = EventView("spend", entity=customer, source=orders, features=[Count(windows=["lifetime"])], freshness="5s")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    made = MemoryBroker()
    monkeypatch.setattr("asof.streaming.open_stream", lambda url, root: made)
    return made


@pytest.fixture
def store(clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeatureStore]:
    monkeypatch.setenv("ASOF_STREAM", "memory://")
    with FeatureStore.temporary(clock=clock) as opened:
        opened.apply(opened.plan([spend]))
        yield opened


def message(at_us: int) -> bytes:
    return json.dumps({"customer_id": 1, "ts": from_us(at_us).isoformat()}).encode()


def view_of(status: Status) -> ViewFreshness:
    (view,) = status.views
    assert view.freshness is not None
    return view.freshness


def source_of(status: Status) -> SourceStatus:
    (source,) = status.sources
    return source


def record(member: str = "one", seen_at_us: int = START, **rest: Any) -> WorkerRecord:
    return WorkerRecord(member=member, started_at_us=START, seen_at_us=seen_at_us, **rest)


# Views ---------------------------------------------------------------------------------------------------------------


def test_a_view_has_a_watermark_and_its_last_updates(store: FeatureStore, clock: FixedClock) -> None:
    """The newest event time does not go back; a push is an update, but of the topic it says nothing."""
    store.push("orders", [{"customer_id": 1, "ts": from_us(START - 2 * SECOND)}])
    clock.set(START + SECOND)
    store.push("orders", [{"customer_id": 1, "ts": from_us(START - 3 * SECOND)}])
    clock.set(START + 2 * SECOND)
    found = view_of(store.status())
    assert found.watermark_us == START - 2 * SECOND
    assert (found.updated_at_us, found.checked_at_us) == (START + SECOND + 1, START)
    assert (found.entries_behind, found.pending_us, found.stuck) == (0, None, False)
    assert (found.written_at_us, found.objective_us, found.stale) == (START, 5 * SECOND, False)
    clock.set(START + 7 * SECOND)
    assert view_of(store.status()).stale


def test_a_view_is_behind_the_log_until_it_took_the_rows_in(
    store: FeatureStore, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer dies after the log and before the view: entries behind, pending, after five seconds stuck."""
    store.push("orders", [{"customer_id": 1, "ts": from_us(START)}])

    def die(updates: object) -> None:
        raise StoreError("The disk is gone")

    clock.set(START + SECOND)
    with monkeypatch.context() as patch, suppress(StoreError):
        patch.setattr(store.online, "update", die)
        store.push("orders", [{"customer_id": 1, "ts": from_us(START)}])
    found = view_of(store.status())
    assert (found.entries_behind, found.pending_us, found.stuck, found.stale) == (1, START + SECOND, False, False)
    clock.set(START + 6 * SECOND + 1)
    found = view_of(store.status())
    assert (found.stuck, found.stale) == (True, True)
    assert source_of(store.status()).rows == 2


# Workers -------------------------------------------------------------------------------------------------------------


def test_a_worker_tells_what_it_did(store: FeatureStore, clock: FixedClock, broker: MemoryBroker) -> None:
    """Another store, as another process would, sees the worker's record; after it ended in order it says so."""
    broker.produce(0, [message(START - SECOND), b"no order"], sent_at_us=START - SECOND // 2)
    broker.produce(1, [message(START - 2 * SECOND)], sent_at_us=START)
    (done,) = store.stream(until_caught_up=True)
    assert (done.taken, done.lag, done.lags, done.batches) == (2, 0, {"0": 0, "1": 0}, 1)
    assert done.polled_at_us == START
    with FeatureStore(store.config.root, clock=clock) as other:
        found = source_of(other.status())
    assert (found.source, found.entries, found.rows, found.last_us) == ("orders", 1, 2, START + 2)
    assert found.dead_letters == 1
    (worker,) = found.workers
    assert (worker.state, worker.silent_us) == ("stopped", 0)
    told = worker.record
    assert (told.taken, told.refused, told.lag, told.problem) == (2, 1, {"0": 0, "1": 0}, None)
    assert told.p50_s == BOUNDS_S[0]
    assert told.p99_s == 0.5
    assert found.lag is None


def test_rows_are_timed_from_their_event_and_from_being_sent(
    store: FeatureStore, clock: FixedClock, broker: MemoryBroker
) -> None:
    """Refused messages are not timed, nor those whose sending nobody knows."""
    broker.produce(0, [message(START - 2 * SECOND), b"no order", message(START - 60 * SECOND)], START - SECOND // 4)
    broker.produce(1, [message(START)])
    (done,) = store.stream(until_caught_up=True)
    assert done.event_to_servable == NOTHING.plus(pa.array([START - 2 * SECOND, START - 60 * SECOND, START]), START)
    assert done.sent_to_servable.count == 2
    assert done.sent_to_servable.sum_s == 0.5


def test_lag_is_what_running_workers_count(store: FeatureStore, clock: FixedClock) -> None:
    """Each counts its own partitions; who stopped or fell silent does not count, and shows as such."""
    board = WorkerBoard(store.online, store.config.project)
    board.tell("orders", record("one", lag={"0": 3}, lag_s=1.5))
    board.tell("orders", record("two", START - SECOND, lag={"1": 4, "2": 0}, lag_s=0.5))
    board.tell("orders", record("three", START - SILENT_AFTER_US - 1, lag={"0": 100}, lag_s=9.0))
    board.tell("orders", record("four", stopped=True, lag={"0": 1000}))
    found = source_of(store.status())
    assert (found.lag, found.lag_s) == (7, 1.5)
    states = {one.record.member: one.state for one in found.workers}
    assert states == {"one": "running", "two": "running", "three": "silent", "four": "stopped"}
    clock.set(START + 60 * SECOND)
    found = source_of(store.status())
    assert (found.lag, found.lag_s) == (None, None)
    assert {one.state for one in found.workers} == {"silent", "stopped"}


def test_records_of_workers_that_are_gone_are_dropped(store: FeatureStore) -> None:
    """Stopped ones with the next record, silent ones after a day; a member has one record."""
    board = WorkerBoard(store.online, store.config.project)
    board.tell("orders", record("stopped", stopped=True))
    board.tell("orders", record("killed", START - SECOND))
    board.tell("orders", record("one", START + 3600 * SECOND))
    board.tell("orders", record("one", START + 3601 * SECOND))
    assert [one.member for one in board.records("orders")] == ["one", "killed"]
    board.tell("orders", record("two", START + 86_400 * SECOND))
    assert [one.member for one in board.records("orders")] == ["two", "one"]


def test_workers_that_tell_at_once_do_not_lose_each_other(store: FeatureStore) -> None:
    """Records are changed one after the other, also the first."""
    board = WorkerBoard(store.online, store.config.project)
    members = [f"worker {number}" for number in range(8)]
    threads = [threading.Thread(target=board.tell, args=("orders", record(member))) for member in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.member for one in board.records("orders")) == members


def test_a_worker_that_fails_says_why(store: FeatureStore, clock: FixedClock) -> None:
    """From before its first message on; an error that ends it stays with its record."""
    board = WorkerBoard(store.online, store.config.project)

    def work() -> None:
        with published(board, clock, "one", ["orders"]):
            (told,) = board.records("orders")
            assert (told.state(START), told.lag) == ("running", None)
            raise StreamError("The broker is gone")

    with pytest.raises(StreamError):
        work()
    (told,) = board.records("orders")
    assert (told.state(START), told.problem) == ("stopped", "The broker is gone.")


def test_a_store_that_fails_does_not_stop_a_worker(
    store: FeatureStore, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Telling is for others; the record grows old instead."""
    board = WorkerBoard(store.online, store.config.project)

    def fail(updates: object) -> None:
        raise StoreError("The disk is gone")

    monkeypatch.setattr(store.online, "update", fail)
    with published(board, clock, "one", ["orders"]) as tell:
        tell(StreamProgress("orders", taken=1))
    assert not board.records("orders")


def test_a_prune_keeps_what_belongs_to_a_source(store: FeatureStore) -> None:
    """What workers told, and what event ids are known by; with the source they go."""
    known = StreamSource("known", event_time="ts", schema={**SCHEMA, "id": "int64"}, event_id="id")
    store.apply(store.plan([spend, EventView("seen", entity=customer, source=known, features=[Count(windows=["1h"])])]))
    WorkerBoard(store.online, store.config.project).tell("orders", record())
    store.push("known", [{"customer_id": 1, "ts": from_us(START), "id": 1}])
    assert not store.plan_prune().storage
    store.apply(store.plan([]))
    gone = {key.view for key in store.plan_prune().storage}
    assert {"orders#workers", "known#ids"} <= gone


def test_a_worker_that_is_caught_up_keeps_its_views_fresh(
    store: FeatureStore, clock: FixedClock, broker: MemoryBroker
) -> None:
    """Also where nothing comes, or what comes is refused."""
    store.stream(until_caught_up=True)
    clock.set(START + 3600 * SECOND)
    assert view_of(store.status()).stale
    store.stream(until_caught_up=True)
    assert not view_of(store.status()).stale
    clock.set(START + 7200 * SECOND)
    broker.produce(0, [b"no order"])
    store.stream(until_caught_up=True)
    found = view_of(store.status())
    assert (found.checked_at_us, found.watermark_us, found.stale) == (START + 7200 * SECOND, None, False)


def test_views_are_as_fresh_as_the_slowest_worker(store: FeatureStore, clock: FixedClock, broker: MemoryBroker) -> None:
    """One that is caught up does not speak for partitions that another reads; of a silent one nobody knows."""
    broker.produce(0, [message(START)])
    broker.produce(1, [message(START)])
    store.stream(until_caught_up=True)
    board = WorkerBoard(store.online, store.config.project)
    clock.set(START + 60 * SECOND)
    board.tell("orders", record("slow", START + 60 * SECOND, lag={"2": 9}, checked_at_us=START + 20 * SECOND))
    board.tell("orders", record("idle", START + 60 * SECOND, lag={}))
    store.stream(until_caught_up=True)
    assert view_of(store.status()).checked_at_us == START + 20 * SECOND
    board.tell("orders", record("slow", START + 60 * SECOND, lag={"2": 9}))
    store.stream(until_caught_up=True)
    assert view_of(store.status()).checked_at_us == START + 20 * SECOND


def test_a_rebuild_does_not_make_a_view_fresh_whose_topic_nobody_reads(store: FeatureStore, clock: FixedClock) -> None:
    """The log may lack what waits in the topic."""
    store.push("orders", [{"customer_id": 1, "ts": from_us(START)}])
    clock.set(START + 60 * SECOND)
    store.materialize()
    found = view_of(store.status())
    assert (found.written_at_us, found.checked_at_us, found.stale) == (START + 60 * SECOND, START, True)


def test_steady_traffic_is_caught_up_with_what_had_come_at_the_last_look() -> None:
    """There is always a message that waits, and a real backlog shows: the instant stays until its end is reached."""
    worker = CaughtUp()
    worker.look(10, {"0": 100}, {"0": 90})
    assert worker.checked_at_us is None
    worker.look(20, {"0": 110}, {"0": 99})
    assert worker.checked_at_us is None
    worker.look(30, {"0": 120}, {"0": 105})
    assert worker.checked_at_us == 10
    worker.look(40, {"0": 130}, {"0": 119})
    assert worker.checked_at_us == 10
    worker.look(50, {"0": 140}, {"0": 120})
    assert worker.checked_at_us == 30
    worker.look(60, {"0": 140}, {"0": 140})
    assert worker.checked_at_us == 60
    worker.look(70, {"0": 150, "1": 5}, {"0": 140})
    assert worker.checked_at_us is None
    worker.look(80, {}, {"0": 150})
    assert worker.together([], ["0"]) is None


def test_nobody_speaks_for_partitions_that_nobody_reads() -> None:
    """A standby knows nothing; together workers know what the slowest does, if they cover all partitions."""
    worker = CaughtUp()
    worker.look(10, {"0": 1}, {"0": 1})
    assert worker.together([], ["0"]) == 10
    assert worker.together([], ["0", "1"]) is None
    assert worker.together([Peer(frozenset({"1"}), 7), Peer(frozenset(), None)], ["0", "1"]) == 7
    assert worker.together([Peer(frozenset({"1"}), None)], ["0"]) is None


# Metrics -------------------------------------------------------------------------------------------------------------


def samples(text: bytes) -> dict[str, float]:
    """Return every sample by its name with its labels."""
    return {
        sample.name + "".join(f",{k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_the_server_has_gauges_of_views_and_sources(store: FeatureStore, clock: FixedClock) -> None:
    """Instants are Unix seconds, names end in their unit, and what is not known has no sample."""
    store.push("orders", [{"customer_id": 1, "ts": from_us(START - 2 * SECOND)}])
    WorkerBoard(store.online, store.config.project).tell("orders", record(lag={"0": 3, "1": 4}, lag_s=1.5))
    clock.set(START + 8 * SECOND)
    registry = CollectorRegistry()
    registry.register(StatusCollector(store.status(), clock.now_us()))
    found = samples(generate_latest(registry))
    at = START / SECOND
    view = ",version=1,view=spend"
    assert {name.removesuffix(view): value for name, value in found.items() if name.endswith(view)} == {
        "asof_view_watermark_timestamp_seconds": at - 2,
        "asof_view_watermark_age_seconds": 10,
        "asof_view_updated_timestamp_seconds": pytest.approx(at),
        "asof_view_checked_timestamp_seconds": pytest.approx(at),
        "asof_view_written_timestamp_seconds": at,
        "asof_view_entries_behind": 0,
        "asof_view_objective_seconds": 5,
        "asof_view_pending_seconds": 0,
        "asof_view_stale": 1,
    }
    source = ",source=orders"
    assert {name.removesuffix(source): value for name, value in found.items() if name.endswith(source)} == {
        "asof_source_log_entries": 1,
        "asof_source_log_rows": 1,
        "asof_source_dead_letters": 0,
        "asof_source_arrived_timestamp_seconds": pytest.approx(at),
        "asof_source_lag_messages": 7,
        "asof_source_lag_seconds": 1.5,
    }
    assert found["asof_source_workers,source=orders,state=running"] == 1
    assert found["asof_source_workers,source=orders,state=silent"] == 0


def test_a_worker_serves_its_metrics(store: FeatureStore, broker: MemoryBroker) -> None:
    """Counters by outcome, lag by partition, and both histograms, cumulative up to +Inf; on this machine only."""
    broker.produce(0, [message(START - 2 * SECOND), b"no order"], START - SECOND // 4)
    with serving_metrics(0) as (metrics, port):
        store.stream(until_caught_up=True, progress=metrics.note)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            found = samples(answer.read())
    assert found["asof_stream_rows_total,outcome=taken,source=orders"] == 1
    assert found["asof_stream_rows_total,outcome=refused,source=orders"] == 1
    assert found["asof_stream_rows_total,outcome=repeated,source=orders"] == 0
    assert found["asof_stream_batches_total,source=orders"] == 1
    assert found["asof_stream_lag_messages,partition=1,source=orders"] == 0
    assert found["asof_stream_lag_seconds,source=orders"] == 0
    assert found["asof_stream_polled_timestamp_seconds,source=orders"] == START / SECOND
    assert found["asof_stream_problem,source=orders"] == 0
    assert found["asof_stream_views_behind,source=orders"] == 0
    for name, bound, below, total in (("event", "2.5", "1.0", 2.0), ("sent", "0.25", "0.1", 0.25)):
        histogram = f"asof_stream_{name}_to_servable_seconds"
        assert found[f"{histogram}_bucket,le={bound},source=orders"] == 1
        assert found[f"{histogram}_bucket,le={below},source=orders"] == 0
        assert found[f"{histogram}_bucket,le=+Inf,source=orders"] == 1
        assert found[f"{histogram}_count,source=orders"] == 1
        assert found[f"{histogram}_sum,source=orders"] == total


def test_names_of_metrics_are_standard(store: FeatureStore, clock: FixedClock) -> None:
    """All begin with the product; counters end in _total; no two collectors have a name in common."""
    registry = CollectorRegistry()
    registry.register(StatusCollector(store.status(), clock.now_us()))
    registry.register(StreamMetrics())
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    assert all(family.name.startswith("asof_") for family in families)
    assert {family.name for family in families if family.type == "counter"} == {
        "asof_stream_rows",
        "asof_stream_batches",
    }


def test_a_histogram_counts_each_row_once() -> None:
    """A bound is inclusive, the last bucket takes the rest, an event of the future took no time, nulls nothing."""
    found = NOTHING.plus(pa.array([0, -5_000, -5_001, 7, None, -(10**12)], pa.int64()), 0)
    assert (found.counts[0], found.counts[1], found.counts[-1], found.count) == (3, 1, 1, 5)
    assert found.sum_s == pytest.approx(0.010001 + 1e6)
    assert (found.quantile(0.6), found.quantile(0.8), found.quantile(1.0)) == (0.005, 0.01, float("inf"))
    assert NOTHING.quantile(0.5) is None


# The command line ----------------------------------------------------------------------------------------------------


def test_the_command_shows_views_sources_and_workers(
    store: FeatureStore, clock: FixedClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people what is stale and who is silent; for programs all of it."""
    store.push("orders", [{"customer_id": 1, "ts": from_us(START - 2 * SECOND)}])
    WorkerBoard(store.online, store.config.project).tell("orders", record("host:7:abc", lag={"0": 3}, lag_s=1.5))
    store.online.announce([ViewKey(store.config.project, "spend", 1)], START + SECOND)

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit):
            main(["--project", str(store.config.root), *arguments])
        return capsys.readouterr().out

    out = run("status")
    assert "stale" in out
    assert "stuck since 2025-06-15T15:06:41Z" in out
    assert "host:7:abc silent for" in out
    status = json.loads(run("status", "--json"))
    assert status["views"][0]["freshness"]["watermark_us"] == START - 2 * SECOND
    assert status["sources"][0]["workers"][0]["record"]["lag"] == {"0": 3}


def test_a_worker_on_the_command_line_serves_metrics_where_it_is_told_to(
    store: FeatureStore, broker: MemoryBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the address, which is this machine's, and gives it up at the end."""
    broker.produce(0, [message(START)])
    with pytest.raises(SystemExit) as ended:
        main(["--project", str(store.config.root), "stream", "--until-caught-up", "--metrics-port", "0"])
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert "Metrics on http://127.0.0.1:" in said.err
    assert "1 row taken in" in said.out
