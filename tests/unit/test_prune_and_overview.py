"""Prune deletes only what nothing can ask for; lists, descriptions and status show what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from asof import Entity, FeatureService, FeatureStore, FileSource, FrameSource, StateView
from asof.clock import FixedClock
from asof.errors import ConflictError, DefinitionError, InputError, NotFoundError
from asof.interfaces.online import ViewKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof.services.prune import PrunePlan

NOW_US = 1_800_000_000_000_000
CUSTOMER = Entity("customer", join_key="customer_id")
PEOPLE = FileSource("people", path="people.csv", event_time="since")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    (tmp_path / "people.csv").write_text("customer_id,since,country,age\n7,2025-01-01,NL,40\n", encoding="utf-8")
    with FeatureStore(tmp_path, clock=FixedClock(NOW_US)) as store:
        yield store


def profile(*features: str) -> StateView:
    return StateView("profile", entity=CUSTOMER, source=PEOPLE, features=features)


def apply(store: FeatureStore, *objects: object) -> int:
    return store.apply(store.plan(objects), who="ada").number  # type: ignore[arg-type]


def materialize(store: FeatureStore, view: str, version: int, instant_us: int) -> None:
    with store.online.write(ViewKey("shop", view, version)) as writer:
        writer.put(pa.array([b"k"]), pa.array([b"v"]))
        writer.commit(instant_us, instant_us, "meaning")


def listed(plan: PrunePlan) -> list[str]:
    return [f"{item.kind} {item.name}@{item.version}" for item in plan.items]


def test_there_is_nothing_to_prune_while_everything_is_newest_or_pinned(store: FeatureStore) -> None:
    one, two = profile("country"), profile("age")
    apply(store, FeatureService("fraud", features=[one]))
    apply(store, FeatureService("fraud", features=[two]))
    plan = store.plan_prune()
    assert not plan
    assert store.prune(plan) is None
    assert store.registry.revision() == 2


def test_an_old_version_that_no_service_pins_goes_with_its_storage(store: FeatureStore) -> None:
    apply(store, profile("country"))
    apply(store, profile("age"))
    materialize(store, "profile", 1, NOW_US)
    materialize(store, "profile", 2, NOW_US)
    plan = store.plan_prune()
    assert listed(plan) == ["view profile@1"]
    assert plan.storage == (ViewKey("shop", "profile", 1),)
    done = store.prune(plan, who="ada")
    assert done is not None
    assert (done.number, done.who, done.summary) == (3, "ada", "pruned view profile@1")
    assert list(store.online.generations("shop")) == [ViewKey("shop", "profile", 2)]
    with pytest.raises(NotFoundError, match="has no version 1"):
        store.catalog().view("profile", 1)
    assert not store.plan_prune()


def test_naming_an_old_service_version_frees_the_views_that_only_it_pins(store: FeatureStore) -> None:
    apply(store, FeatureService("fraud", features=[profile("country")]))
    apply(store, FeatureService("fraud", features=[profile("age")]))
    plan = store.plan_prune(["fraud@1"])
    assert listed(plan) == ["service fraud@1", "view profile@1"]
    store.prune(plan)
    assert store.catalog().select("fraud").columns() == ("profile__age",)


@pytest.mark.parametrize("name", ["fraud", "fraud@2"])
def test_the_newest_service_version_cannot_be_named(store: FeatureStore, name: str) -> None:
    apply(store, FeatureService("fraud", features=[profile("country")]))
    apply(store, FeatureService("fraud", features=[profile("age")]))
    with pytest.raises(InputError):
        store.plan_prune([name])
    with pytest.raises(NotFoundError):
        store.plan_prune(["fraud@9"])


def test_a_removed_view_goes_but_not_the_version_that_a_service_pins(store: FeatureStore) -> None:
    other = StateView("other", entity=CUSTOMER, source=PEOPLE, features=["age"])
    apply(store, FeatureService("fraud", features=[profile("country"), other]))
    apply(store, FeatureService("fraud", features=[other]), profile("age"))
    apply(store, FeatureService("fraud", features=[other]))
    assert listed(store.plan_prune()) == ["view profile@2"]
    store.prune()
    assert [item.view.version for item in store.catalog().select("fraud@1").items] == [1, 1]
    with pytest.raises(NotFoundError, match="removed"):
        store.catalog().view("profile")
    apply(store, FeatureService("fraud", features=[other]), profile("age"))
    assert store.catalog().view("profile").version == 3


def test_storage_that_nothing_refers_to_is_found_and_dropped(store: FeatureStore) -> None:
    apply(store, profile("country"))
    materialize(store, "forgotten", 4, NOW_US)
    plan = store.plan_prune()
    assert (plan.items, plan.storage) == ((), (ViewKey("shop", "forgotten", 4),))
    assert store.prune(plan) is None
    assert store.online.generations("shop") == {}


def test_a_plan_is_refused_after_someone_else_applied(store: FeatureStore) -> None:
    apply(store, profile("country"))
    apply(store, profile("age"))
    pruning, applying = store.plan_prune(), store.plan([profile("country", "age")])
    apply(store, profile("age", "country"))
    with pytest.raises(ConflictError, match="Someone applied in between"):
        store.prune(pruning)
    with pytest.raises(ConflictError, match="asof plan"):
        store.apply(applying)
    assert store.registry.revision() == 3


def test_a_frame_cannot_be_applied(store: FeatureStore) -> None:
    frame = FrameSource("rows", {"customer_id": [1], "since": [1], "x": [1]}, event_time="since")
    with pytest.raises(DefinitionError, match="'rows' is a frame in memory"):
        store.plan([StateView("v", entity=CUSTOMER, source=frame, features=["x"])])


def test_the_revision_records_when_who_and_what_in_words(store: FeatureStore) -> None:
    assert store.apply(store.plan([CUSTOMER, profile("country")]), who="ada", message="why").summary == "why"
    done = store.apply(store.plan([profile("age")]))
    assert (done.at_us, done.summary) == (NOW_US, "1 view got a new version")
    assert done.who
    assert [r.number for r in store.revisions(1)] == [2]


def test_a_list_shows_newest_versions_by_kind_and_name(store: FeatureStore) -> None:
    apply(store, profile("country"))
    apply(store, profile("age"))
    assert [(one.kind, one.name, one.version, one.about) for one in store.list()] == [
        ("entity", "customer", None, "customer_id int64"),
        ("source", "people", None, "csv people.csv"),
        ("view", "profile", 2, "1 feature of customer from people"),
    ]
    assert [one.name for one in store.list("view")] == ["profile"]


def test_a_description_says_what_uses_an_object_and_what_is_online(store: FeatureStore) -> None:
    apply(store, FeatureService("fraud", features=[profile("country")]))
    apply(store, FeatureService("fraud", features=[profile("age")]))
    materialize(store, "profile", 1, NOW_US)
    newest, pinned = store.describe("profile")[0], store.describe("profile@1")[0]
    assert (newest.version, newest.versions, newest.used_by, newest.generation) == (2, (1, 2), ("fraud@2",), None)
    assert (pinned.version, pinned.used_by) == (1, ("fraud@1",))
    assert pinned.generation is not None
    assert pinned.generation.instant_us == NOW_US
    assert store.describe("people")[0].used_by == ("profile@2",)
    assert store.describe("customer")[0].used_by == ("profile@2",)
    with pytest.raises(NotFoundError, match="Did you mean profile"):
        store.describe("profil")


def test_a_name_of_two_kinds_has_two_descriptions(store: FeatureStore) -> None:
    view = StateView("customer", entity=CUSTOMER, source=PEOPLE, features=["age"])
    apply(store, view)
    assert [one.kind for one in store.describe("customer")] == ["view", "entity"]


def test_status_shows_every_view_version_that_reads_may_ask_for(store: FeatureStore) -> None:
    apply(store, FeatureService("fraud", features=[profile("country")]))
    materialize(store, "profile", 1, NOW_US - 5_000_000)
    status = store.status()
    assert (status.project, status.revision) == ("shop", 1)
    assert status.counts == {"entity": 1, "source": 1, "view": 1, "on_demand": 0, "service": 1}
    (view,) = status.views
    assert (view.view, view.version, view.newest, view.services, view.age_us) == (
        "profile",
        1,
        True,
        ("fraud@1",),
        5_000_000,
    )
    apply(store, FeatureService("fraud", features=[profile("age")]))
    assert [(v.version, v.newest, v.age_us) for v in store.status().views] == [(1, False, 5_000_000), (2, True, None)]
