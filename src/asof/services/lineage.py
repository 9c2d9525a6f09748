"""Lineage of what the registry holds: finds the nodes that a reference names and traces them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.errors import NotFoundError, did_you_mean
from asof.plan.lineage import Lineage, Node, column_node, links, trace
from asof.plan.references import parse_object
from asof.plan.registered import KINDS
from asof.plan.specs import ServiceSpec, ViewSpec
from asof.services.materialize import choose_views

if TYPE_CHECKING:
    from asof.interfaces import Scanner
    from asof.services.catalog import Catalog


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
    views = {view.key: view for view in choose_views(catalog, None)}
    services = {
        entry.spec.key: entry.spec
        for entry in catalog.entries("service")
        if not entry.hidden and isinstance(entry.spec, ServiceSpec)
    }
    if reference is None:
        nodes = [Node("source", source.name) for source in catalog.sources()]
        nodes += [Node("entity", entity.name) for entity in catalog.entities()]
    elif ":" in reference:
        [item] = catalog.select(reference).items
        views[item.view.key] = item.view
        nodes = [Node("feature", f"{item.view.key}:{item.feature.name}")]
    elif "." in reference:
        nodes = [_column(catalog, *reference.split(".", maxsplit=1))]
    else:
        nodes = _objects(catalog, reference, views, services)
    return trace(links(views.values(), services.values(), scanner.predicate_columns), nodes)


def _column(catalog: Catalog, source: str, column: str) -> Node:
    known = [one.name for one in catalog.source(source).columns]
    if column not in known:
        raise NotFoundError(
            f"Source {source!r} has no column {column!r}",
            why=did_you_mean(column, known),
            fix=f"Its columns are {', '.join(known)}.",
        )
    return column_node(source, column)


def _objects(
    catalog: Catalog, reference: str, views: dict[str, ViewSpec], services: dict[str, ServiceSpec]
) -> list[Node]:
    """Return the objects of that name, one per kind, and add the versions of them that are not among the others."""
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
        if isinstance(spec, ViewSpec):
            views[spec.key] = spec
        elif isinstance(spec, ServiceSpec):
            services[spec.key] = spec
            pinned = {(feature.view, feature.view_version) for feature in spec.features}
            views.update((view.key, view) for view in (catalog.view(*pin) for pin in sorted(pinned)))
        nodes.append(Node(entry.kind, spec.key if isinstance(spec, ViewSpec | ServiceSpec) else entry.name))
    if not nodes:
        known = {entry.name for entry in catalog.entries() if not entry.hidden}
        raise NotFoundError(
            f"There is nothing named {reference!r} in the registry",
            why=did_you_mean(wanted.name, known),
            fix="`asof list` shows what there is.",
        )
    return nodes
