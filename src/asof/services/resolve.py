"""From definitions to specs, with the schemas of their sources and every predicate checked by the scanner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof import dtypes
from asof.definitions import EventView, FeatureView
from asof.errors import DefinitionError
from asof.plan.lookups import check_lookups, lookup_specs
from asof.plan.missing import missing_spec
from asof.plan.on_demand import resolve_on_demand
from asof.plan.resolve import (
    SourceSchema,
    output_fields,
    resolve_entity,
    resolve_source,
    resolve_view,
    source_spec,
)
from asof.plan.resolved import Resolved
from asof.plan.specs import ServiceFeature, ServiceSpec, SourceSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from asof.definitions import FeatureService
    from asof.definitions.collection import Definitions
    from asof.interfaces import Scanner
    from asof.plan.specs import OnDemandSpec, ViewSpec


def resolve_definitions(definitions: Definitions, scanner: Scanner) -> Resolved:
    """Return the specs of definitions whose columns, types and predicates fit the data.

    Reads schemas only, no rows.

    Raises:
        SourceError: a source cannot be read.
        SchemaError: a column is missing or has a type that cannot play its part, or an input one that its function
            cannot take.
        DefinitionError: a predicate is no SQL over the source's columns, or a default has the wrong type.
    """
    arrow: dict[str, pa.Schema] = {}
    schemas: dict[str, SourceSchema] = {}
    sources: dict[str, SourceSpec] = {}
    for source in definitions.sources:
        arrow[source.name] = scanner.schema(source_spec(source))
        schemas[source.name] = SourceSchema.from_arrow(source.name, arrow[source.name])
        sources[source.name] = resolve_source(source, schemas[source.name])
    columns = {view.name: _columns(view, scanner, arrow[view.source.name]) for view in definitions.views}
    seen = {name: SourceSchema.from_arrow(_source_of(definitions, name), found) for name, found in columns.items()}
    entities = {
        entity.name: resolve_entity(
            entity, [seen[view.name] for view in definitions.views if view.entity.name == entity.name]
        )
        for entity in definitions.entities
    }
    views = [
        resolve_view(view, entities[view.entity.name], sources[view.source.name], seen[view.name])
        for view in definitions.views
    ]
    for view in definitions.views:
        _check_predicates(view, scanner, columns[view.name])
    _check_lookups(definitions, {view.name: view for view in views})
    on_demand = _on_demand(definitions, views, scanner)
    types = {view.name: {feature.name: feature.dtype for feature in view.features} for view in views}
    types |= {view.name: {feature.name: feature.dtype for feature in view.features} for view in on_demand}
    return Resolved(
        entities=tuple(entities.values()),
        sources=tuple(sources.values()),
        views=tuple(views),
        services=tuple(_service(service, types) for service in definitions.services),
        on_demand=on_demand,
    )


def _check_lookups(definitions: Definitions, views: Mapping[str, ViewSpec]) -> None:
    for service in definitions.services:
        for (view, _), role in zip(service.features, service.roles, strict=True):
            check_lookups(f"Service {service.name!r}", role, views.get(view.name), views)
    for computed in definitions.on_demand:
        for view, _, role in computed.inputs:
            check_lookups(f"On-demand view {computed.name!r}", role, views.get(view.name), views)


def _source_of(definitions: Definitions, view: str) -> str:
    return next(v.source.name for v in definitions.views if v.name == view)


def _columns(view: FeatureView, scanner: Scanner, schema: pa.Schema) -> pa.Schema:
    """Return the columns that a view's features, keys and predicates can use: the source's, and what it adds."""
    fields = output_fields(view)
    known = {name.lower(): "its source has" for name in schema.names}
    for field in fields:
        if field.name.lower() in known:
            raise DefinitionError(
                f"The transform of view {view.name!r} gives a column {field.name!r}, which {known[field.name.lower()]}",
                why="" if field.name in schema.names else "Names do not differ by case",
                fix="Give the output a name of its own.",
            )
        known[field.name.lower()] = "it gives already"
    try:
        return scanner.derive(view.source.name, pa.schema([*schema, *fields]), view.select)
    except DefinitionError as error:
        raise DefinitionError(
            f"View {view.name!r} has a select that cannot be used: {error.what}", why=error.why, fix=error.fix
        ) from error


def _on_demand(definitions: Definitions, views: Iterable[ViewSpec], scanner: Scanner) -> tuple[OnDemandSpec, ...]:
    def sql_dtype(columns: Mapping[str, str], expression: str, used_by: str) -> str:
        schema = pa.schema([(name, dtypes.to_arrow(dtype)) for name, dtype in columns.items()])
        return dtypes.from_arrow(scanner.check_expression(schema, expression, used_by)) or ""

    types = {view.name: {feature.name: feature.dtype for feature in view.features} for view in views}
    found = []
    for view in definitions.on_demand:
        found.append(resolve_on_demand(view, types, sql_dtype))
        types[view.name] = {feature.name: feature.dtype for feature in found[-1].features}
    return tuple(found)


def _check_predicates(view: FeatureView, scanner: Scanner, schema: pa.Schema) -> None:
    for owner, predicate in _predicates(view):
        try:
            scanner.check_predicate(view.source.name, schema, predicate)
        except DefinitionError as error:
            raise DefinitionError(
                f"{owner} has a where that cannot be used: {error.what}", why=error.why, fix=error.fix
            ) from error


def _predicates(view: FeatureView) -> Iterator[tuple[str, str]]:
    if view.where is not None:
        yield f"View {view.name!r}", view.where
    if isinstance(view, EventView):
        for aggregate in view.aggregates:
            if aggregate.where is not None:
                yield f"Feature {view.name}:{aggregate.feature_name(aggregate.windows[0])}", aggregate.where


def _service(service: FeatureService, types: Mapping[str, Mapping[str, str]]) -> ServiceSpec:
    return ServiceSpec(
        name=service.name,
        features=tuple(
            ServiceFeature(
                view=view.name,
                view_version=0,
                feature=feature,
                on_demand=not isinstance(view, FeatureView),
                role=role.name or None if role is not None else None,
                keys=() if role is None else role.keys,
                lookups=lookup_specs(role),
                missing=missing_spec(missing, types[view.name][feature], f"{view.name}:{feature}"),
            )
            for (view, feature), role, missing in zip(service.features, service.roles, service.missing, strict=True)
        ),
        consistency=service.consistency,
        description=service.description,
        owner=service.owner,
        tags=service.tags,
    )
