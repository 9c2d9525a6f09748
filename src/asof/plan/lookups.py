"""Lookups as specs: join keys that are features of other views, pinned, checked, and resolved for a read."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from asof import dtypes
from asof.errors import SchemaError
from asof.plan.selected import SelectedFeature
from asof.plan.specs import LookupSpec, PinnedFeature, ViewSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from asof.definitions.roles import Role
    from asof.plan.specs import FeatureSpec, OnDemandSpec

_P = TypeVar("_P", bound=PinnedFeature)


def lookup_specs(role: Role | None) -> tuple[LookupSpec, ...]:
    """Return the lookups of a role as specs, their views with version 0."""
    return tuple(
        LookupSpec(
            join_key=key,
            view=one.view.name,
            view_version=0,
            feature=one.names[0],
            role=one.role.name or None if one.role is not None else None,
            keys=() if one.role is None else one.role.keys,
            lookups=lookup_specs(one.role),
        )
        for key, one in (role.lookups if role is not None else ())
    )


def unpinned(view: str, feature: str, role: Role | None) -> PinnedFeature:
    """Return a stored feature as a read of definitions finds it, its view with version 0."""
    return PinnedFeature(
        view=view,
        view_version=0,
        feature=feature,
        role=role.name or None if role is not None else None,
        keys=() if role is None else role.keys,
        lookups=lookup_specs(role),
    )


def pin(used: _P, version_of: Callable[[PinnedFeature], int]) -> _P:
    """Return a feature pinned to the versions that its view and those of its lookups have."""
    lookups = tuple(pin(one, version_of) for one in used.lookups)
    return msgspec.structs.replace(used, view_version=version_of(used), lookups=lookups)


def with_lookups(used: Iterable[PinnedFeature]) -> Iterator[PinnedFeature]:
    """Yield features, each followed by those that its join keys are looked up in."""
    for one in used:
        yield one
        yield from with_lookups(one.lookups)


def select(
    view: ViewSpec, feature: FeatureSpec, used: PinnedFeature, find: Callable[[PinnedFeature], ViewSpec | OnDemandSpec]
) -> SelectedFeature:
    """Return a stored feature as a read takes it, its join keys looked up where `used` says."""
    lookups = []
    for one in used.lookups:
        found = find(one)
        if isinstance(found, ViewSpec) and (inner := found.feature(one.feature)) is not None:
            lookups.append((one.join_key, select(found, inner, one, find)))
    return SelectedFeature(view, feature, used.as_role, lookups=tuple(lookups))


def check_lookups(user: str, role: Role | None, view: ViewSpec | None, views: Mapping[str, ViewSpec]) -> None:
    """Refuse features that are of another type than the join keys they are for.

    Args:
        user: What reads the view, for the message.
        role: How.
        view: The view that is read; None for an on-demand view, which has no join keys.
        views: All views by name.

    Raises:
        SchemaError: names the feature and both types.
    """
    if view is None or role is None:
        return
    types = {key.name: key.dtype for key in view.entity.join_keys}
    for key, one in role.lookups:
        owner = views[one.view.name]
        dtype = next(f.dtype for f in owner.features if f.name == one.names[0])
        if dtypes.key_type(dtype) != types[key]:
            raise SchemaError(
                f"{user} finds join key {key!r} of view {view.name!r} in {owner.name}:{one.names[0]}, which is {dtype}",
                why=f"The join key is {types[key]}",
                fix=f"Look it up in a feature of type {types[key]}, or convert one of the two with select=.",
            )
        check_lookups(user, one.role, owner, views)
