"""Schedules of batch sources: cron expressions behave as lengths do, and a lookback limits what is loaded."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asof import BatchSource, BatchView, Entity, FeatureStore, FileSource, StateView
from asof.backends.local.scanner import LocalScanner
from asof.clock import FixedClock, from_us, iso, parse_instant
from asof.errors import InputError, MissingIntervalsWarning, NotBackfilledError, UnsupportedOperationError
from asof.plan.batch import Interval, needed, seen
from asof.plan.schedule import CronTimes, Grid
from asof.plan.specs import BatchSpec, SourceSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.interfaces.scanner import Scan, ScanRequest

MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US
customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="orders.csv", event_time="ts")
SQL = "SELECT customer_id, sum(amount) AS total FROM orders WHERE ts >= $start AND ts < $end GROUP BY 1"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(parse_instant("2026-01-06T12:00"))


@pytest.fixture
def store(clock: FixedClock) -> Iterator[FeatureStore]:
    """Return a project with orders at 05:00 and at 06:00 of five days: of day n, n and 10 n."""
    with FeatureStore.temporary(clock=clock) as opened:
        rows = [f"7,2026-01-0{n}T05:00:00Z,{n}\n7,2026-01-0{n}T06:00:00Z,{10 * n}\n" for n in range(1, 6)]
        (opened.config.root / "orders.csv").write_text("customer_id,ts,amount\n" + "".join(rows))
        yield opened


def morning(**changes: Any) -> BatchView:
    options = {"inputs": [orders], "schedule": "0 6 * * *", "delay": "30m", "sql": SQL, "features": ["total"]}
    return BatchView("morning", entity=customer, **(options | changes))


def published(store: FeatureStore) -> dict[str, bytes]:
    found = (store.config.root / store.config.offline / "batch").rglob("*.parquet")
    return {path.name: path.read_bytes() for path in found}


def totals(store: FeatureStore, view: BatchView, *instants: str) -> list[Any]:
    asked = {"customer_id": [7] * len(instants), "event_timestamp": [from_us(parse_instant(i)) for i in instants]}
    return list(store.get_historical_features(view, asked).to_arrow().column(-1).to_pylist())


def test_cron_intervals_are_from_one_time_to_the_next_and_known_after_the_delay(store: FeatureStore) -> None:
    """Of 06:00 to 06:00 the row of 06:00 belongs to the next interval; event time is the end."""
    done = store.backfill(morning(), "2026-01-02T06:00", workers=1)
    assert (done.intervals, sorted(published(store))[0]) == (4, "20260102T060000Z.parquet")
    view = morning()
    assert totals(store, view, "2026-01-03T06:29:59.999999", "2026-01-03T06:30", "2026-01-06T06:30") == [None, 23, 50]
    assert [iso(run.end_us) for run in store.runs(limit=1)] == ["2026-01-06T06:00:00Z"]
    assert store.backfill(morning(), "2026-01-02T06:00").skipped == 4


def test_a_cron_expression_for_every_hour_gives_what_the_length_of_an_hour_gives(store: FeatureStore) -> None:
    """The same files, byte for byte."""
    found = []
    for schedule in ("1h", "0 * * * *"):
        view = morning(schedule=schedule)
        store.backfill(view, "2026-01-02T05:30", "2026-01-04")
        found.append(published(store))
        for path in (store.config.root / store.config.offline / "batch").rglob("*.parquet"):
            path.unlink()
    assert found[0] == found[1]
    assert len(found[0]) == 43


def test_missing_intervals_of_a_cron_schedule_are_warned_about(store: FeatureStore) -> None:
    view = morning(schedule="0 6 * * MON-FRI")
    store.backfill(view, "2025-12-31T06:00", "2026-01-01T06:00")
    store.backfill(view, "2026-01-05T06:00")
    with pytest.warns(MissingIntervalsWarning, match=r"lacks 2 intervals.*: 2026-01-01T06.*2026-01-02T06.*05T06:00"):
        totals(store, view, "2026-01-06T12:00")


def test_what_reads_a_cron_source_waits_for_its_times(store: FeatureStore) -> None:
    """A daily run at midnight needs the interval that ended at 06:00, and the one before its start."""
    view = BatchView(
        "doubles",
        entity=customer,
        inputs=[morning()],
        schedule="1d",
        sql="SELECT customer_id, max(total) AS most FROM morning GROUP BY 1",
        features=["most"],
    )
    with pytest.raises(
        NotBackfilledError, match="reads 'morning', which lacks the interval that ends at 2026-01-04T06"
    ):
        store.backfill(view, "2026-01-04", "2026-01-05")
    store.backfill(morning(), "2026-01-03T06:00")
    store.backfill(view, "2026-01-04", "2026-01-05")
    assert totals(store, view, "2026-01-05") == [34]


def test_the_scheduler_runs_what_a_cron_expression_makes_due(store: FeatureStore, clock: FixedClock) -> None:
    store.apply(store.plan([morning()]))
    due = store.run_due()
    assert [(one.source, one.intervals) for one in due.backfilled] == [("morning", 1)]
    assert due.next_us == parse_instant("2026-01-07T06:30")
    clock.set(parse_instant("2026-01-07T06:29"))
    assert store.run_due().backfilled == []
    clock.set(parse_instant("2026-01-07T06:30"))
    assert [one.intervals for one in store.run_due().backfilled] == [1]


def test_an_expression_written_otherwise_is_the_same_meaning() -> None:
    found = [BatchSource("s", inputs=[orders], schedule=text, sql=SQL) for text in (" 0  6 * *  mon", "0 6 * * MON")]
    assert [one.cron for one in found] == ["0 6 * * MON"] * 2


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **options: Any) -> Any:
        if name == "cronsim":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UnsupportedOperationError, match=r"asof\[cron\]"):
        morning()


def test_an_instant_before_all_dates_is_refused() -> None:
    with pytest.raises(InputError, match="no time before"):
        CronTimes("0 6 * * *").floor(parse_instant("0001-01-01T03:00"))


MINUTES = [(f"*/{n} * * * *", n) for n in (1, 5, 20, 30)] + [
    ("0 * * * *", 60),
    ("0 */6 * * *", 360),
    ("0 0 * * *", 1440),
]


@given(st.sampled_from(MINUTES), st.integers(-3 * DAY_US, 3 * DAY_US), st.integers(0, 2 * DAY_US))
def test_a_cron_expression_of_even_steps_is_the_grid_of_that_step(
    schedule: tuple[str, int], us: int, length: int
) -> None:
    """On and beside the times, before the epoch too."""
    cron, grid = CronTimes(schedule[0]), Grid(schedule[1] * MINUTE_US)
    for at in (us, us // MINUTE_US * MINUTE_US, grid.floor(us), grid.floor(us) - 1):
        assert (cron.floor(at), cron.after(at)) == (grid.floor(at), grid.after(at))
        assert cron.between(at, at + length) == grid.between(at, at + length)


class Scans:
    """Rows that each scan read, by source."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[str, int] = {}
        real = LocalScanner.scan

        def scan(scanner: LocalScanner, request: ScanRequest) -> Scan:
            found = real(scanner, request)
            batches = list(found.batches)
            self.rows[request.source.name] = sum(batch.num_rows for batch in batches)
            return type(found)(found.schema, iter(batches), found.rejected)

        monkeypatch.setattr(LocalScanner, "scan", scan)


