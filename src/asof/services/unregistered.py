"""Reads definitions that no registry holds: resolved here and now, views with version 0, frames in memory allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from asof.definitions import FeatureSelection, FeatureService, FeatureView, FrameSource, OnDemandView
from asof.definitions.collection import Definitions
from asof.definitions.roles import looked_up
from asof.errors import InputError
from asof.plan.functions import function_spec
from asof.plan.lookups import check_lookups, unpinned
from asof.plan.lookups import select as select_feature
from asof.plan.missing import missing_spec
from asof.plan.selected import ComputedFeature
from asof.plan.selection import select_items
from asof.plan.specs import OnDemandSpec, ViewSpec
from asof.services.resolve import resolve_definitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asof.definitions.missing import Missing
    from asof.definitions.roles import Role
    from asof.interfaces import Scanner
    from asof.plan.selected import Selected
    from asof.plan.selection import Selection
    from asof.plan.specs import FunctionSpec, PinnedFeature

    _Named = tuple[str, str, Role | None, Missing | None]


def collect(features: Any) -> Definitions | None:
    """Return the definitions that a read lists, with all that they use; None where it names features instead.

    Args:
        features: A service, a view, a selection, a list of views and selections; or names.

    Raises:
        InputError: names and definitions are mixed, a service stands in a list, or an item is neither.
        DefinitionError: two different definitions of one kind share a name.
    """
    if isinstance(features, FeatureService):
        return Definitions.of([("the features asked for", features)])
    listed = _listed(features)
    if all(isinstance(item, str) for item in listed):
        return None
    for item in listed:
        _check(item)
    views = [item.view if isinstance(item, FeatureSelection) else item for item in listed]
    roles = [item.role for item in listed if isinstance(item, FeatureSelection)]
    views += [one.view for role in roles for one in looked_up(role)]
    return Definitions.of([("the features asked for", views)])


def frames(definitions: Definitions) -> dict[str, Any]:
    """Return the frames in memory by their source's name."""
    return {source.name: source.frame for source in definitions.sources if isinstance(source, FrameSource)}


def functions(definitions: Definitions) -> dict[FunctionSpec, Callable[..., object]]:
    """Return the functions of row transforms and on-demand views by their reference, which then need no import."""
    used = [(f"View {v.name!r}", v.transform.function) for v in definitions.views if v.transform is not None]
    used += [(f"On-demand view {v.name!r}", v.function) for v in definitions.on_demand if v.function is not None]
    return {function_spec(function, name): function for name, function in used}


def select(features: Any, definitions: Definitions, scanner: Scanner) -> Selection:
    """Return what a read asks for, resolved against its sources as they are now.

    Args:
        features: What `collect` was given.
        definitions: What it returned.
        scanner: Knows the definitions' frames.

    Raises:
        InputError: a feature is listed twice.
        SourceError, SchemaError, DefinitionError: as an apply of these definitions would raise.
    """
    resolved = resolve_definitions(definitions, scanner)
    if isinstance(features, FeatureService):
        named = [
            (view.name, name, role, missing)
            for (view, name), role, missing in zip(features.features, features.roles, features.missing, strict=True)
        ]
        service = resolved.services[0]
    else:
        named = [one for item in _listed(features) for one in _named(item)]
        service = None
    views: dict[str, ViewSpec | OnDemandSpec] = {spec.name: spec for spec in resolved.views}
    views |= {spec.name: spec for spec in resolved.on_demand}
    specs = {name: spec for name, spec in views.items() if isinstance(spec, ViewSpec)}
    for view, _, role, _ in named:
        check_lookups("The read", role, specs.get(view), specs)

    def find(used: PinnedFeature) -> ViewSpec | OnDemandSpec:
        return views[used.view]

    items = [_item(views[view], name, role, missing, find) for view, name, role, missing in named]
    return select_items(service, items, find)


def _listed(features: Any) -> list[Any]:
    if isinstance(features, str | FeatureView | OnDemandView | FeatureSelection):
        return [features]
    try:
        return list(features)
    except TypeError as error:
        raise _no_feature(features) from error


def _check(item: object) -> None:
    if isinstance(item, str):
        raise InputError(
            f"Names and definitions are mixed: {item!r} stands beside definitions",
            why="Names are read from the registry, definitions as they are here",
            fix="List either names or definitions.",
        )
    if isinstance(item, FeatureService):
        raise InputError(
            f"Service {item.name!r} is in a list", fix="Give the service alone, or list its views and selections."
        )
    if not isinstance(item, FeatureView | OnDemandView | FeatureSelection):
        raise _no_feature(item)


def _no_feature(item: object) -> InputError:
    return InputError(
        f"Features are named by text or by definitions, not by {type(item).__name__}",
        fix='Give a service, or list "view:feature" texts, or list views and selections such as profile["country"].',
    )


def _named(item: FeatureView | OnDemandView | FeatureSelection) -> Iterable[_Named]:
    if isinstance(item, FeatureSelection):
        return [(item.view.name, name, item.role, item.missing) for name in item.names]
    return [(item.name, name, None, None) for name in item.feature_names()]


def _item(
    view: ViewSpec | OnDemandSpec,
    name: str,
    role: Role | None,
    missing: Missing | None,
    find: Callable[[PinnedFeature], ViewSpec | OnDemandSpec],
) -> Selected:
    if isinstance(view, OnDemandSpec):
        computed = next(feature for feature in view.features if feature.name == name)
        return ComputedFeature(view, computed, missing_spec(missing, computed.dtype, f"{view.name}:{name}"))
    stored = next(feature for feature in view.features if feature.name == name)
    item = select_feature(view, stored, unpinned(view.name, name, role), find)
    return replace(item, missing=missing_spec(missing, stored.dtype, f"{view.name}:{name}"))
