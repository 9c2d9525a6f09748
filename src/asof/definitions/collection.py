"""A project's definitions together: every entity, source, view and service once, each name unambiguous."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.definitions.batch import BatchSource
from asof.definitions.entity import Entity
from asof.definitions.on_demand_views import OnDemandView
from asof.definitions.roles import looked_up
from asof.definitions.services import FeatureService
from asof.definitions.sources import Source
from asof.definitions.views import FeatureView
from asof.errors import DefinitionError

if TYPE_CHECKING:
    from types import UnionType

    from asof.definitions.roles import Role

Definition = Entity | Source | FeatureView | OnDemandView | FeatureService

_KINDS: dict[str, type | UnionType] = {
    "entity": Entity,
    "source": Source,
    "view": FeatureView | OnDemandView,
    "service": FeatureService,
}


@dataclass(frozen=True)
class Definitions:
    """All definitions of a project, each kind in the order of first appearance; names are unique per kind.

    An on-demand view is a kind of view, so it shares no name with one; it comes after those that it reads.
    """

    entities: tuple[Entity, ...]
    sources: tuple[Source, ...]
    views: tuple[FeatureView, ...]
    services: tuple[FeatureService, ...]
    on_demand: tuple[OnDemandView, ...] = ()

    @classmethod
    def of(cls, found: Iterable[tuple[str, object]]) -> Definitions:
        """Collect definitions, and those that they use, from pairs of origin and object.

        Lists, tuples and the values of mappings are searched too; all other objects are ignored.

        Raises:
            DefinitionError: two different objects of one kind share a name; names both origins.
        """
        kept: dict[tuple[str, str], tuple[str, Definition]] = {}
        for origin, definition in ((o, d) for o, value in found for d in _definitions_in(value)):
            for one in _closure(definition):
                kind = next(kind for kind, type_ in _KINDS.items() if isinstance(one, type_))
                first_origin, first = kept.setdefault((kind, one.name), (origin, one))
                if first is not one:
                    places = {first_origin: None, origin: None}
                    raise DefinitionError(
                        f"There are two definitions of {kind} {one.name!r}",
                        why=f"In {' and in '.join(places)}",
                        fix="Rename one of them, or define it once and import it.",
                    )
        objects = [one for _, one in kept.values()]
        return cls(
            entities=tuple(o for o in objects if isinstance(o, Entity)),
            sources=tuple(o for o in objects if isinstance(o, Source)),
            views=tuple(o for o in objects if isinstance(o, FeatureView)),
            services=tuple(o for o in objects if isinstance(o, FeatureService)),
            on_demand=tuple(o for o in objects if isinstance(o, OnDemandView)),
        )

    def __bool__(self) -> bool:
        """Whether anything is defined."""
        return bool(self.entities or self.sources or self.views or self.services or self.on_demand)


def _definitions_in(value: object) -> Iterable[Definition]:
    if isinstance(value, Definition):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _definitions_in(item)
    elif isinstance(value, Mapping):
        yield from _definitions_in(list(value.values()))


def _closure(definition: Definition) -> Iterable[Definition]:
    if isinstance(definition, FeatureService):
        for (view, _), role in zip(definition.features, definition.roles, strict=True):
            yield from _closure_of(view, role)
    elif isinstance(definition, OnDemandView):
        for view, _, role in definition.inputs:
            yield from _closure_of(view, role)
    elif isinstance(definition, FeatureView):
        yield definition.entity
        yield from _closure(definition.source)
    elif isinstance(definition, BatchSource):
        for source in definition.inputs:
            yield from _closure(source)
    yield definition


def _closure_of(view: FeatureView | OnDemandView, role: Role | None) -> Iterable[Definition]:
    for one in looked_up(role):
        yield from _closure(one.view)
    yield from _closure(view)