@pytest.mark.parametrize(("lookback", "rows"), [("0m", 2), ("1d", 4), ("23h", 3), (None, 10)])
def test_rows_beyond_the_lookback_are_not_read(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, lookback: str | None, rows: int
) -> None:
    """A day's run over two orders a day; the start of the lookback is inside, the end of the interval is not."""
    scans = Scans(monkeypatch)
    view = morning(
        schedule="0 5 * * *", lookback=lookback, sql="SELECT customer_id, count(*) AS total FROM orders GROUP BY 1"
    )
    store.backfill(view, "2026-01-04T05:00", "2026-01-05T05:00")
    assert scans.rows == {"orders": rows}
    assert totals(store, view, "2026-01-05T06:00") == [min(rows, 9)]


def test_of_a_batch_input_the_intervals_within_the_lookback_are_seen(store: FeatureStore) -> None:
    """A row whose event time is the run's end tells of the run's own interval; the start's tells of the one before."""
    daily = BatchSource("daily", inputs=[orders], schedule="1d", sql=SQL)
    store.backfill(daily, "2026-01-01")
    found = {}
    for lookback in ("0d", "1d", "2d"):
        view = BatchView(
            "sums",
            entity=customer,
            inputs=[daily],
            schedule="1d",
            lookback=lookback,
            sql="SELECT customer_id, sum(total) AS total FROM daily GROUP BY 1",
            features=["total"],
        )
        store.backfill(view, "2026-01-04", "2026-01-05")
        found[lookback] = totals(store, view, "2026-01-05")
    assert found == {"0d": [44], "1d": [44 + 33], "2d": [44 + 33 + 22]}


