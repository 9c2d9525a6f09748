"""Lineage names what a feature, source, column or service is made of, and what is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asof import (
    BatchSource,
    Count,
    Entity,
    EventView,
    FeatureService,
    FeatureStore,
    FileSource,
    OnDemandView,
    RequestField,
    StateView,
    Sum,
    on_demand,
)
from asof.errors import InputError, NotFoundError
from asof.plan.lineage import Link, Node, steps, trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from asof.definitions.collection import Definition

A, B, C, D = (Node("view", name) for name in "abcd")


def definitions(hours: str = "1h") -> list[Definition]:
    customer = Entity("customer", join_key="customer_id")
    orders = FileSource("orders", path="orders.csv", event_time="ts", event_id="id")
    people = FileSource("people", path="people.csv", event_time="since")
    totals = [Sum("amount", windows=[hours], where="Amount < 9 AND lower(note) = 'x'"), Count(windows=[hours])]
    spend = EventView("spend", entity=customer, source=orders, features=totals, where="status = 'settled'")
    profile = StateView("profile", entity=customer, source=people, features=["country"])
    services = [FeatureService("fraud", features=[spend, profile]), FeatureService("score", features=[profile])]
    return [customer, orders, people, spend, profile, *services]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    (tmp_path / "asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    orders = "id,customer_id,ts,amount,status,note,unused\n1,7,2026-01-01T00:00:00Z,2.5,settled,x,1\n"
    (tmp_path / "orders.csv").write_text(orders, encoding="utf-8")
    (tmp_path / "people.csv").write_text("customer_id,since,country\n7,2025-01-01T00:00:00Z,NL\n", encoding="utf-8")
    with FeatureStore(tmp_path) as opened:
        opened.apply(opened.plan(definitions()))
        yield opened


def said(found: Iterable[Link]) -> set[str]:
    return {f"{link.used} -> {link.user}" + (f" ({', '.join(link.roles)})" if link.roles else "") for link in found}


def test_a_feature_is_made_of_columns_with_roles_and_is_used_by_services(store: FeatureStore) -> None:
    found = store.lineage("spend:amount_sum_1h")
    assert found.nodes == (Node("feature", "spend@1:amount_sum_1h"),)
    assert said(found.downstream) == {"feature spend@1:amount_sum_1h -> service fraud@1"}
    assert {line for line in said(found.upstream) if line.startswith(("column", "entity", "view"))} == {
        "column orders.amount -> feature spend@1:amount_sum_1h (input, where)",
        "column orders.note -> feature spend@1:amount_sum_1h (where)",
        "view spend@1 -> feature spend@1:amount_sum_1h",
        "column orders.customer_id -> view spend@1 (join key)",
        "column orders.ts -> view spend@1 (event time)",
        "column orders.id -> view spend@1 (event id)",
        "column orders.status -> view spend@1 (where)",
        "entity customer -> view spend@1",
    }


def test_everything_below_a_source_or_a_column_is_found(store: FeatureStore) -> None:
    below = {link.user.name for link in store.lineage("orders").downstream}
    assert {"spend@1", "spend@1:amount_sum_1h", "spend@1:count_1h", "fraud@1", "orders.note"} <= below
    assert not below & {"profile@1", "score@1", "orders.unused"}
    assert {link.user.name for link in store.lineage("orders.note").downstream} == {"spend@1:amount_sum_1h", "fraud@1"}
    unused = store.lineage("orders.unused")
    assert (unused.nodes, unused.upstream, unused.downstream) == ((Node("column", "orders.unused"),), (), ())


def test_a_service_is_made_of_all_that_it_pins(store: FeatureStore) -> None:
    found = store.lineage("score")
    assert {link.used.name for link in found.upstream} == {
        *("profile@1:country", "profile@1", "customer", "people"),
        *("people.country", "people.customer_id", "people.since"),
    }
    assert found.downstream == ()


def test_versions_that_a_service_pins_are_part_of_it(store: FeatureStore) -> None:
    """After a change the old service version still stands on the old view version."""
    store.apply(store.plan(definitions("2h")))
    assert {link.user.name for link in store.lineage("spend@1").downstream} >= {"spend@1:count_1h", "fraud@1"}
    assert "fraud@2" not in {link.user.name for link in store.lineage("spend@1").downstream}
    assert {link.user.name for link in store.lineage("spend").downstream} >= {"spend@2:count_2h", "fraud@2"}
    assert {link.used.name for link in store.lineage("fraud@1").upstream} >= {"spend@1:count_1h", "spend@1"}


def test_removed_objects_are_traced_by_name_only(store: FeatureStore) -> None:
    store.apply(store.plan([one for one in definitions() if one.name not in ("fraud", "score")]))
    assert {link.used.name for link in store.lineage("score").upstream} >= {"profile@1:country"}
    assert store.lineage("profile:country").downstream == ()


def test_without_a_reference_everything_is_below_the_sources_and_entities(store: FeatureStore) -> None:
    found = store.lineage()
    assert [str(node) for node in found.nodes] == ["source orders", "source people", "entity customer"]
    assert {"fraud@1", "score@1"} <= {link.user.name for link in found.downstream}


@pytest.mark.parametrize("reference", ["nothing", "spend@9", "spend:nothing", "orders.amuont", "nothing.amount"])
def test_what_is_not_there_is_not_found(store: FeatureStore, reference: str) -> None:
    with pytest.raises(NotFoundError):
        store.lineage(reference)


def test_a_text_that_is_no_reference_is_refused(store: FeatureStore) -> None:
    with pytest.raises(InputError):
        store.lineage("9 lives")


def test_a_feature_of_an_on_demand_view_stands_between_what_it_reads_and_its_services(store: FeatureStore) -> None:
    known = definitions()
    spend = known[3]
    assert isinstance(spend, EventView)
    features = [
        on_demand.ratio("ratio", "spend__amount_sum_1h", "limit"),
        on_demand.sql("double", "2 * spend__count_1h"),
    ]
    pressure = OnDemandView("pressure", inputs=[spend], request=[RequestField("limit", "float64")], features=features)
    over = OnDemandView("over", inputs=[pressure["ratio"]], features=[on_demand.sql("half", "pressure__ratio / 2")])
    store.apply(store.plan([*known, pressure, over, FeatureService("risk", features=[over])]))

    found = store.lineage("pressure:ratio")
    assert found.nodes == (Node("feature", "pressure@1:ratio"),)
    assert said(found.downstream) == {
        "feature pressure@1:ratio -> feature over@1:half",
        "feature over@1:half -> service risk@1",
    }
    above = {link.used.name for link in found.upstream}
    assert {"spend@1:amount_sum_1h", "spend@1", "orders.amount"} <= above
    assert "spend@1:count_1h" not in above
    whole = store.lineage("pressure")
    assert [node.name for node in whole.nodes] == ["pressure@1:ratio", "pressure@1:double"]
    assert {"feature spend@1:count_1h -> feature pressure@1:double"} <= said(whole.upstream)
    assert "risk@1" in {link.user.name for link in store.lineage("orders.amount").downstream}
    assert "orders.amount" in {link.used.name for link in store.lineage("risk").upstream}
    store.apply(store.plan([*definitions("2h")]))
    assert "orders.amount" in {link.used.name for link in store.lineage("risk@1").upstream}
    assert "orders.amount" in {link.used.name for link in store.lineage("over@1:half").upstream}


def test_a_batch_source_that_no_view_reads_is_below_its_inputs(store: FeatureStore) -> None:
    known = definitions()
    orders = known[1]
    assert isinstance(orders, FileSource)
    daily = BatchSource("daily", inputs=[orders], schedule="1d", sql="SELECT customer_id, amount FROM orders")
    store.apply(store.plan([*known, daily]))
    assert "source orders -> source daily (input)" in said(store.lineage("orders").downstream)
    assert said(store.lineage("daily").upstream) == {"source orders -> source daily (input)"}


def test_links_of_any_kind_of_node_are_walked_and_cycles_end() -> None:
    every = [Link(A, B), Link(B, C), Link(C, B), Link(A, D)]
    found = trace(every, [C])
    assert set(found.upstream) == {Link(A, B), Link(B, C), Link(C, B)}
    assert set(found.downstream) == {Link(B, C), Link(C, B)}
    assert [(step.depth, step.node, step.again) for step in steps(found.upstream, C, upstream=True)] == [
        (0, B, False),
        (1, A, False),
        (1, C, True),
    ]
