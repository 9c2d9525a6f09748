"""Joining the files of a log: when it happens, that nobody reads other rows, and that cut short it loses nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asof import EventView, Sum
from asof.backends.local import disk
from asof.backends.local import log as log_module
from asof.backends.local.log import LocalLog, LocalSourceLog, arrivals_hash
from asof.clock import from_us
from asof.definitions.streams import ARRIVED_AT
from asof.errors import AsofError, ConflictError
from asof.interfaces.log import ENTRY, PARTITION, POSITION
from tests.unit.stream_project import CUSTOMER, NOW, apply, open_store, payments, read, row, train


class CutError(Exception):
    """The process ends here."""


def rows(values: list[int], at_us: int, position: int, **more: Any) -> pa.Table:
    columns = {
        "value": pa.array(values, pa.int64()),
        ARRIVED_AT: pa.array([from_us(at_us)] * len(values), pa.timestamp("us", "UTC")),
        PARTITION: pa.array(["0"] * len(values)),
        POSITION: pa.array(range(position, position + len(values)), pa.int64()),
    }
    return pa.table({**columns, **more})


def fill(log: LocalSourceLog, entries: int) -> None:
    """Append entries of one row, each with its number."""
    for _ in range(entries):
        head = log.head()
        number = head.sequence + 1
        log.append(head, rows([number], number, head.rows), {"0": head.rows + 1}, number)


def values(log: LocalSourceLog, after: int = 0, until: int | None = None) -> list[int]:
    return [
        value
        for _, table in log.read(after, log.head().sequence if until is None else until)
        for value in table["value"].to_pylist()
    ]


def names(log: LocalSourceLog) -> list[str]:
    return [f"{one.first}-{one.last}" for one in log.segments()]


@pytest.fixture
def log(tmp_path: Path) -> LocalSourceLog:
    return LocalLog(tmp_path).of("rows")


def directory(log: LocalSourceLog) -> Path:
    return Path(log._files.place())


def outlive(log: LocalSourceLog) -> None:
    """Make every file look older than whoever may be reading it."""
    past = time.time() - 2 * log_module._GRACE_S
    for segment in directory(log).iterdir():
        os.utime(segment, (past, past))


def test_sixty_four_entries_become_one_file_and_the_newest_stay_as_they_are(log: LocalSourceLog) -> None:
    fill(log, 130)
    before = values(log), log.head(), arrivals_hash(log, 100)
    assert log.compact() == 0
    assert names(log) == ["1-64", "65-128", "129-129", "130-130"]
    assert (values(log), log.head(), arrivals_hash(log, 100)) == before
    assert values(log, 60, 66) == [61, 62, 63, 64, 65, 66]
    assert LocalLog(directory(log).parent).of("rows").head() == before[1]


def test_joined_files_are_joined_again_but_not_with_every_new_entry(
    log: LocalSourceLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "JOIN_FILES", 4)
    written: list[str] = []
    join = LocalSourceLog._join

    def noted(self: LocalSourceLog, run: list[Any]) -> None:
        written.append(f"{run[0].first}-{run[-1].last}")
        join(self, run)

    monkeypatch.setattr(LocalSourceLog, "_join", noted)
    for _ in range(18):
        fill(log, 1)
        log.compact()
    assert written == ["1-4", "5-8", "9-12", "13-16", "1-16"]
    assert values(log) == list(range(1, 19))


def test_joined_files_go_once_nobody_can_be_reading_them(log: LocalSourceLog) -> None:
    fill(log, 64)
    reader = log.read(0, 64)
    log.compact()
    assert [value for _, table in reader for value in table["value"].to_pylist()] == list(range(1, 65))
    assert log.compact() == 0
    outlive(log)
    assert log.compact() == 64
    assert values(log) == list(range(1, 65))


def test_who_knew_the_end_before_finds_the_new_one_after_files_are_gone(log: LocalSourceLog) -> None:
    """However the files that it knew went: what it appends comes after what others appended."""
    fill(log, 64)
    log.compact()
    other = LocalLog(directory(log).parent).of("rows")
    assert other.head().sequence == 64
    fill(log, 70)
    log.compact()
    outlive(log)
    log.compact()
    assert not (directory(log) / "000000000065-000000000065.parquet").exists()
    stale = other._head
    assert other.head().sequence == 134
    fill(other, 1)
    assert values(log) == list(range(1, 136))
    with pytest.raises(ConflictError):
        fill_after(other, 134)
    assert stale.sequence == 64


def fill_after(log: LocalSourceLog, sequence: int) -> None:
    from dataclasses import replace

    head = replace(log.head(), sequence=sequence)
    log.append(head, rows([0], 10**6, 10**6), {"0": 10**6}, 10**6)


def test_entries_whose_columns_have_other_types_stay_apart(log: LocalSourceLog) -> None:
    fill(log, 40)
    for _ in range(70):
        head = log.head()
        number = head.sequence + 1
        wider = rows([number], number, head.rows, note=pa.array(["a"]))
        table = wider.set_column(0, "value", pa.array([float(number)]))
        log.append(head, table, {"0": head.rows + 1}, number)
    log.compact()
    assert names(log)[39:42] == ["40-40", "41-104", "105-105"]
    assert values(log) == list(range(1, 111))


@pytest.mark.parametrize("place", ["write", "sync", "link"])
def test_cut_short_anywhere_the_log_is_whole(log: LocalSourceLog, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    fill(log, 66)
    before = values(log), log.head()

    def cut(*_: object, **__: object) -> None:
        raise CutError

    with monkeypatch.context() as patch:
        if place == "write":
            patch.setattr(log_module, "conform", cut)
        elif place == "sync":
            patch.setattr(disk, "_sync", cut)
        else:
            patch.setattr("os.link", cut)
        with pytest.raises(CutError):
            log.compact()
    again = LocalLog(directory(log).parent).of("rows")
    assert (values(again), again.head()) == before
    again.compact()
    assert names(again) == ["1-64", "65-65", "66-66"]
    assert (values(again), again.head()) == before


def test_ingest_joins_files_and_no_read_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = EventView("spend", entity=CUSTOMER, source=payments(), features=[Sum("amount", windows=["30d"])])
    with open_store(tmp_path) as store:
        apply(store, view)
        for number in range(63):
            store.push("payments", [row(number)])
        folder = tmp_path / ".asof" / "offline" / "log" / "payments"
        assert not (folder / "000000000001-000000000064.parquet").exists()
        store.push("payments", [row(63)])
        assert (folder / "000000000001-000000000064.parquet").exists()

        def refused(_: object) -> int:
            raise AsofError("The disk is full")

        monkeypatch.setattr(LocalSourceLog, "compact", refused)
        for number in range(64):
            assert store.push("payments", [row(64 + number)]).taken == 1
        assert read(store, "spend:amount_sum_30d") == 128
        assert train(store, "spend:amount_sum_30d", NOW.replace(day=20)) == 128
        assert len(store.get_historical_features(["spend"], {"customer_id": [7], "event_timestamp": [NOW]})) == 1
        assert ENTRY not in [column.name for column in store.catalog().source("payments").columns]
