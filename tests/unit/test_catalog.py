"""A catalog finds the newest visible version, any pinned version, and says what is near when it finds nothing."""

from __future__ import annotations

from typing import Any

import pytest

from asof.errors import CorruptDataError, InputError, NotFoundError
from asof.interfaces.registry import RegistrySnapshot, StoredObject
from asof.plan.registered import Kind, encode_spec, kind_of
from asof.plan.specs import (
    AnySpec,
    Column,
    EntitySpec,
    FeatureSpec,
    ServiceFeature,
    ServiceSpec,
    SourceSpec,
    ViewSpec,
    meaning_hash,
)
from asof.services.catalog import Catalog

CUSTOMER = EntitySpec(name="customer", join_keys=(Column(name="customer_id", dtype="int64"),))
SOURCE = SourceSpec(name="people", kind="file", path="p.parquet", format="parquet", event_time="ts")


def view(name: str, *features: str, version: int = 1) -> ViewSpec:
    specs = tuple(FeatureSpec(name=f, dtype="string", column=f) for f in features)
    return ViewSpec(name=name, version=version, kind="state", entity=CUSTOMER, source=SOURCE, features=specs)


def service(name: str, *features: tuple[str, int, str], version: int = 1) -> ServiceSpec:
    pins = tuple(ServiceFeature(view=v, view_version=n, feature=f) for v, n, f in features)
    return ServiceSpec(name=name, version=version, features=pins)


def stored(spec: AnySpec, *, hidden: bool = False) -> StoredObject:
    version = getattr(spec, "version", 1)
    return StoredObject(kind_of(spec), spec.name, version, encode_spec(spec), meaning_hash(spec), 1, hidden)


def snapshot(*objects: StoredObject, last: dict[Any, int] | None = None) -> RegistrySnapshot:
    return RegistrySnapshot(7, {(o.kind, o.name, o.version): o for o in objects}, last or {})


@pytest.fixture
def catalog() -> Catalog:
    return Catalog(
        snapshot(
            stored(CUSTOMER),
            stored(SOURCE),
            stored(view("profile", "country")),
            stored(view("profile", "country", "age", version=2)),
            stored(view("spend", "total")),
            stored(view("gone", "x"), hidden=True),
            stored(service("fraud", ("profile", 1, "country"), ("spend", 1, "total"))),
            stored(service("fraud", ("spend", 1, "total"), ("profile", 2, "age"), version=2)),
        )
    )


def columns(catalog: Catalog, features: Any) -> list[str]:
    return [f"{i.view.key}:{i.feature.name}" for i in catalog.select(features).items]


def test_the_newest_version_is_found_without_a_version_and_any_version_with_one(catalog: Catalog) -> None:
    assert catalog.revision == 7
    assert catalog.view("profile").version == 2
    assert catalog.view("profile", 1).feature("age") is None
    assert catalog.service("fraud").version == 2
    assert catalog.entity("customer") == CUSTOMER
    assert catalog.source("people") == SOURCE


def test_lists_hold_the_newest_visible_version_by_name(catalog: Catalog) -> None:
    assert [v.key for v in catalog.views()] == ["profile@2", "spend@1"]
    assert [s.key for s in catalog.services()] == ["fraud@2"]
    assert [e.name for e in catalog.entities()] == ["customer"]
    assert [s.name for s in catalog.sources()] == ["people"]


def test_entries_hold_every_version_hidden_ones_included(catalog: Catalog) -> None:
    found = [(e.name, e.version, e.newest, e.hidden) for e in catalog.entries("view")]
    assert found == [
        ("gone", 1, True, True),
        ("profile", 1, False, False),
        ("profile", 2, True, False),
        ("spend", 1, True, False),
    ]
    assert [e.version for e in catalog.entries("view", "profile")] == [1, 2]


def test_a_removed_view_is_readable_by_its_pinned_name_only(catalog: Catalog) -> None:
    assert catalog.view("gone", 1).name == "gone"
    with pytest.raises(NotFoundError, match="removed from the definitions"):
        catalog.view("gone")


def test_what_is_not_there_is_named_with_what_is_near(catalog: Catalog) -> None:
    with pytest.raises(NotFoundError, match="Did you mean profile"):
        catalog.view("profiel")
    with pytest.raises(NotFoundError, match=r"has no version 9. It has 1, 2"):
        catalog.service("fraud", 9)
    with pytest.raises(NotFoundError, match=r"View spend@1 has no feature 'totl'. Did you mean total"):
        catalog.select(["spend:totl"])
    with pytest.raises(NotFoundError, match="There is a view of that name"):
        catalog.select("spend")
    with pytest.raises(NotFoundError, match="There is a service of that name"):
        catalog.select(["fraud"])


def test_a_service_selects_its_pinned_versions_in_its_order(catalog: Catalog) -> None:
    assert columns(catalog, "fraud") == ["spend@1:total", "profile@2:age"]
    assert columns(catalog, "fraud@1") == ["profile@1:country", "spend@1:total"]
    chosen = catalog.select("fraud").service
    assert chosen is not None
    assert chosen.version == 2


def test_a_list_selects_features_and_whole_views_in_the_listed_order(catalog: Catalog) -> None:
    assert columns(catalog, ["spend:total", "profile"]) == ["spend@1:total", "profile@2:country", "profile@2:age"]
    assert columns(catalog, ["profile@1:country"]) == ["profile@1:country"]
    assert columns(catalog, "spend:total") == ["spend@1:total"]
    assert catalog.select(["spend"]).service is None


def test_groups_by_view_keep_first_use_order_and_column_order(catalog: Catalog) -> None:
    selection = catalog.select(["profile:age", "spend:total", "profile:country"])
    assert [(g.key, [f.name for f in g.features]) for g in selection.groups()] == [
        ("profile@2", ["age", "country"]),
        ("spend@1", ["total"]),
    ]
    assert selection.columns() == ("profile__age", "spend__total", "profile__country")


@pytest.mark.parametrize("features", [[], ["spend", "spend:total"], ["profile@1:country", "profile:country"]])
def test_nothing_and_the_same_column_twice_are_refused(catalog: Catalog, features: list[str]) -> None:
    with pytest.raises(InputError):
        catalog.select(features)


@pytest.mark.parametrize("features", ["a b", ["a:b:c"], ["@2"], [3]])
def test_what_is_no_reference_is_refused(catalog: Catalog, features: Any) -> None:
    with pytest.raises(InputError):
        catalog.select(features)


def test_version_numbers_given_before_a_prune_are_remembered() -> None:
    key: tuple[Kind, str] = ("view", "spend")
    registered = Catalog(snapshot(stored(view("spend", "x")), last={key: 4, ("view", "old"): 2})).registered()
    assert registered.last_versions == {key: 4, ("view", "old"): 2}
    assert registered.newest[key].version == 1


def test_a_damaged_record_is_reported_when_it_is_read() -> None:
    broken = StoredObject("view", "spend", 1, b'{"name": "spend", "novel": 1}', "", 1)
    with pytest.raises(CorruptDataError, match="record of view 'spend'"):
        Catalog(snapshot(broken)).view("spend")
