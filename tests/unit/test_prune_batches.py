"""Prune deletes rows of batch sources that nothing reads, and keeps what is read, pinned, or in a training set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asof import BatchSource, BatchView, Entity, FeatureService, FeatureStore, FileSource
from asof.clock import FixedClock, from_us, parse_instant
from asof.errors import ConflictError, CorruptDataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof.services.prune_batches import PublishedRows

NOW_US = parse_instant("2026-01-04T12:00")
customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="orders.csv", event_time="ts")
SQL = "SELECT customer_id, {}(amount) AS total FROM orders WHERE ts >= $start AND ts < $end GROUP BY 1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    (tmp_path / "orders.csv").write_text("customer_id,ts,amount\n7,2026-01-01T10:00Z,1\n".replace("00Z", "00:00Z"))
    with FeatureStore(tmp_path, clock=FixedClock(NOW_US)) as opened:
        yield opened


def view(aggregate: str) -> BatchView:
    return BatchView(
        "daily",
        entity=customer,
        inputs=[BatchSource("base", inputs=[orders], schedule="1d", sql=SQL.format(aggregate))],
        schedule="1d",
        sql="SELECT * EXCLUDE (event_time) FROM base",
        features=["total"],
    )


def service(aggregate: str) -> FeatureService:
    return FeatureService("fraud", features=[view(aggregate)])


def run(store: FeatureStore, *objects: object) -> None:
    """Apply, then run three days of whatever is newest."""
    store.apply(store.plan(objects))  # type: ignore[arg-type]
    for name in ("base", "daily"):
        store.backfill(name, "2026-01-01", workers=1)


def folders(store: FeatureStore) -> list[str]:
    return sorted(path.name for path in (store.config.root / store.config.offline / "batch").iterdir())


def names(rows: tuple[PublishedRows, ...]) -> list[str]:
    return [one.folder.partition("@")[0] for one in rows]


def test_rows_that_something_reads_stay_with_those_of_their_inputs(store: FeatureStore) -> None:
    """Also where an old version of a service pins the view."""
    run(store, service("sum"))
    run(store, service("max"))
    store.prune()
    assert not store.plan_prune()
    assert len(folders(store)) == 4


def test_rows_of_an_old_meaning_go_and_the_plan_says_how_many(store: FeatureStore) -> None:
    run(store, view("sum"))
    before = folders(store)
    run(store, view("max"))
    plan = store.plan_prune()
    assert names(plan.batches) == ["base", "daily"]
    assert [(one.intervals, one.why) for one in plan.batches] == [(3, "nothing in the registry reads it")] * 2
    assert plan.batches[0].size_bytes > 0
    store.prune(plan)
    assert not set(before) & set(folders(store))
    assert len(folders(store)) == 2
    assert not store.plan_prune()


def test_what_a_training_set_was_made_of_stays_and_it_can_be_rebuilt(store: FeatureStore) -> None:
    """What its input was made of itself may go: a rebuild reads the recorded files."""
    run(store, service("sum"))
    spine = {"customer_id": [7], "event_timestamp": [from_us(NOW_US)]}
    made = store.create_training_set("march", "fraud", spine)
    run(store, view("max"))
    plan = store.plan_prune()
    assert (names(plan.batches), names(plan.kept)) == (["base"], ["daily"])
    assert plan.kept[0].why == "training set march was made of it"
    store.delete_training_set("march")
    assert names(store.plan_prune().batches) == ["base", "daily"]
    assert made.manifest.rows == 1


def test_a_pinned_service_s_training_set_is_rebuilt_after_a_prune(store: FeatureStore) -> None:
    run(store, service("sum"))
    spine = {"customer_id": [7], "event_timestamp": [from_us(NOW_US)]}
    made = store.create_training_set("march", "fraud", spine)
    run(store, service("max"))
    store.prune()
    assert store.rebuild_training_set("march").manifest == made.manifest


def test_while_a_manifest_is_damaged_no_rows_go(store: FeatureStore) -> None:
    run(store, service("sum"))
    made = store.create_training_set("march", "fraud", {"customer_id": [7], "event_timestamp": [from_us(NOW_US)]})
    (made.path / "manifest.json").write_text("{", encoding="utf-8")
    run(store, view("max"))
    plan = store.plan_prune()
    assert (names(plan.batches), names(plan.kept)) == ([], ["base", "daily"])
    assert "training set march is damaged" in plan.kept[0].why


def test_rows_do_not_go_where_someone_applied_in_between(store: FeatureStore) -> None:
    run(store, view("sum"))
    run(store, view("max"))
    store.prune()
    store.backfill(view("min").source.inputs[0], "2026-01-01", workers=1)  # type: ignore[attr-defined]
    plan = store.plan_prune()
    assert (plan.items, names(plan.batches)) == ((), ["base"])
    store.apply(store.plan([view("min")]))
    with pytest.raises(ConflictError, match="no longer at revision"):
        store.prune(plan)
    assert len(folders(store)) == 3


def test_a_damaged_training_set_is_told_and_the_others_are_listed(store: FeatureStore) -> None:
    run(store, service("sum"))
    spine = {"customer_id": [7], "event_timestamp": [from_us(NOW_US)]}
    for name in ("april", "march", "may"):
        store.create_training_set(name, "fraud", spine)
    root = store.training_set("march").path
    (root / "manifest.json").write_text('{"format": 99}', encoding="utf-8")
    (store.training_set("may").path / "manifest.json").unlink()
    told: dict[str, str] = {}
    found = store.training_sets(lambda name, error: told.update({name: error.why}))
    assert [one.name for one in found] == ["april"]
    assert told == {
        "march": "Its format is 99, and this library reads 1",
        "may": "It holds no manifest.json",
    }
    with pytest.raises(CorruptDataError, match="'march'"):
        store.training_sets()
