"""What depends on what: sources and entities feed views, views feed on-demand views and services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.plan.lookups import with_lookups

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asof.plan.registered import Kind
    from asof.plan.specs import OnDemandSpec, ServiceSpec, SourceSpec, ViewSpec

    Node = tuple[Kind, str]
    Edge = tuple[Node, Node]


def dependencies(
    views: Iterable[ViewSpec], services: Iterable[ServiceSpec], on_demand: Iterable[OnDemandSpec] = ()
) -> tuple[Edge, ...]:
    """Return the edges from each object to those that use it, each once: of views, on-demand views, then services."""
    edges: dict[Edge, None] = {}
    for view in views:
        for edge in _inputs(view.source):
            edges[edge] = None
        edges[("source", view.source.name), ("view", view.name)] = None
        edges[("entity", view.entity.name), ("view", view.name)] = None
    for computed in on_demand:
        for one in with_lookups(computed.inputs):
            edges[("on_demand" if one.on_demand else "view", one.view), ("on_demand", computed.name)] = None
    for service in services:
        for feature in with_lookups(service.features):
            edges[("on_demand" if feature.on_demand else "view", feature.view), ("service", service.name)] = None
    return tuple(edges)


def _inputs(source: SourceSpec) -> Iterator[Edge]:
    for one in source.batch.inputs if source.batch is not None else ():
        yield from _inputs(one)
        yield ("source", one.name), ("source", source.name)


def downstream(edges: Iterable[Edge], start: Iterable[Node]) -> tuple[Edge, ...]:
    """Return the edges that can be reached from the nodes of `start`, in their given order."""
    known = tuple(edges)
    reached = set(start)
    while True:
        grown = reached | {user for used, user in known if used in reached}
        if grown == reached:
            return tuple(edge for edge in known if edge[0] in reached)
        reached = grown
