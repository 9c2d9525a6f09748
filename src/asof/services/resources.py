"""What of the registry rights are about: objects with the tags that they have now, whichever version is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.plan.access import Resource, matches
from asof.plan.references import parse_object
from asof.plan.registered import KINDS
from asof.plan.specs import OnDemandSpec, ViewSpec

if TYPE_CHECKING:
    from asof.plan.diff import Plan
    from asof.plan.registered import Kind
    from asof.plan.specs import AnySpec
    from asof.services.catalog import Catalog
    from asof.services.overview import Listed


def object_resource(catalog: Catalog, kind: Kind, name: str) -> Resource:
    """Return an object as a resource; of a name that does not exist, one without tags.

    Views of both kinds are the kind "view": names and rules do not tell them apart.
    """
    kinds: tuple[Kind, ...] = ("view", "on_demand") if kind in ("view", "on_demand") else (kind,)
    tags = {tag for one in kinds for spec in _newest(catalog, one, name) for tag in spec.tags}
    return Resource(kinds[0], name, tuple(sorted(tags)))


def listed_resource(catalog: Catalog, one: Listed) -> Resource:
    """Return what a list names as a resource."""
    return object_resource(catalog, one.kind, one.name)


def named_resources(catalog: Catalog, reference: str) -> list[Resource]:
    """Return everything that a name, as "spend" or "spend@3", stands for; of no object, a view of that name."""
    name = parse_object(reference).name
    found = [object_resource(catalog, kind, name) for kind in KINDS if catalog.entries(kind, name)]
    return list(dict.fromkeys(found)) or [Resource("view", name)]


def views_over(catalog: Catalog, source: str) -> list[Resource]:
    """Return the views that show rows of a source."""
    return [object_resource(catalog, "view", view.name) for view in catalog.views() if view.source.name == source]


def changed_resources(catalog: Catalog, plan: Plan) -> list[Resource]:
    """Return what a plan changes: each object with the tags that it has, and again with those that it gets."""
    found = []
    for change in plan.effective():
        kind: Kind = "view" if change.kind == "on_demand" else change.kind
        old = object_resource(catalog, kind, change.name)
        tags = change.spec.tags if change.spec is not None else old.tags
        exists = any(True for one in ("view", "on_demand", kind) for _ in catalog.entries(one, change.name))
        found += [old] if exists else []
        found.append(Resource(kind, change.name, tags))
    return list(dict.fromkeys(found))


def lost_personal_tags(catalog: Catalog, plan: Plan, personal: tuple[str, ...]) -> set[str]:
    """Return the tags of personal data that a plan takes away from what goes on to exist."""
    lost: set[str] = set()
    for change in plan.effective():
        if change.spec is not None:
            old = [pair for spec in _newest(catalog, change.kind, change.name) for pair in _tagged(spec)]
            new = set(_tagged(change.spec))
            kept = {"", *_features(change.spec)}
            lost |= {tag for feature, tag in old if (feature, tag) not in new and feature in kept}
    return {tag for tag in lost if matches(personal, tag)}


def _tagged(spec: AnySpec) -> list[tuple[str, str]]:
    """Return pairs of feature, "" for the object itself, and tag."""
    own = [("", tag) for tag in spec.tags]
    return own + [(one.name, tag) for one in spec.features for tag in one.tags] if isinstance(spec, ViewSpec) else own


def _features(spec: AnySpec) -> set[str]:
    return {one.name for one in spec.features} if isinstance(spec, ViewSpec) else set()


def personal_tags(catalog: Catalog, view: ViewSpec | OnDemandSpec, feature: str) -> set[str]:
    """Return the tags of a feature, its view and its entity: of the version that is read, and those of today.

    A tag that is added today is meant for the versions that models pinned yesterday, too.
    """
    tags: set[str] = set()
    specs = [view, *_newest(catalog, "view", view.name), *_newest(catalog, "on_demand", view.name)]
    for spec in specs:
        tags.update(spec.tags)
        if isinstance(spec, ViewSpec):
            found = spec.feature(feature)
            tags.update(found.tags if found is not None else ())
            tags.update(spec.entity.tags)
            for entity in _newest(catalog, "entity", spec.entity.name):
                tags.update(entity.tags)
    return tags


def _newest(catalog: Catalog, kind: Kind, name: str) -> list[AnySpec]:
    return [entry.spec for entry in catalog.entries(kind, name) if entry.newest]
