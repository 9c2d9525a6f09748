"""Training sets made of streams: rebuilt to the same bytes whatever has arrived since, or saying what is gone."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from asof import DeltaSource, EventView, FeatureService, Label, Sum
from asof.clock import FixedClock, to_us
from asof.errors import SourceError
from tests.unit.stream_project import (
    CUSTOMER,
    NOW,
    START,
    apply,
    archive,
    open_store,
    payments,
    row,
    write_history,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof import FeatureStore

NOON = START + timedelta(hours=12)
SPINE = {"customer_id": [7, 8], "event_timestamp": [NOW + timedelta(days=1), NOW + timedelta(days=1)]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    write_history(tmp_path, [row(1, 1), row(2, 2)])
    with open_store(tmp_path, FixedClock(to_us(NOW))) as store:
        yield store


def fraud(source: Any) -> FeatureService:
    view = EventView("spend", entity=CUSTOMER, source=source, features=[Sum("amount", windows=["30d"])])
    return FeatureService("fraud", features=[view])


def test_a_rebuild_reads_the_log_up_to_its_entry_however_it_grew_or_was_joined(store: FeatureStore) -> None:
    apply(store, fraud(payments(history=archive(), handover=NOON)))
    for number in range(20, 30):
        store.push("payments", [row(number, number)])
    made = store.create_training_set("first", "fraud", SPINE)
    recorded = made.manifest.inputs[0]
    assert (recorded.kind, recorded.entry, recorded.rows) == ("stream", 10, 10)
    assert recorded.history[0].files[0].path == "old.parquet"
    before = (made.path / "data.parquet").read_bytes()
    for number in range(30, 90):
        store.push("payments", [row(number, 1000)])
    assert (store.config.root / ".asof/offline/log/payments/000000000001-000000000064.parquet").exists()
    again = store.rebuild_training_set("first")
    assert (again.path / "data.parquet").read_bytes() == before
    assert again.to_arrow()["spend__amount_sum_30d"].to_pylist() == [3 + sum(range(20, 30)), None]


def test_a_rebuild_reads_the_version_of_a_delta_history_that_was_there(store: FeatureStore) -> None:
    def table(*rows: dict[str, Any]) -> pa.Table:
        found = pa.Table.from_pylist(list(rows))
        return found.set_column(1, "ts", found["ts"].cast(pa.timestamp("us", "UTC")))

    place = store.config.root / "old"
    write_deltalake(str(place), table(row(1, 1)))
    past = DeltaSource("old", path="old", event_time="ts")
    apply(store, fraud(payments(history=past, handover=NOON)))
    store.push("payments", [row(20, 20)])
    made = store.create_training_set("first", "fraud", SPINE)
    before = (made.path / "data.parquet").read_bytes()
    write_deltalake(str(place), table(row(2, 1000)), mode="append")
    store.push("payments", [row(21, 1000)])
    again = store.rebuild_training_set("first")
    assert (again.path / "data.parquet").read_bytes() == before


def test_an_archive_counts_as_it_did_before_the_log_began(store: FeatureStore) -> None:
    rows = [{**row(n, 10**n), "part": "0", "pos": n} for n in range(3)]
    write_history(store.config.root, rows)
    apply(store, fraud(payments(history=archive(), positions=("part", "pos"))))
    made = store.create_training_set("first", "fraud", SPINE)
    before = (made.path / "data.parquet").read_bytes()
    store.push("payments", [row(30, 7)])
    again = store.rebuild_training_set("first")
    assert (again.path / "data.parquet").read_bytes() == before


def test_a_label_may_come_from_a_stream(store: FeatureStore) -> None:
    apply(store, fraud(payments(history=archive(), handover=NOON)))
    store.push("payments", [row(20, 20)])
    label = Label("payments", "amount", window="1d", aggregate="sum", name="paid")
    store.clock.set(to_us(NOW) + 1_000_000)  # type: ignore[attr-defined] # it is a FixedClock
    spine = {"customer_id": [7], "event_timestamp": [START + timedelta(hours=2)]}
    made = store.create_training_set("first", "fraud", spine, label=label)
    assert made.to_arrow()["paid"].to_pylist() == [20]
    store.push("payments", [row(21, 1000)])
    assert store.rebuild_training_set("first").to_arrow()["paid"].to_pylist() == [20]


def test_what_is_gone_is_named(store: FeatureStore) -> None:
    apply(store, fraud(payments(history=archive(), handover=NOON)))
    store.push("payments", [row(20, 20)])
    store.push("payments", [row(21, 20)])
    store.create_training_set("first", "fraud", SPINE)
    log = store.config.root / ".asof" / "offline" / "log" / "payments"
    log.joinpath("000000000002-000000000002.parquet").rename(store.config.root / "kept")
    with pytest.raises(SourceError, match="source payments: its log ends at entry 1, before entry 2 that was read"):
        store.rebuild_training_set("first")
    store.config.root.joinpath("kept").rename(log / "000000000002-000000000002.parquet")
    write_history(store.config.root, [row(1, 5)])
    with pytest.raises(SourceError, match=r"source old: file old\.parquet changed"):
        store.rebuild_training_set("first")
    shutil.rmtree(log)
    with pytest.raises(SourceError, match="its log ends at entry 0"):
        store.rebuild_training_set("first")


def test_another_log_in_its_place_is_noticed(store: FeatureStore) -> None:
    apply(store, fraud(payments(history=archive(), handover=NOON)))
    store.push("payments", [row(20, 20)])
    store.create_training_set("first", "fraud", SPINE)
    shutil.rmtree(store.config.root / ".asof" / "offline" / "log" / "payments")
    store.clock.set(to_us(NOW) + 1_000_000)  # type: ignore[attr-defined] # it is a FixedClock
    store.close()
    with open_store(store.config.root, FixedClock(to_us(NOW) + 5)) as other:
        other.push("payments", [row(20, 20)])
        with pytest.raises(SourceError, match="has other rows up to entry 1"):
            other.rebuild_training_set("first")
