"""Looks up views, services and features in one snapshot of the registry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

import msgspec

from asof.errors import InputError, NotFoundError, did_you_mean
from asof.plan.lookups import select, with_lookups
from asof.plan.references import parse_feature, parse_object
from asof.plan.registered import VERSIONED, Kind, Newest, Registered, decode_spec
from asof.plan.selected import ComputedFeature, SelectedFeature
from asof.plan.selection import Selection, select_items
from asof.plan.specs import AnySpec, EntitySpec, OnDemandSpec, PinnedFeature, ServiceSpec, SourceSpec, ViewSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asof.interfaces.registry import RegistrySnapshot, StoredObject
    from asof.plan.selected import Selected
    from asof.plan.specs import MissingSpec

_S = TypeVar("_S", bound=AnySpec)


@dataclass(frozen=True)
class Entry:
    """One version of one object.

    Attributes:
        hidden: Removed from the definitions; readable by its pinned name only.
        newest: Whether it is the newest version of the object.
        revision: The revision that wrote it.
    """

    kind: Kind
    name: str
    version: int
    spec: AnySpec
    hidden: bool
    newest: bool
    revision: int


class Catalog:
    """One revision of the registry, decoded as it is asked for. Safe to share between threads.

    Attributes:
        revision: The snapshot's revision; 0 for an empty registry.
    """

    def __init__(self, snapshot: RegistrySnapshot) -> None:
        self.revision = snapshot.revision
        self._stored = snapshot.objects
        self._versions: dict[tuple[Kind, str], list[int]] = {}
        for kind, name, version in sorted(snapshot.objects):
            self._versions.setdefault((kind, name), []).append(version)
        self._last_versions = dict(snapshot.last_versions)
        self._decoded: dict[tuple[Kind, str, int], AnySpec] = {}

    def view(self, name: str, version: int | None = None) -> ViewSpec:
        """Return a view: the newest version, or the given one even where it is hidden.

        Raises:
            NotFoundError: no such view or version, or the view was removed and no version is given.
        """
        return cast("ViewSpec", self._find("view", name, version))

    def on_demand_view(self, name: str, version: int | None = None) -> OnDemandSpec:
        """Return an on-demand view: the newest version, or the given one even where it is hidden.

        Raises:
            NotFoundError: no such view or version, or the view was removed and no version is given.
        """
        return cast("OnDemandSpec", self._find("on_demand", name, version))

    def pinned(self, used: PinnedFeature) -> ViewSpec | OnDemandSpec:
        """Return the view version that a service or an on-demand view reads.

        Raises:
            NotFoundError: it was pruned.
        """
        find = self.on_demand_view if used.on_demand else self.view
        return find(used.view, used.view_version)

    def reads(self, used: Iterable[PinnedFeature]) -> set[tuple[Kind, str, int]]:
        """Return the view versions that are used, lookups included, and those that on-demand views among them read."""
        left, found = list(with_lookups(used)), set[tuple[Kind, str, int]]()
        while left:
            one = left.pop()
            key: tuple[Kind, str, int] = ("on_demand" if one.on_demand else "view", one.view, one.view_version)
            if one.on_demand and key not in found and key in self._stored:
                left += with_lookups(self.on_demand_view(one.view, one.view_version).inputs)
            found.add(key)
        return found

    def service(self, name: str, version: int | None = None) -> ServiceSpec:
        """Return a service: the newest version, or the given one even where it is hidden.

        Raises:
            NotFoundError: no such service or version, or the service was removed and no version is given.
        """
        return cast("ServiceSpec", self._find("service", name, version))

    def entity(self, name: str, version: int | None = None) -> EntitySpec:
        """Return an entity.

        Raises:
            NotFoundError: no such entity or version.
        """
        return cast("EntitySpec", self._find("entity", name, version))

    def source(self, name: str, version: int | None = None) -> SourceSpec:
        """Return a source.

        Raises:
            NotFoundError: no such source or version.
        """
        return cast("SourceSpec", self._find("source", name, version))

    def entities(self) -> list[EntitySpec]:
        """Return the newest version of every entity that is not removed, by name."""
        return self._newest("entity", EntitySpec)

    def sources(self) -> list[SourceSpec]:
        """Return the newest version of every source that is not removed, by name."""
        return self._newest("source", SourceSpec)

    def views(self) -> list[ViewSpec]:
        """Return the newest version of every view that is not removed, by name."""
        return self._newest("view", ViewSpec)

    def on_demand_views(self) -> list[OnDemandSpec]:
        """Return the newest version of every on-demand view that is not removed, by name."""
        return self._newest("on_demand", OnDemandSpec)

    def services(self) -> list[ServiceSpec]:
        """Return the newest version of every service that is not removed, by name."""
        return self._newest("service", ServiceSpec)

    def entries(self, kind: Kind | None = None, name: str | None = None) -> list[Entry]:
        """Return every stored version, hidden ones included, by kind, name and version."""
        return [
            self._entry(kind_, name_, version)
            for (kind_, name_), versions in self._versions.items()
            if kind in (None, kind_) and name in (None, name_)
            for version in versions
        ]

    def registered(self) -> Registered:
        """Return what a plan is made against."""
        newest: dict[tuple[Kind, str], Newest] = {}
        for (kind, name), versions in self._versions.items():
            stored = self._stored[kind, name, versions[-1]]
            visible = tuple(v for v in versions if not self._stored[kind, name, v].hidden)
            newest[kind, name] = Newest(versions[-1], self._decode(stored), stored.hidden, visible)
        last = {key: max(versions[-1], self._last_versions.get(key, 0)) for key, versions in self._versions.items()}
        return Registered(self.revision, newest, {**self._last_versions, **last})

    def select(self, features: str | Sequence[str]) -> Selection:
        """Return the features that a read names.

        Args:
            features: A service, as "fraud" or "fraud@2"; or a list of "view:feature", "view@3:feature" and whole
                views as "view" or "view@3". A single text with a colon is a list of one.

        Raises:
            NotFoundError: no such service, view or feature; names what is near.
            InputError: nothing is listed, a text is no reference, or two items fill the same column.
        """
        if isinstance(features, str) and ":" not in features:
            return self._select_service(features)
        listed = [features] if isinstance(features, str) else list(features)
        items = [item for feature in listed for item in self._resolve(feature)]
        if not items:
            raise InputError("No features are asked for", fix='Name a service, or list features: ["spend:count_1h"].')
        return select_items(None, items, self.pinned)

    def _select_service(self, text: str) -> Selection:
        reference = parse_object(text)
        views = {("view", reference.name), ("on_demand", reference.name)}
        if not self._versions.get(("service", reference.name)) and views & self._versions.keys():
            raise NotFoundError(
                f"There is no service {reference.name!r}",
                why="There is a view of that name",
                fix=f'Ask for the view in a list: ["{text}"].',
            )
        service = self.service(reference.name, reference.version)
        items = [_treated(self._item(self.pinned(one), one.feature, one), one.missing) for one in service.features]
        return select_items(service, items, self.pinned)

    def _resolve(self, feature: str) -> Iterable[Selected]:
        if not isinstance(feature, str):
            raise InputError(f"{feature!r} does not name a feature", fix='Write "view:feature" or a view.')
        if ":" in feature:
            one = parse_feature(feature)
            return [self._item(self.any_view(one.view, one.version), one.feature)]
        whole = parse_object(feature)
        views = {("view", whole.name), ("on_demand", whole.name)}
        if not views & self._versions.keys() and ("service", whole.name) in self._versions:
            raise NotFoundError(
                f"There is no view {whole.name!r}",
                why="There is a service of that name",
                fix=f'Name the service alone, not in a list: "{feature}".',
            )
        view = self.any_view(whole.name, whole.version)
        return [self._item(view, spec.name) for spec in view.features]

    def any_view(self, name: str, version: int | None) -> ViewSpec | OnDemandSpec:
        """Return the view of a name: where both kinds had it in turn, the one with the version, or not removed.

        Raises:
            NotFoundError: no such view or version.
        """
        numbers = self._versions.get(("on_demand", name))
        if numbers is None:
            return self.view(name, version)
        if version is not None and (version in numbers) != (("view", name, version) in self._stored):
            return self.on_demand_view(name, version) if version in numbers else self.view(name, version)
        removed = self._stored["on_demand", name, numbers[-1]].hidden
        return (
            self.view(name, version)
            if removed and ("view", name) in self._versions
            else self.on_demand_view(name, version)
        )

    def _item(self, view: ViewSpec | OnDemandSpec, name: str, used: PinnedFeature | None = None) -> Selected:
        if isinstance(view, OnDemandSpec) and (computed := view.feature(name)) is not None:
            return ComputedFeature(view, computed)
        if isinstance(view, ViewSpec) and (stored := view.feature(name)) is not None:
            return SelectedFeature(view, stored) if used is None else select(view, stored, used, self.pinned)
        return self._no_feature(view, name)

    def _no_feature(self, view: ViewSpec | OnDemandSpec, name: str) -> NoReturn:
        known = [f.name for f in view.features]
        raise NotFoundError(
            f"View {view.key} has no feature {name!r}",
            why=did_you_mean(name, known) or f"It has {', '.join(known)}",
            fix="Correct the name, or define the feature and run `asof apply`.",
        )

    def _newest(self, kind: Kind, type_: type[_S]) -> list[_S]:
        found = [
            self._decode(self._stored[kind, name, versions[-1]])
            for (kind_, name), versions in self._versions.items()
            if kind_ == kind and not self._stored[kind, name, versions[-1]].hidden
        ]
        return [spec for spec in found if isinstance(spec, type_)]

    def _entry(self, kind: Kind, name: str, version: int) -> Entry:
        stored = self._stored[kind, name, version]
        newest = self._versions[kind, name][-1] == version
        return Entry(kind, name, version, self._decode(stored), stored.hidden, newest, stored.revision)

    def _find(self, kind: Kind, name: str, version: int | None) -> AnySpec:
        versions = self._versions.get((kind, name), [])
        if not versions:
            visible = [
                n for (k, n), vs in self._versions.items() if k == kind and not self._stored[k, n, vs[-1]].hidden
            ]
            raise NotFoundError(
                f"There is no {kind} {name!r} in the registry",
                why=did_you_mean(name, visible),
                fix="Correct the name, or run `asof apply` if it is defined and not applied yet.",
            )
        stored = self._stored.get((kind, name, versions[-1] if version is None else version))
        if stored is None:
            raise NotFoundError(
                f"{kind.capitalize()} {name!r} has no version {version}",
                why=f"It has {', '.join(map(str, versions))}",
                fix="Name one of them, or leave the version out for the newest.",
            )
        if version is None and stored.hidden:
            raise NotFoundError(
                f"{kind.capitalize()} {name!r} was removed from the definitions",
                fix=f"Define it again and run `asof apply`, or read a version of it by its pinned name: "
                f"{name}@{versions[-1]}.",
            )
        return self._decode(stored)

    def _decode(self, stored: StoredObject) -> AnySpec:
        key = (stored.kind, stored.name, stored.version)
        if key not in self._decoded:
            spec = decode_spec(stored.kind, stored.name, stored.body)
            if isinstance(spec, VERSIONED):
                spec = msgspec.structs.replace(spec, version=stored.version)
            self._decoded[key] = spec
        return self._decoded[key]


def _treated(item: Selected, missing: MissingSpec | None) -> Selected:
    return item if missing is None else replace(item, missing=missing)
