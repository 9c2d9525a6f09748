"""Backfills of batch sources: resumed, repeated, recorded, retried, and never silent about what is missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import BatchSource, BatchView, Entity, EventView, FeatureStore, FileSource, StateView, Sum
from asof.backends.local.transformer import LocalTransformer
from asof.clock import FixedClock, from_us, parse_instant
from asof.errors import (
    AsofError,
    DefinitionError,
    InputError,
    MissingIntervalsWarning,
    NotBackfilledError,
    NotFoundError,
    SchemaError,
    StoreError,
)
from asof.services.backfill import ATTEMPTS, Backfiller
from asof.services.batches import resolve_batch
from asof.services.functions import FunctionLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.plan.batch import Interval

DAY_US = 86_400_000_000
START = "2026-01-01"
NOW = "2026-01-06T12:00"
customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="orders.csv", event_time="ts", delay="1h")
SQL = "SELECT customer_id, sum(amount) AS total FROM orders WHERE ts >= $start AND ts < $end GROUP BY 1"
daily = BatchView(
    "daily", entity=customer, inputs=[orders], schedule="1d", delay="2h", sql=SQL, features=["total"], ttl="3d"
)
source = daily.source

calls: Counter[str] = Counter()


def doubled(inputs: dict[str, pa.Table], start: object, end: object) -> dict[str, Any]:
    """Double the totals that are there at the end of the interval."""
    calls["doubled"] += 1
    rows = inputs["daily"].to_pylist()
    return {"customer_id": [r["customer_id"] for r in rows], "twice": [2.0 * r["total"] for r in rows]}


def failing(inputs: dict[str, pa.Table], start: object, end: object) -> dict[str, Any]:
    """Fail."""
    raise ZeroDivisionError("no rows")


twice = BatchSource(
    "twice",
    inputs=[daily],
    schedule="1d",
    delay="3h",
    function=doubled,
    columns={"customer_id": "int64", "twice": "float64"},
)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(parse_instant(NOW))


@pytest.fixture
def store(clock: FixedClock) -> Iterator[FeatureStore]:
    """Return a project with five days of orders: on day n, customer 7 spends n."""
    with FeatureStore.temporary(clock=clock) as opened:
        rows = [f"7,2026-01-0{n}T10:00:00Z,{n}.0\n" for n in range(1, 6)]
        (opened.config.root / "orders.csv").write_text("customer_id,ts,amount\n" + "".join(rows))
        yield opened


def files(store: FeatureStore) -> dict[str, bytes]:
    """Return what is published, by file name, temporary files included."""
    found = (store.config.root / store.config.offline / "batch").rglob("*.*")
    return {path.name: path.read_bytes() for path in found if path.is_file()}


def totals(store: FeatureStore, *instants: str) -> list[Any]:
    asked = {"customer_id": [7] * len(instants), "event_timestamp": [from_us(parse_instant(i)) for i in instants]}
    return list(store.get_historical_features(daily, asked).to_arrow()["daily__total"].to_pylist())


class Breaks:
    """Inputs whose runs of one interval fail a number of times, however often it is tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, *, at: int, times: int) -> None:
        self.tries: Counter[int] = Counter()
        from asof.backends.local import transformer

        real = transformer.LocalInputs.publish

        def publish(inputs: transformer.LocalInputs, interval: Interval, record: Callable[[int], None]) -> None:
            number = (interval.start_us - parse_instant(START)) // DAY_US
            self.tries[number] += 1
            if number == at and self.tries[number] <= times:
                raise error
            real(inputs, interval, record)

        monkeypatch.setattr(transformer.LocalInputs, "publish", publish)


def run(store: FeatureStore, clock: FixedClock, pauses: list[float] | None = None, workers: int = 1) -> Any:
    """Backfill the daily view without waiting between attempts."""
    transformer = LocalTransformer(store._scanner({}, 2**28, 1))
    spec, functions = resolve_batch(daily, transformer.scanner)
    loader = FunctionLoader(store.config.root, [], functions)
    paused = [] if pauses is None else pauses
    job = Backfiller(transformer, store.registry, loader, clock=clock, pause=paused.append)
    return job.run(spec, parse_instant(START), parse_instant(NOW), workers=workers)


def test_a_backfill_publishes_one_file_per_interval_that_is_due(store: FeatureStore) -> None:
    """The sixth day has not ended; each row holds from its interval's end and is known after the delay."""
    done = store.backfill(daily, START)
    assert (done.intervals, done.skipped, done.rows) == (5, 0, 5)
    assert sorted(files(store)) == [f"2026010{n}T000000Z.parquet" for n in range(1, 6)]
    assert totals(store, "2026-01-02T01:59:59.999999", "2026-01-02T02:00", "2026-01-06T02:00") == [None, 1.0, 5.0]