def test_all_that_a_lookback_reaches_of_a_batch_input_has_to_be_there(store: FeatureStore) -> None:
    """A backfill says what to run first; the scheduler runs it."""
    daily = BatchSource("daily", inputs=[orders], schedule="1d", sql=SQL)
    sql = "SELECT customer_id, sum(total) AS total FROM daily GROUP BY 1"
    view = BatchView("sums", entity=customer, inputs=[daily], schedule="1d", lookback="2d", sql=sql, features=["total"])
    store.apply(store.plan([view]))
    store.backfill("daily", "2026-01-03", "2026-01-04")
    with pytest.raises(NotBackfilledError, match="--start 2026-01-02T00:00:00Z --end 2026-01-05"):
        store.backfill("sums", "2026-01-04", "2026-01-05")
    assert [(one.source, one.intervals) for one in store.run_due().backfilled] == [("daily", 2), ("sums", 1)]
    assert totals(store, view, "2026-01-06") == [33 + 44 + 55]


def test_a_changed_lookback_is_another_meaning_said_in_words(store: FeatureStore) -> None:
    store.apply(store.plan([morning(lookback="1d")]))
    (change,) = [one for one in store.plan([morning(lookback="2d")]).effective() if one.kind == "source"]
    assert (change.action, change.details) == ("new_version", ("lookback changed: 1d -> 2d",))
    (change,) = [one for one in store.plan([morning(lookback="1d", schedule="1d")]).effective() if one.kind == "source"]
    assert change.details == ("schedule changed: 0 6 * * * -> 1d",)


def test_what_a_run_needs_of_a_slower_input_is_the_newest_that_is_due() -> None:
    """A daily run over a weekly source, whose newest one ended before the day began."""
    weekly = SourceSpec(
        name="w", kind="batch", event_time="event_time", batch=BatchSpec(inputs=(), every_us=7 * DAY_US)
    )
    daily = SourceSpec(
        name="d", kind="batch", event_time="event_time", batch=BatchSpec(inputs=(weekly,), every_us=DAY_US)
    )
    assert needed(daily, Interval(9 * DAY_US, 10 * DAY_US), weekly) == [Interval(0, 7 * DAY_US)]
    assert needed(daily, Interval(13 * DAY_US, 14 * DAY_US), weekly) == [Interval(7 * DAY_US, 14 * DAY_US)]
    assert seen(daily, Interval(0, DAY_US), weekly) is None


def test_a_coarse_source_that_was_never_run_makes_its_fine_input_run_first(
    store: FeatureStore, clock: FixedClock
) -> None:
    """From the beginning of the coarse one's newest interval on, through every step in between."""
    hourly = BatchSource("hourly", inputs=[orders], schedule="6h", sql=SQL)
    daily = BatchSource(
        "daily",
        inputs=[hourly],
        schedule="1d",
        sql="SELECT customer_id, sum(total) AS total FROM hourly GROUP BY 1",
        lookback="0d",
    )
    three = BatchSource(
        "three",
        inputs=[daily],
        schedule="3d",
        sql="SELECT customer_id, sum(total) AS total FROM daily GROUP BY 1",
        lookback="0d",
    )
    view = StateView("v", entity=customer, source=three, features=["total"])
    store.apply(store.plan([view]))
    newest = clock.now_us() // (3 * DAY_US) * 3 * DAY_US
    due = store.run_due()
    first = newest - 3 * DAY_US
    assert [(one.source, one.intervals) for one in due.backfilled] == [
        ("hourly", (clock.now_us() - first) // (6 * 60 * MINUTE_US)),
        ("daily", (clock.now_us() - first) // DAY_US),
        ("three", 1),
    ]
    assert store.run_due().backfilled == []
    days = [from_us(us).day for us in range(first, newest, DAY_US)]
    asked = {"customer_id": [7], "event_timestamp": [from_us(newest)]}
    found = store.get_historical_features(view, asked).to_arrow()["v__total"].to_pylist()
    assert found == [sum(11 * day for day in days)]
