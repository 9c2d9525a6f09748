"""Where history and stream meet: who owns which rows, what a worker starts from, and rows that are known later."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import Count, EventView, FeatureService, FeatureStore, StateView, Sum
from asof.clock import FixedClock, to_us
from asof.errors import RejectedRowsWarning, SchemaError
from asof.services.ingest import Batch
from tests.unit.stream_project import (
    CUSTOMER,
    NOW,
    SCHEMA,
    START,
    apply,
    archive,
    open_store,
    payments,
    read,
    row,
    train,
    write_history,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LATER = NOW + timedelta(days=1)
NOON = START + timedelta(hours=12)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    write_history(tmp_path, [row(1, 1), row(2, 2), row(30, 1000)])
    with open_store(tmp_path) as store:
        yield store


def spend(source: Any) -> EventView:
    return EventView("spend", entity=CUSTOMER, source=source, features=[Sum("amount", windows=["30d"])])


def test_rows_before_the_hand_over_are_refused_at_the_door_and_counted(store: FeatureStore) -> None:
    apply(store, spend(payments(history=archive(), handover=NOON)))
    store.materialize()
    found = store.push("payments", [row(3, 10), row(13, 20)])
    assert found.taken == 1
    assert found.refused == {0: "event time is before the hand-over at 2026-01-01T12:00:00Z: history has it"}
    assert read(store, "spend:amount_sum_30d") == 23
    assert train(store, "spend:amount_sum_30d", LATER) == 23


def test_each_version_keeps_the_hand_over_it_was_defined_with(store: FeatureStore) -> None:
    """A later hand-over does not take rows from the version that a service pins."""
    apply(store, FeatureService("fraud", features=[spend(payments(history=archive(), handover=NOON))]))
    later = spend(payments(history=archive(), handover=START + timedelta(days=2)))
    apply(store, FeatureService("fraud", features=[later]))
    store.materialize()
    found = store.push("payments", [row(3, 10), row(20, 20), row(60, 40)])
    assert list(found.refused) == [0]
    assert read(store, "spend@1:amount_sum_30d") == train(store, "spend@1:amount_sum_30d", LATER) == 3 + 60
    assert read(store, "spend@2:amount_sum_30d") == train(store, "spend@2:amount_sum_30d", LATER) == 1003 + 40


def test_versions_with_other_hand_overs_count_an_id_as_training_does(store: FeatureStore) -> None:
    first = payments(history=archive(), handover=NOON, event_id="payment_id")
    apply(store, FeatureService("fraud", features=[spend(first)]))
    store.materialize()
    store.push("payments", [row(20, 20)])
    second = payments(history=archive(), handover=START + timedelta(days=2), event_id="payment_id")
    apply(store, FeatureService("fraud", features=[spend(second)]))
    store.materialize()
    again = {**row(60, 40), "payment_id": 20}
    assert not store.push("payments", [again, row(30, 7), row(61, 80)]).behind
    for version in (1, 2):
        feature = f"spend@{version}:amount_sum_30d"
        assert read(store, feature) == train(store, feature, LATER)
    assert read(store, "spend@2:amount_sum_30d") == 1003 + 40 + 80


def test_a_row_of_history_that_becomes_known_later_makes_reads_stale_until_it_is_materialized(tmp_path: Path) -> None:
    rows = [{**row(1, 1), "known": NOW - timedelta(days=1)}, {**row(2, 2), "known": NOW + timedelta(hours=1)}]
    write_history(tmp_path, rows)
    table = pq.read_table(tmp_path / "old.parquet")
    known = pa.array([one["known"] for one in rows], pa.timestamp("us", "UTC"))
    pq.write_table(table.set_column(table.column_names.index("known"), "known", known), tmp_path / "old.parquet")
    clock = FixedClock(to_us(NOW))
    with open_store(tmp_path, clock) as store:
        apply(store, spend(payments(history=archive(available_at="known"), handover=NOON)))
        store.materialize()
        store.push("payments", [row(20, 20)])

        def status() -> tuple[Any, str]:
            found = store.get_online_features(["spend:amount_sum_30d"], {"customer_id": [7]})
            return found.to_dict()["spend__amount_sum_30d"][0], found.statuses["spend__amount_sum_30d"][0]

        assert status() == (21, "present")
        clock.set(to_us(NOW + timedelta(hours=2)))
        assert status() == (21, "stale")
        store.push("payments", [row(21, 100)])
        assert status() == (121, "stale")
        assert train(store, "spend:amount_sum_30d", LATER) == 123
        store.materialize()
        assert status() == (123, "present")


def archived(root: Path, count: int, first: int = 0) -> None:
    rows = [{**row(n, 10**n), "part": "0", "pos": n} for n in range(first, count)]
    write_history(root, rows)


def message(number: int, part: str = "0") -> Batch:
    table = pa.Table.from_pylist([row(number, 10**number)])
    return Batch(table, pa.array([part]), pa.array([number], pa.int64()), {part: number + 1})


def test_a_log_begins_after_the_newest_archived_message_and_tells_a_worker_so(tmp_path: Path) -> None:
    archived(tmp_path, 3)
    with open_store(tmp_path) as store:
        apply(store, spend(payments(history=archive(), positions=("part", "pos"))))
        store.materialize()
        assert read(store, "spend:amount_sum_30d") == 111
        archived(tmp_path, 4)  # which nobody has materialized
        writer = store.ingestor("payments")
        assert store.log.of("payments").head().positions == {"0": 4}
        assert [one.view for one in writer.begun] == ["spend"]
        assert read(store, "spend:amount_sum_30d") == 1111
        archived(tmp_path, 7)  # what the log is about to get
        writer.ingestor.take_in(message(4))
        assert writer.ingestor.take_in(message(3)).repeated == 1
        assert read(store, "spend:amount_sum_30d") == 11111
        assert train(store, "spend:amount_sum_30d", LATER) == 11111


def test_a_partition_that_the_archive_did_not_have_belongs_to_the_log(tmp_path: Path) -> None:
    archived(tmp_path, 2)
    with open_store(tmp_path) as store:
        apply(store, spend(payments(history=archive(), positions=("part", "pos"))))
        writer = store.ingestor("payments")
        store.materialize()
        rows = [{**row(n, 10**n), "part": "0", "pos": n} for n in range(2)]
        write_history(tmp_path, [*rows, {**row(2, 100), "part": "1", "pos": 0}])
        assert train(store, "spend:amount_sum_30d", LATER) == 11
        writer.ingestor.take_in(
            Batch(pa.Table.from_pylist([row(2, 100)]), pa.array(["1"]), pa.array([0], pa.int64()), {"1": 1})
        )
        assert read(store, "spend:amount_sum_30d") == train(store, "spend:amount_sum_30d", LATER) == 111


def test_a_writer_that_died_after_the_beginning_leaves_nothing_that_counts_twice(tmp_path: Path) -> None:
    """The log has begun, and a view is still from before: it is built again before anything is taken in."""
    archived(tmp_path, 3)
    with open_store(tmp_path) as store:
        apply(store, spend(payments(history=archive(), positions=("part", "pos"))))
        store.ingestor("payments")
    archived(tmp_path, 6)
    with open_store(tmp_path) as store:
        store.ingestor("payments").ingestor.take_in(message(3))
        store.materialize()
        assert read(store, "spend:amount_sum_30d") == train(store, "spend:amount_sum_30d", LATER) == 1111


def test_archive_positions_are_empty_without_an_archive(store: FeatureStore) -> None:
    apply(store, spend(payments(history=archive(), handover=NOON)))
    scanner = store._scanner({}, 2**26, 1)
    assert scanner.archive_positions(store.catalog().source("payments")) == {}


def test_a_history_that_lacks_a_column_is_refused_and_not_null(store: FeatureStore) -> None:
    with pytest.raises(SchemaError, match="Source 'old' has no column 'note'"):
        store.plan([spend(payments({**SCHEMA, "note": "string"}, history=archive(), handover=NOON))])


def test_a_row_of_history_without_a_time_is_set_apart_with_a_warning(tmp_path: Path) -> None:
    write_history(tmp_path, [row(1, 1), {**row(2, 2), "ts": None}])
    with open_store(tmp_path) as store:
        apply(store, spend(payments(history=archive(), handover=NOON)))
        with pytest.warns(RejectedRowsWarning, match="1 rows"):
            store.materialize()
        assert read(store, "spend:amount_sum_30d") == 1


def test_columns_are_those_of_history_where_none_are_declared(store: FeatureStore) -> None:
    from asof import StreamSource

    source = StreamSource("payments", event_time="ts", history=archive(), handover=NOON)
    apply(store, spend(source), StateView("now", entity=CUSTOMER, source=source, features=["payment_id"]))
    store.materialize()
    store.push("payments", [row(20, 20)])
    assert read(store, "now:payment_id") == 20


def test_a_new_key_over_a_source_with_ids_counts_events_whose_first_had_none(store: FeatureStore) -> None:
    """An event without a join key of a view is set apart there; another one with its id is then the first."""
    from asof import Entity

    shop = Entity("shop", join_keys={"shop_id": "int64"})
    source = payments({**SCHEMA, "shop_id": "int64"}, event_id="payment_id")
    apply(store, spend(source))
    store.push("payments", [row(1, 5)])
    visits = EventView("visits", entity=shop, source=source, features=[Count(windows=["30d"])])
    apply(store, spend(source), visits)
    with pytest.warns(RejectedRowsWarning, match="join key is null"):
        store.push("payments", [row(1, 6, shop_id=3)])
    found = store.get_online_features(["visits:count_30d"], {"shop_id": [3]}).to_dict()
    assert found["visits__count_30d"] == [1]
    assert read(store, "spend:amount_sum_30d") == 5
