"""Stream sources in everything that reads definitions: checks, plans, lists, explanations, batch runs, pruning."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asof import BatchView, Entity, EventView, FeatureService, FileSource, FrameSource, StateView, StreamSource, Sum
from asof.cli import main
from asof.clock import FixedClock, from_us, to_us
from asof.errors import DefinitionError, SchemaError
from asof.interfaces.online import ViewKey
from asof.plan.wording import describe_change
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
    write_history,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof import FeatureStore

NOON = START + timedelta(hours=12)
ROLES = {**SCHEMA, "gone": "bool", "rate": "float64"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with open_store(tmp_path, FixedClock(to_us(NOW))) as store:
        yield store


def spend(source: Any, name: str = "spend", **more: Any) -> EventView:
    return EventView(name, entity=CUSTOMER, source=source, features=[Sum("amount", windows=["30d"])], **more)


def command(store: FeatureStore, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command line in the store's project and return what it says."""
    store.close()
    with pytest.raises(SystemExit) as ended:
        main(["--project", str(store.config.root), *arguments])
    assert not ended.value.code
    return capsys.readouterr().out


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"schema": {"ts": "timestamp", "amount": "int46"}}, r"'amount' as 'int46', which is no type.*[Dd]id you mean"),
    ({"schema": {"ts": "timestamp", "amount": "list<txt>"}}, "which is no type"),
    ({"schema": {"ts": "timestamp", "__entry": "int64"}}, "the log's own"),
    ({"schema": {"amount": "int64"}}, "no column 'ts' in its schema"),
    ({"schema": ROLES, "event_id": "id"}, "no column 'id' in its schema"),
    ({"schema": None}, "has no schema"),
    ({"delay": "1h"}, "says when its rows become known"),
    ({"available_at": "ts"}, "says when its rows become known"),
    ({"format": "xml"}, "Use one of json, avro, protobuf"),
    ({"handover": "2026-01-01"}, "Give history="),
    ({"history": archive()}, "how history and stream meet"),
    ({"history": archive(), "handover": NOON, "positions": ("part", "pos")}, "how history and stream meet"),
    ({"history": archive(), "handover": "noon"}, "has the handover 'noon'"),
    ({"history": FrameSource("old", {}, event_time="ts"), "handover": NOON}, "must be there for good"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_what_cannot_work_is_refused_when_it_is_defined(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        StreamSource("payments", **{"schema": ROLES, "event_time": "ts", **changes})


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"event_time": "amount"}, "'amount' of source 'payments' is int32, not a time"),
        ({"event_time": "ts", "event_id": "rate"}, "'rate' of source 'payments' cannot identify events"),
        ({"event_time": "ts", "event_id": "payment_id", "deleted": "amount"}, "is int32, not bool"),
    ],
)
def test_roles_of_the_wrong_type_are_refused_by_the_plan(
    store: FeatureStore, roles: dict[str, str], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        store.plan([spend(StreamSource("payments", schema=ROLES, **roles))])  # type: ignore[arg-type]


def test_retractions_without_an_id_are_refused(store: FeatureStore) -> None:
    with pytest.raises(DefinitionError, match="event_id"):
        store.plan([spend(StreamSource("payments", schema=ROLES, event_time="ts", deleted="gone"))])


def test_a_stream_may_be_an_input_of_a_batch_view(store: FeatureStore) -> None:
    daily = BatchView(
        "daily",
        entity=CUSTOMER,
        inputs=[payments()],
        schedule="1d",
        sql="SELECT customer_id, sum(amount) AS total FROM payments WHERE ts < $end GROUP BY 1",
        features=["total"],
    )
    apply(store, daily)
    store.push("payments", [row(1, 5), row(2, 6), row(30, 100)])
    store.clock.set(to_us(NOW + timedelta(days=2)))  # type: ignore[attr-defined] # it is a FixedClock
    store.backfill("daily", NOW - timedelta(days=1), NOW + timedelta(days=2))
    store.materialize()
    assert read(store, "daily:total") == 111
    assert [run.inputs for run in store.runs("daily")] == [(("payments", "entry 1"),)] * 3
    spine = {"customer_id": [7], "event_timestamp": [NOW]}
    found = store.get_historical_features(["daily:total"], spine).to_arrow()
    assert found["daily__total"].to_pylist() == [None], "nothing had arrived"


def test_one_service_reads_stream_and_file_views_together(store: FeatureStore) -> None:
    write_history(store.config.root, [row(1, 3)])
    views = [spend(payments()), StateView("old", entity=CUSTOMER, source=archive(), features=["payment_id"])]
    apply(store, FeatureService("fraud", features=views))
    store.materialize()
    store.push("payments", [row(2, 5)])
    found = store.get_online_features("fraud", {"customer_id": [7]}).to_dict()
    assert (found["spend__amount_sum_30d"], found["old__payment_id"]) == ([5], [1])


def test_a_plan_says_in_words_what_changes_about_a_stream(store: FeatureStore) -> None:
    write_history(store.config.root, [row(1, 3)])
    apply(store, spend(payments(topic="paid", history=archive(), handover=NOON)))
    later = payments(topic="pay", format="avro", history=archive(delay="1h"), handover=NOON + timedelta(days=1))
    old = store.catalog().source("payments")
    apply(store, spend(later))
    assert describe_change(old, store.catalog().source("payments")) == (
        "topic changed: paid -> pay",
        "format changed: json -> avro",
        "history old: delay changed: 0 -> 1h",
        "handover changed: 2026-01-01T12:00:00Z -> 2026-01-02T12:00:00Z",
    )


def test_freshness_is_metadata_that_a_plan_names(store: FeatureStore) -> None:
    apply(store, spend(payments(), freshness="5s"))
    store.push("payments", [row(1, 3)])
    plan = store.plan([spend(payments(), freshness="1m")])
    assert [change.details for change in plan.changes if change.kind == "view"] == [("freshness changed: 5s -> 1m",)]
    store.apply(plan, who="ada")
    assert [view.version for view in store.catalog().views()] == [1]
    assert read(store, "spend:amount_sum_30d") == 3


def test_describe_and_list_say_where_rows_come_from(store: FeatureStore, capsys: pytest.CaptureFixture[str]) -> None:
    write_history(store.config.root, [row(1, 3)])
    apply(store, spend(payments(topic="paid", history=archive(), handover=NOON), freshness="5s"))
    assert [one.about for one in store.list("source")] == ["topic paid (json) after old"]
    told = command(store, capsys, "describe", "payments")
    assert "stream       topic paid (json) after old" in told
    assert "history      old, parquet old.parquet, event times before 2026-01-01T12:00:00Z" in told
    assert "available at arrival" in told
    assert "__available_at" not in told
    assert "freshness    5s" in command(store, capsys, "describe", "spend")


def test_lineage_goes_back_to_the_history_of_a_stream(store: FeatureStore) -> None:
    write_history(store.config.root, [row(1, 3)])
    apply(store, spend(payments(history=archive(), handover=NOON)))
    found = store.lineage("spend")
    assert ("old", "payments") in {(link.used.name, link.user.name) for link in found.upstream}


def test_explain_shows_rows_of_the_log_with_their_arrival(store: FeatureStore) -> None:
    apply(store, spend(payments()))
    first = store.push("payments", [row(1, 5)]).at_us
    store.clock.set(to_us(NOW) + 1_000_000)  # type: ignore[attr-defined] # it is a FixedClock
    second = store.push("payments", [row(2, 6)]).at_us
    store.clock.set(to_us(NOW) + 2_000_000)  # type: ignore[attr-defined]
    found = store.explain("spend:amount_sum_30d", {"customer_id": 7})
    assert [one.available_at for one in found.rows] == [from_us(second), from_us(first)]
    assert found.agree
    before = store.explain("spend:amount_sum_30d", {"customer_id": 7}, at=from_us(second - 1))
    assert [one.available_at for one in before.rows] == [from_us(first)]
    assert [(one.cause, one.count) for one in before.outside] == [("not_yet_available", 1)]


def test_status_lists_views_and_prune_keeps_the_ids_while_their_source_is_there(store: FeatureStore) -> None:
    source = payments(event_id="payment_id")
    apply(store, spend(source), spend(source, "other"))
    store.push("payments", [row(1, 5)])
    ids = ViewKey("shop", "payments#ids", 0)
    assert ids in store.online.generations("shop")
    assert [view.view for view in store.status().views] == ["other", "spend"]
    assert not store.plan_prune()
    store.apply(store.plan([spend(source)]), who="ada")
    store.prune(store.plan_prune())
    assert set(store.online.generations("shop")) == {ids, ViewKey("shop", "spend", 1)}
    store.push("payments", [row(1, 5), row(2, 6)])
    assert read(store, "spend:amount_sum_30d") == 11


def test_prune_removes_the_ids_with_the_source_and_no_log(
    store: FeatureStore, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(store, spend(payments(event_id="payment_id")))
    store.push("payments", [row(1, 5)])
    store.apply(store.plan([Entity("customer", join_keys={"customer_id": "int64"})]), who="ada")
    told = command(store, capsys, "prune", "--yes")
    assert "online storage of the event ids of payments" in told
    assert store.online.generations("shop") == {}
    apply(store, spend(payments(event_id="payment_id")))
    store.push("payments", [row(1, 5), row(2, 6)])
    assert read(store, f"spend@{store.catalog().views()[0].version}:amount_sum_30d") == 11


def test_a_source_that_is_renamed_has_a_log_of_its_own(store: FeatureStore) -> None:
    apply(store, spend(payments()))
    store.push("payments", [row(1, 5)])
    apply(store, spend(StreamSource("paid", schema=SCHEMA, event_time="ts")))
    store.push("paid", [row(1, 7)])
    assert read(store, "spend@1:amount_sum_30d") == 5
    assert read(store, "spend@2:amount_sum_30d") == 7


def test_a_file_source_that_becomes_a_stream_keeps_its_rows_as_history(store: FeatureStore) -> None:
    write_history(store.config.root, [row(1, 3)])
    apply(store, spend(FileSource("payments", path="old.parquet", event_time="ts")))
    apply(store, spend(payments(history=archive(), handover=NOON)))
    store.materialize()
    store.push("payments", [row(20, 5)])
    assert read(store, "spend@2:amount_sum_30d") == 8
