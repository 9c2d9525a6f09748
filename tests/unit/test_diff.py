"""A plan says what an apply would do: versions only where the meaning changed, and every difference in words."""

from __future__ import annotations

from typing import Any

import pytest

from asof import Count, Entity, EventView, FeatureService, FileSource, Last, StateView, Sum, Window
from asof.definitions.collection import Definitions
from asof.interfaces.registry import RegistrySnapshot, StoredObject
from asof.plan.diff import Plan, PlannedChange, make_plan
from asof.plan.graph import downstream
from asof.plan.registered import encode_spec
from asof.plan.resolve import SourceSchema, resolve_entity, resolve_source, resolve_view
from asof.plan.resolved import Resolved
from asof.plan.specs import ServiceFeature, ServiceSpec, meaning_hash
from asof.services.apply import summarize
from asof.services.catalog import Catalog

COLUMNS = {
    "customer_id": "int64",
    "ts": "timestamp",
    "loaded": "timestamp",
    "id": "string",
    "amount": "float64",
    "fee": "float64",
    "country": "string",
}


def resolve(*objects: object, columns: dict[str, str] = COLUMNS) -> Resolved:
    found = Definitions.of(("test", o) for o in objects)
    schemas = {s.name: SourceSchema(s.name, dict(columns)) for s in found.sources}
    sources = {s.name: resolve_source(s, schemas[s.name]) for s in found.sources}
    entities = {e.name: resolve_entity(e, schemas.values()) for e in found.entities}
    return Resolved(
        entities=tuple(entities.values()),
        sources=tuple(sources.values()),
        views=tuple(
            resolve_view(v, entities[v.entity.name], sources[v.source.name], schemas[v.source.name])
            for v in found.views
        ),
        services=tuple(
            ServiceSpec(
                name=s.name,
                features=tuple(ServiceFeature(view=v.name, view_version=0, feature=f) for v, f in s.features),
                description=s.description,
            )
            for s in found.services
        ),
    )


class World:
    """A registry in memory that takes plans as the real one does."""

    def __init__(self) -> None:
        self.snapshot = RegistrySnapshot(0, {})

    def plan(self, *objects: object, columns: dict[str, str] = COLUMNS) -> Plan:
        return make_plan(Catalog(self.snapshot).registered(), resolve(*objects, columns=columns), {"tx": 1000})

    def apply(self, *objects: object) -> Plan:
        plan = self.plan(*objects)
        stored = dict(self.snapshot.objects)
        number = self.snapshot.revision + 1
        for c in plan.effective():
            if c.spec is not None:
                body, meaning = encode_spec(c.spec), meaning_hash(c.spec)
                stored[c.kind, c.name, c.version] = StoredObject(c.kind, c.name, c.version, body, meaning, number)
            for version in c.hides:
                old = stored[c.kind, c.name, version]
                stored[c.kind, c.name, version] = StoredObject(
                    old.kind, old.name, version, old.body, old.meaning, old.revision, hidden=True
                )
        self.snapshot = RegistrySnapshot(number, stored)
        return plan


def spend(**change: Any) -> EventView:
    settings: dict[str, Any] = {
        "entity": Entity("customer", join_key="customer_id"),
        "source": FileSource("tx", "tx.parquet", event_time="ts"),
        "features": [Sum("amount", windows=["1h"]), Count(windows=["1h"])],
    }
    return EventView("spend", **(settings | change))


def change_of(plan: Plan, kind: str, name: str) -> PlannedChange:
    return next(c for c in plan.changes if (c.kind, c.name) == (kind, name))


def test_the_first_plan_creates_everything_and_backfills_every_view() -> None:
    view = spend()
    plan = World().plan(FeatureService("fraud", features=[view]))
    assert [(c.kind, c.name, c.action, c.version) for c in plan.changes] == [
        ("entity", "customer", "create", 1),
        ("source", "tx", "create", 1),
        ("view", "spend", "create", 1),
        ("service", "fraud", "create", 1),
    ]
    assert plan.expected_revision == 0
    assert [(b.view, b.version, b.source, b.size_bytes) for b in plan.backfills] == [("spend", 1, "tx", 1000)]
    assert plan.touched == (
        (("source", "tx"), ("view", "spend")),
        (("entity", "customer"), ("view", "spend")),
        (("view", "spend"), ("service", "fraud")),
    )
    assert summarize(plan) == "1 entity created, 1 source created, 1 view created, 1 service created"


