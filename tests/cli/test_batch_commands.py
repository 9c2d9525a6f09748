"""Batch views on the command line: planned, backfilled, listed, and run when due."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asof.cli import session
from asof.clock import FixedClock, parse_instant
from tests.cli.conftest import FEATURES

if TYPE_CHECKING:
    from tests.cli.conftest import Project

GOLDEN = Path(__file__).parents[1] / "golden"
BATCH = """\
from asof import BatchSource, BatchView

daily = BatchView(
    "daily",
    entity=customer,
    inputs=[orders],
    schedule="1d",
    delay="2h",
    sql="SELECT customer_id, sum(amount) AS total FROM orders WHERE ts >= $start AND ts < $end GROUP BY 1",
    features=["total"],
)
best = BatchSource(
    "best",
    inputs=[daily],
    schedule="1d",
    delay="3h",
    sql="SELECT customer_id, max(total) AS most FROM daily GROUP BY 1",
)
record = StateView("record", entity=customer, source=best, features=["most"])
"""


@pytest.fixture
def batch(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return the project with a batch view and a batch source over it, on 4 January at noon."""
    project.write("features.py", FEATURES + BATCH)
    monkeypatch.setattr(session, "SystemClock", lambda: FixedClock(parse_instant("2026-01-04T12:00")))
    return project


def steady(text: str) -> str:
    """Return output without what differs from run to run: seconds, fingerprints, and the width of columns."""
    return re.sub(r" +", " ", re.sub(r"\b[0-9a-f]{12}\b", "F", re.sub(r"\d+\.\d\d\b", "S", text)))


def test_the_plan_lists_what_to_backfill_in_order(batch: Project) -> None:
    assert batch.run("plan").out == (GOLDEN / "plan_batch.txt").read_text(encoding="utf-8")


def test_the_plan_says_what_does_not_fit_a_schedule(batch: Project) -> None:
    """Cron expressions are shown as they are written."""
    batch.edit('schedule="1d"', 'schedule="0 6 * * *"')
    batch.edit('delay="2h"', 'delay="4h"')
    out = batch.run("plan").out
    assert "  daily, at 0 6 * * * UTC: asof backfill daily --start … --end …\n" in out
    assert (
        "To look at:\n"
        "  Batch source 'best' runs at 0 6 * * * UTC over 'daily', which publishes 4h after an interval's end: its "
        "runs, due 3h after it, do not see the interval that ends with theirs.\n"
    ) in out
    batch.run("apply")
    assert "batch over orders, at 0 6 * * * UTC" in steady(batch.run("list", "sources").out)
    assert "schedule 0 6 * * *" in steady(batch.run("describe", "daily").out)


def test_a_changed_query_is_a_new_version_said_in_words(batch: Project) -> None:
    batch.run("apply")
    batch.edit("sum(amount)", "max(amount)")
    assert batch.run("plan").out == (GOLDEN / "plan_batch_changed.txt").read_text(encoding="utf-8")


def test_a_backfill_says_what_it_did_and_the_ledger_keeps_it(batch: Project) -> None:
    batch.run("apply")
    assert batch.run("runs").out == "Nothing was run yet.\n"
    done = batch.run("backfill", "daily", "--start", "2026-01-01", "--workers", "1")
    assert (done.code, steady(done.out)) == (0, "daily: 3 intervals run, 0 done before, 1 row, S s\n")
    again = batch.run("backfill", "daily", "--start", "2026-01-01", "--end", "2026-01-03")
    assert steady(again.out) == "daily: 0 intervals run, 2 done before, 0 rows, S s\n"
    forced = json.loads(
        batch.run("backfill", "daily", "--start", "2026-01-01", "--force", "--workers", "1", "--json").out
    )
    assert (forced["intervals"], forced["skipped"]) == (3, 0)
    assert len(json.loads(batch.run("runs", "daily", "--json").out)) == 6
    shown = steady(batch.run("runs", "daily", "--limit", "1").out).splitlines()
    assert [line.strip() for line in shown] == [
        "source interval until run at rows seconds inputs error",
        "daily 2026-01-03T00:00:00Z 2026-01-04T00:00:00Z 2026-01-04T12:00:00Z 0 S orders 1 file F",
    ]


def test_a_backfill_out_of_order_says_what_to_run_first(batch: Project) -> None:
    batch.run("apply")
    done = batch.run("backfill", "record", "--start", "2026-01-01")
    assert done.code == 8
    assert "Fix: Run `asof backfill daily --start 2026-01-01T00:00:00Z --end 2026-01-02T00:00:00Z` first." in done.err


def test_run_once_does_what_is_due_and_exits(batch: Project) -> None:
    batch.run("apply")
    batch.run("backfill", "daily", "--start", "2026-01-01", "--end", "2026-01-03")
    first = batch.run("run", "--once")
    assert (first.code, first.out) == (
        0,
        "daily: 1 interval run, 0 rows\n"
        "best: 1 interval run, 1 row\n"
        "daily@1: 1 key materialized\n"
        "record@1: 1 key materialized\n"
        "Next: 2026-01-05T02:00:00Z\n",
    )
    assert batch.run("run", "--once").out == "Nothing is due.\nNext: 2026-01-05T02:00:00Z\n"
    assert json.loads(batch.run("run", "--once", "--json").out)["backfilled"] == []


def test_a_batch_source_is_described_by_what_it_runs(batch: Project) -> None:
    batch.run("apply")
    listed = steady(batch.run("list", "sources").out)
    assert "batch over orders, every 1d" in listed
    text = steady(batch.run("describe", "best").out)
    assert "inputs daily" in text
    assert "SELECT customer_id, max(total) AS most FROM daily GROUP BY 1" in text


def test_prune_lists_rows_that_nothing_reads_and_what_a_training_set_keeps(batch: Project) -> None:
    batch.write("features.py", FEATURES + BATCH + 'hot = FeatureService("hot", features=[record])\n')
    batch.run("apply")
    for name in ("daily", "best"):
        assert batch.run("backfill", name, "--start", "2026-01-01", "--workers", "1").code == 0
    batch.write("spine.csv", "customer_id,event_timestamp\n7,2026-01-04T10:00:00Z\n")
    made = batch.run("training-set", "create", "one", "--service", "hot", "--spine", str(batch.root / "spine.csv"))
    assert made.code == 0, made.err
    batch.write("features.py", FEATURES)
    batch.run("apply")
    done = batch.run("prune", "--yes")
    assert done.code == 0, done.err
    shown = re.sub(r"[0-9a-f]{16}", "MEANING", re.sub(r"[\d.]+ k?B", "SIZE", done.out))
    assert "Kept: batch rows best@MEANING, 3 intervals, SIZE, because training set one was made of it." in shown
    assert "  - batch rows daily@MEANING, 3 intervals, SIZE  nothing in the registry reads it" in shown
    kept = (batch.root / ".asof/offline/batch").iterdir()
    assert [path.name.partition("@")[0] for path in kept] == ["best"]