def test_a_day_is_due_only_after_its_delay(store: FeatureStore, clock: FixedClock) -> None:
    clock.set(parse_instant("2026-01-03T01:59"))
    assert store.backfill(daily, START, workers=1).intervals == 1
    with pytest.raises(InputError, match="No interval"):
        store.backfill(daily, "2026-01-02")


def test_an_interrupted_backfill_goes_on_where_it_left_off(
    store: FeatureStore, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done stays and is not done again, no partial file is left, and the ledger knows the interruption."""
    with monkeypatch.context() as patch:
        Breaks(patch, KeyboardInterrupt(), at=2, times=1)
        with pytest.raises(KeyboardInterrupt):
            run(store, clock)
    assert sorted(files(store)) == ["20260101T000000Z.parquet", "20260102T000000Z.parquet"]
    assert [run_.error for run_ in store.runs()] == ["KeyboardInterrupt", "", ""]
    done = run(store, clock)
    assert (done.intervals, done.skipped) == (3, 2)
    assert totals(store, "2026-01-06T02:00") == [5.0]


def test_what_may_pass_is_tried_again(store: FeatureStore, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two failures, with growing pauses, then success: one run in the ledger."""
    pauses: list[float] = []
    broken = Breaks(monkeypatch, StoreError("The store is busy"), at=1, times=ATTEMPTS - 1)
    assert run(store, clock, pauses).intervals == 5
    assert broken.tries[1] == ATTEMPTS
    assert pauses == [0.5, 1.0]
    assert [run_.error for run_ in store.runs()] == [""] * 5


@pytest.mark.parametrize(
    ("error", "tries"), [(StoreError("It is lost"), ATTEMPTS), (SchemaError("It does not fit"), 1)]
)
def test_what_does_not_pass_ends_the_backfill_and_is_recorded(
    store: FeatureStore, clock: FixedClock, monkeypatch: pytest.MonkeyPatch, error: Exception, tries: int
) -> None:
    broken = Breaks(monkeypatch, error, at=1, times=99)
    with pytest.raises(type(error)):
        run(store, clock)
    assert broken.tries == {0: 1, 1: tries}
    assert str(error) in store.runs()[0].error


def test_rows_that_cannot_be_written_are_tried_again(
    store: FeatureStore, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the file system is a store's, and may pass."""
    real, failures = pq.write_table, [OSError(5, "Input/output error")]

    def write_table(table: pa.Table, path: Path, **options: Any) -> None:
        path.write_bytes(b"half")
        if failures:
            raise failures.pop()
        real(table, path, **options)

    monkeypatch.setattr(pq, "write_table", write_table)
    pauses: list[float] = []
    assert run(store, clock, pauses).intervals == 5
    assert pauses == [0.5]
    assert sorted(files(store)) == [f"2026010{n}T000000Z.parquet" for n in range(1, 6)]


def test_ctrl_c_while_others_run_leaves_whole_intervals_only(store: FeatureStore) -> None:
    """The interrupt stops the workers; what is there afterwards is what a whole backfill gives."""

    def interrupt(_source: str, done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.backfill(daily, START, workers=2, progress=interrupt)
    before = files(store)
    assert all(name.endswith("Z.parquet") for name in before)
    assert sum(not one.error for one in store.runs()) == len(before)
    store.backfill(daily, START)
    assert {name: files(store)[name] for name in before} == before
    assert len(files(store)) == 5


def test_a_forced_backfill_gives_the_same_bytes(store: FeatureStore) -> None:
    store.backfill(daily, START, workers=2)
    before = files(store)
    assert store.backfill(daily, START, force=True, workers=1).intervals == 5
    assert files(store) == before


def test_a_run_of_today_ignores_what_became_known_after_its_interval(store: FeatureStore) -> None:
    """An order of the first day that arrives on the third changes no run; one within the delay does."""
    late = FileSource("orders", path="orders.csv", event_time="ts", available_at="known")
    rows = "7,2026-01-01T10:00Z,2026-01-02T02:00Z,1.0\n7,2026-01-01T11:00Z,2026-01-02T02:00:01Z,9.0\n"
    (store.config.root / "orders.csv").write_text("customer_id,ts,known,amount\n" + rows.replace(":00Z", ":00:00Z"))
    view = BatchView("daily", entity=customer, inputs=[late], schedule="1d", delay="2h", sql=SQL, features=["total"])
    store.backfill(view, START, "2026-01-02")
    asked = {"customer_id": [7], "event_timestamp": [from_us(parse_instant("2026-01-05"))]}
    assert store.get_historical_features(view, asked).to_arrow()["daily__total"].to_pylist() == [1.0]


def test_every_run_is_in_the_ledger_with_the_versions_of_its_inputs(store: FeatureStore) -> None:
    store.apply(store.plan([daily]))
    store.backfill("daily", START, workers=1)
    found = store.runs("daily", limit=2)
    assert [from_us(run_.start_us).day for run_ in found] == [5, 4]
    assert (found[0].rows, found[0].started_us, found[0].end_us) == (1, parse_instant(NOW), parse_instant("2026-01-06"))
    ((name, version),) = found[0].inputs
    assert name == "orders"
    assert version.startswith("1 file ")


def test_a_run_is_in_the_ledger_before_its_rows_are_there(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whoever is killed at any moment leaves no rows without a record."""
    real, recorded = Path.replace, []

    def replace(path: Path, target: Path) -> Path:
        if target.suffix == ".parquet":
            recorded.append((len(files(store)) - 1, len(store.runs())))  # one file is the temporary one
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    store.backfill(daily, START, workers=1)
    assert recorded == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]


def test_a_run_that_cannot_be_recorded_publishes_nothing(
    store: FeatureStore, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again, then the error of the ledger ends the backfill."""

    def refuse(_runs: object) -> None:
        raise StoreError("The registry is busy")

    with monkeypatch.context() as patch:
        patch.setattr(store.registry, "record_runs", refuse)
        pauses: list[float] = []
        with pytest.raises(StoreError, match="The registry is busy"):
            run(store, clock, pauses)
    assert (pauses, files(store), list(store.runs())) == ([0.5, 1.0], {}, [])


def test_a_delta_input_is_recorded_with_its_version(store: FeatureStore) -> None:
    from deltalake import write_deltalake

    when = pa.array([parse_instant("2026-01-01T10:00")], pa.timestamp("us", "UTC"))
    table = pa.table({"customer_id": [7], "ts": when, "amount": [1.0]})
    for mode in ("overwrite", "append"):
        write_deltalake(str(store.config.root / "orders"), table, mode=mode)
    from asof import DeltaSource

    batch = BatchSource("sums", inputs=[DeltaSource("orders", path="orders", event_time="ts")], schedule="1d", sql=SQL)
    assert store.backfill(batch, START, "2026-01-02").rows == 1
    assert store.runs()[0].inputs == (("orders", "version 1"),)


def test_a_source_that_was_never_run_says_what_to_run(store: FeatureStore) -> None:
    with pytest.raises(NotBackfilledError, match=r"Run `asof backfill daily"):
        totals(store, NOW)


def test_missing_intervals_between_others_are_warned_about(store: FeatureStore) -> None:
    store.backfill(daily, START, "2026-01-02")
    store.backfill(daily, "2026-01-04")
    with pytest.warns(MissingIntervalsWarning, match=r"lacks 2 intervals.*--start 2026-01-02T.*--end 2026-01-04T"):
        assert totals(store, "2026-01-04T02:00") == [1.0]
    store.backfill(daily, START)
    assert totals(store, "2026-01-04T02:00") == [3.0]


def test_a_changed_query_is_another_source_and_starts_empty(store: FeatureStore) -> None:
    """Rows of the old meaning stay where they are."""
    store.backfill(daily, START)
    changed = BatchSource("daily", inputs=[orders], schedule="1d", delay="2h", sql=SQL.replace("sum", "max"))
    view = StateView("daily", entity=customer, source=changed, features=["total"])
    asked = {"customer_id": [7], "event_timestamp": [from_us(parse_instant(NOW))]}
    with pytest.raises(NotBackfilledError):
        store.get_historical_features(view, asked)
    assert totals(store, "2026-01-06T02:00") == [5.0]


def test_a_batch_over_a_batch_sees_what_was_published_by_its_run(store: FeatureStore) -> None:
    """The function sees two days' totals at the end of the second, and refuses to run before they are there."""
    with pytest.raises(NotBackfilledError, match="reads 'daily', which lacks the interval that ends at 2026-01-02"):
        store.backfill(twice, START)
    store.backfill(daily, START)
    assert store.backfill(twice, START, workers=2).rows == 1 + 2 + 3 + 4 + 5
    view = EventView("all", entity=customer, source=twice, features=[Sum("twice", windows=["lifetime"])])
    asked = {"customer_id": [7], "event_timestamp": [from_us(parse_instant("2026-01-03T04:00"))]}
    found = store.get_historical_features(view, asked).to_arrow()
    assert found["all__twice_sum_lifetime"].to_pylist() == [2.0 + (2.0 + 4.0)]


def test_a_function_that_fails_is_named_with_its_interval(store: FeatureStore) -> None:
    batch = BatchSource("b", inputs=[orders], schedule="1d", function=failing, columns={"x": "int64"})
    with pytest.raises(DefinitionError, match=r"'b', interval 2026-01-01.*ZeroDivisionError: no rows"):
        store.backfill(batch, START, workers=1)


def test_a_function_that_returns_too_little_is_refused(store: FeatureStore) -> None:
    store.backfill(daily, START)
    columns = {"customer_id": "int64", "thrice": "float64"}
    batch = BatchSource("b", inputs=[daily], schedule="1d", delay="3h", function=doubled, columns=columns)
    with pytest.raises(SchemaError, match="lack column 'thrice'"):
        store.backfill(batch, START)


def test_what_is_due_runs_in_order_then_its_views_are_materialized(store: FeatureStore, clock: FixedClock) -> None:
    """Once begun, a source continues; a pass without anything due does nothing."""
    view = StateView("doubles", entity=customer, source=twice, features=["twice"])
    store.apply(store.plan([view, daily]))
    store.backfill("daily", START, "2026-01-05")
    store.backfill("doubles", START, "2026-01-05")
    due = store.run_due()
    assert [(one.source, one.intervals) for one in due.backfilled] == [("daily", 1), ("twice", 1)]
    assert sorted(one.view for one in due.materialized) == ["daily", "doubles"]
    assert store.get_online_features(["daily:total"], {"customer_id": [7]}).to_dict()["daily__total"] == [5.0]
    again = store.run_due()
    assert (again.backfilled, again.materialized) == ([], [])
    assert again.next_us == parse_instant("2026-01-07T02:00")


def test_a_source_that_was_never_run_starts_with_its_newest_interval(store: FeatureStore) -> None:
    store.apply(store.plan([daily]))
    (done,) = store.run_due().backfilled
    assert (done.intervals, sorted(files(store))) == (1, ["20260105T000000Z.parquet"])


def test_a_source_that_fails_does_not_keep_the_others(store: FeatureStore) -> None:
    """What reads it fails too, for want of its rows; by default the first error is raised."""
    broken = BatchSource("broken", inputs=[orders], schedule="1d", function=failing, columns={"customer_id": "int64"})
    views = [StateView("b", entity=customer, source=broken, features=["customer_id"]), daily]
    store.apply(store.plan(views))
    with pytest.raises(DefinitionError, match="ZeroDivisionError"):
        store.run_due()
    errors: list[AsofError] = []
    due = store.run_due(failed=errors.append)
    assert [type(error) for error in errors] == [DefinitionError]
    assert store.runs("daily")[0].error == ""
    assert due.next_us == parse_instant("2026-01-07T00:00")


def test_only_batch_sources_can_be_backfilled(store: FeatureStore) -> None:
    store.apply(store.plan([daily]))
    with pytest.raises(DefinitionError, match="nothing is run for it"):
        store.backfill("orders", START)
    with pytest.raises(NotFoundError):
        store.backfill("nightly", START)


def test_the_published_rows_hold_the_interval_s_end(store: FeatureStore) -> None:
    store.backfill(daily, START, "2026-01-02")
    (path,) = (store.config.root / store.config.offline / "batch").rglob("*.parquet")
    assert isinstance(path, Path)
    assert pq.read_table(path).to_pylist() == [
        {"customer_id": 7, "total": 1.0, "event_time": from_us(parse_instant("2026-01-02"))}
    ]


def test_a_day_over_hours_wants_all_of_its_hours(store: FeatureStore) -> None:
    """With the last of them alone the day would be counted as done, and its sums be too small for good."""
    quarters = BatchSource("quarters", inputs=[orders], schedule="6h", sql=SQL)
    sql = "SELECT customer_id, sum(total) AS total FROM quarters WHERE event_time > $start GROUP BY 1"
    days = BatchSource("days", inputs=[quarters], schedule="1d", delay="2h", sql=sql)
    store.backfill(quarters, "2026-01-02T18:00", "2026-01-03")
    with pytest.raises(NotBackfilledError) as refused:
        store.backfill(days, "2026-01-02", "2026-01-03")
    assert "--start 2026-01-02T00:00:00Z --end 2026-01-02T18:00:00Z" in str(refused.value)
    store.backfill(quarters, "2026-01-02", "2026-01-03")
    assert store.backfill(days, "2026-01-02", "2026-01-03").rows == 1