def test_planning_what_is_applied_changes_nothing() -> None:
    world = World()
    world.apply(FeatureService("fraud", features=[spend()]))
    plan = world.plan(FeatureService("fraud", features=[spend()]))
    assert not plan
    assert {c.action for c in plan.changes} == {"unchanged"}
    assert (plan.touched, plan.backfills) == ((), ())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"where": "amount > 0"}, "where changed: none -> amount > 0"),
        (
            {"features": [Sum("amount", windows=["1h", "30d"]), Count(windows=["1h"])]},
            "window 30d added to sum of amount (amount_sum_30d)",
        ),
        ({"features": [Sum("amount", windows=["1h"])]}, "feature count_1h removed"),
        (
            {"features": [Sum("amount", windows=["1h"]), Count(windows=["1h"]), Last("country")]},
            "feature country_last_lifetime added",
        ),
        ({"features": [Count(windows=["1h"]), Sum("amount", windows=["1h"])]}, "features reordered"),
        (
            {"features": [Sum("fee", windows=["1h"], name="amount_sum"), Count(windows=["1h"])]},
            "feature amount_sum_1h: column changed: amount -> fee",
        ),
        (
            {"features": [Sum("amount", windows=[Window("1h", hop="5m")]), Count(windows=["1h"])]},
            "feature amount_sum_1h: hop changed: 1m -> 5m",
        ),
        (
            {"features": [Sum("amount", windows=["1h"], default=0.0), Count(windows=["1h"])]},
            "feature amount_sum_1h: default changed: none -> 0.0",
        ),
        (
            {"features": [Sum("amount", windows=["1h"], where="fee > 1"), Count(windows=["1h"])]},
            "feature amount_sum_1h: where changed: none -> fee > 1",
        ),
        (
            {"source": FileSource("tx", "new/*.parquet", event_time="ts")},
            "source tx: path changed: tx.parquet -> new/*.parquet",
        ),
        (
            {"source": FileSource("tx", "tx.parquet", event_time="ts", available_at="loaded")},
            "source tx: available at changed: none -> loaded",
        ),
        (
            {"source": FileSource("tx", "tx.parquet", event_time="ts", delay="2h")},
            "source tx: delay changed: 0 -> 2h",
        ),
        (
            {"entity": Entity("customer", join_keys=["customer_id", "country"])},
            "entity customer: join keys changed: customer_id int64 -> customer_id int64, country string",
        ),
    ],
)
def test_a_changed_meaning_is_a_new_version_of_the_view_and_its_services(change: dict[str, Any], words: str) -> None:
    world = World()
    world.apply(FeatureService("fraud", features=[spend()["amount_sum_1h"]]))
    view = spend(**change)
    plan = world.plan(FeatureService("fraud", features=[view["amount_sum_1h"]]))
    changed = change_of(plan, "view", "spend")
    assert (changed.action, changed.version, changed.details) == ("new_version", 2, (words,))
    service = change_of(plan, "service", "fraud")
    assert (service.action, service.version) == ("new_version", 2)
    assert service.details == ("reads changed: spend@1 -> spend@2",)
    assert isinstance(service.spec, ServiceSpec)
    assert [f.view_version for f in service.spec.features] == [2]
    assert [(b.view, b.version) for b in plan.backfills] == [("spend", 2)]
    assert (("view", "spend"), ("service", "fraud")) in plan.touched


def test_a_changed_ttl_is_said_in_durations() -> None:
    def profile(ttl: str | None) -> StateView:
        source = FileSource("p", "p.csv", event_time="ts")
        return StateView("profile", entity=Entity("customer_id"), source=source, features=["country"], ttl=ttl)

    world = World()
    world.apply(profile("7d"))
    assert change_of(world.plan(profile("30d")), "view", "profile").details == ("ttl changed: 7d -> 30d",)
    assert change_of(world.plan(profile(None)), "view", "profile").details == ("ttl changed: 7d -> none",)


def test_metadata_changes_keep_the_version_and_cost_no_backfill() -> None:
    world = World()
    world.apply(FeatureService("fraud", features=[spend()]))
    plan = world.plan(FeatureService("fraud", features=[spend(owner="ada", tags=["x"])]))
    changed = change_of(plan, "view", "spend")
    assert (changed.action, changed.version) == ("metadata", 1)
    assert changed.details == ("owner changed: none -> ada", "tags changed: none -> x")
    assert change_of(plan, "service", "fraud").action == "unchanged"
    assert (plan.touched, plan.backfills) == ((), ())


def test_a_new_unused_column_is_metadata() -> None:
    world = World()
    world.apply(spend())
    plan = world.plan(spend(), columns=COLUMNS | {"novel": "bool"})
    assert change_of(plan, "source", "tx").details == ("column novel added",)
    assert {c.action for c in plan.effective()} == {"metadata"}


def test_what_is_no_longer_defined_is_hidden_in_every_version_and_can_come_back() -> None:
    world = World()
    world.apply(spend())
    world.apply(spend(where="fee > 0"))
    other = FileSource("other", "o.csv", event_time="ts")
    plan = world.apply(other)
    removed = change_of(plan, "view", "spend")
    assert (removed.action, removed.version, removed.hides, removed.spec) == ("remove", 2, (1, 2), None)
    assert not world.plan(other)
    restored = change_of(world.plan(other, spend(where="fee > 0")), "view", "spend")
    assert (restored.action, restored.version) == ("restore", 2)
    again = change_of(world.plan(other, spend(where="fee > 9")), "view", "spend")
    assert (again.action, again.version) == ("new_version", 3)


def test_going_back_to_an_older_meaning_is_a_new_version() -> None:
    world = World()
    world.apply(spend())
    world.apply(spend(where="fee > 0"))
    changed = change_of(world.plan(spend()), "view", "spend")
    assert (changed.action, changed.version, changed.details) == ("new_version", 3, ("where changed: fee > 0 -> none",))


def test_a_pruned_number_is_not_given_again() -> None:
    snapshot = RegistrySnapshot(9, {}, {("view", "spend"): 4})
    plan = make_plan(Catalog(snapshot).registered(), resolve(spend()), {})
    assert (change_of(plan, "view", "spend").action, change_of(plan, "view", "spend").version) == ("create", 5)


def test_a_service_with_other_features_is_a_new_version_of_the_service_alone() -> None:
    world = World()
    view = spend()
    world.apply(FeatureService("fraud", features=[view["amount_sum_1h"]]))
    plan = world.plan(FeatureService("fraud", features=[view]))
    assert change_of(plan, "view", "spend").action == "unchanged"
    assert change_of(plan, "service", "fraud").details == ("feature spend:count_1h added",)
    assert plan.backfills == ()


def test_downstream_edges_follow_every_path_and_leave_the_rest() -> None:
    edges: Any = [("a", "b"), ("b", "c"), ("x", "c"), ("c", "d")]
    assert downstream(edges, ["a"]) == (("a", "b"), ("b", "c"), ("c", "d"))  # type: ignore[list-item,comparison-overlap]
