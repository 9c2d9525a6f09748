"""Lineage of what the registry holds: finds the nodes that a reference names and traces them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.errors import NotFoundError, did_you_mean
from asof.plan.lineage import Lineage, Node, column_node, links, trace
from asof.plan.references import parse_feature, parse_object
from asof.plan.registered import KINDS
from asof.plan.specs import OnDemandSpec, ServiceSpec, ViewSpec
from asof.services.materialize import choose_views

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asof.interfaces import Scanner
    from asof.plan.specs import PinnedFeature
    from asof.services.catalog import Catalog

    _Views = dict[tuple[bool, str], ViewSpec | OnDemandSpec]


def trace_lineage(catalog: Catalog, scanner: Scanner, reference: str | None) -> Lineage:
    """Return what a reference is made of and what is made of it, over all versions that reads may ask for.

    Args:
        catalog: The registry.
        scanner: Reads the columns out of predicates.
        reference: A feature, view, service, entity, source or "source.column"; None is every source and entity.

    Raises:
        NotFoundError: nothing has that name or version.
        InputError: the text is no reference.
    """
    views: _Views = {_place(view): view for view in choose_views(catalog, None)}
    views |= {_place(view): view for view in catalog.on_demand_views()}
    services = {
        entry.spec.key: entry.spec
        for entry in catalog.entries("service")
        if not entry.hidden and isinstance(entry.spec, ServiceSpec)
    }
    _add_read(catalog, views, (one for service in services.values() for one in service.features))
    if reference is None:
        nodes = [Node("source", source.name) for source in catalog.sources()]
        nodes += [Node("entity", entity.name) for entity in catalog.entities()]
    elif ":" in reference:
        wanted = parse_feature(reference)
        found = catalog.any_view(wanted.view, wanted.version)
        catalog.select(reference)
        _add(catalog, views, found)
        nodes = [Node("feature", f"{found.key}:{wanted.feature}")]
    elif "." in reference:
        nodes = [_column(catalog, *reference.split(".", maxsplit=1))]
    else:
        nodes = _objects(catalog, reference, views, services)
    every = links(views.values(), services.values(), scanner.predicate_columns, catalog.sources())
    return trace(every, nodes)


def _column(catalog: Catalog, source: str, column: str) -> Node:
    known = [one.name for one in catalog.source(source).columns]
    if column not in known:
        raise NotFoundError(
            f"Source {source!r} has no column {column!r}",
            why=did_you_mean(column, known),
            fix=f"Its columns are {', '.join(known)}.",
        )
    return column_node(source, column)


def _objects(catalog: Catalog, reference: str, views: _Views, services: dict[str, ServiceSpec]) -> list[Node]:
    """Return the objects of that name, one per kind, and add the versions of them that are not among the others.

    An on-demand view is its features.
    """
    wanted = parse_object(reference)
    entries = [
        entry
        for kind in reversed(KINDS)
        for entry in catalog.entries(kind, wanted.name)
        if (entry.newest if wanted.version is None else entry.version == wanted.version)
    ]
    nodes = []
    for entry in entries:
        spec = entry.spec
        if isinstance(spec, ViewSpec | OnDemandSpec):
            _add(catalog, views, spec)
        elif isinstance(spec, ServiceSpec):
            services[spec.key] = spec
            _add_read(catalog, views, spec.features)
        if isinstance(spec, OnDemandSpec):
            nodes += [Node("feature", f"{spec.key}:{feature.name}") for feature in spec.features]
            continue
        nodes.append(Node(entry.kind, spec.key if isinstance(spec, ViewSpec | ServiceSpec) else entry.name))
    if not nodes:
        known = {entry.name for entry in catalog.entries() if not entry.hidden}
        raise NotFoundError(
            f"There is nothing named {reference!r} in the registry",
            why=did_you_mean(wanted.name, known),
            fix="`asof list` shows what there is.",
        )
    return nodes


def _add(catalog: Catalog, views: _Views, view: ViewSpec | OnDemandSpec) -> None:
    views[_place(view)] = view
    if isinstance(view, OnDemandSpec):
        _add_read(catalog, views, view.inputs)


def _add_read(catalog: Catalog, views: _Views, used: Iterable[PinnedFeature]) -> None:
    """Add the view versions that are read, and what on-demand views among them read in turn."""
    for kind, name, version in sorted(catalog.reads(used)):
        found = catalog.on_demand_view(name, version) if kind == "on_demand" else catalog.view(name, version)
        views[_place(found)] = found


def _place(view: ViewSpec | OnDemandSpec) -> tuple[bool, str]:
    """Return what tells a view version from all others: a name may have been of both kinds in turn."""
    return isinstance(view, OnDemandSpec), view.key
