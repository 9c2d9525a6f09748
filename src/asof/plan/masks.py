"""Which columns of a read are masked: those of personal data that the reader may not see, and what is made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from asof.definitions.missing import INDICATOR
from asof.plan.specs import OnDemandSpec, PinnedFeature, ViewSpec, column_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from asof.plan.selected import SelectedFeature
    from asof.plan.selection import Selection
    from asof.plan.specs import MissingSpec

    View = ViewSpec | OnDemandSpec
    Hides = Callable[[View, str], bool]

MASKED = "masked"
"""The status of a masked value, which is null."""
UNMASKED = "unmasked"
"""The tag of an on-demand view whose features may be shown although they are made of personal data."""


def masked_columns(selection: Selection, hides: Hides, find: Callable[[PinnedFeature], View]) -> frozenset[str]:
    """Return the output columns to mask, indicators of masked features among them.

    Args:
        selection: What is read.
        hides: Whether a feature of a view, by name, carries a tag that the reader may not see.
        find: Returns the view version that an input is pinned to.
    """
    hidden = {item.column for item in selection.items if _stored(item, hides)}
    if selection.on_demand is not None:
        wholly = {view.key: _computed(view, hides, find) for view in selection.on_demand.views}
        for view in selection.on_demand.views:
            for one in view.features:
                if (view.key, one.name) in selection.on_demand.computed and (wholly[view.key] or hides(view, one.name)):
                    hidden.add(column_name(view.name, one.name))
    columns = selection.columns()
    return frozenset(name for name in columns if name in hidden or name.removesuffix(INDICATOR) in hidden)


def _stored(item: SelectedFeature, hides: Hides) -> bool:
    """A value of whoever a hidden feature names tells that name."""
    return hides(item.view, item.feature.name) or any(_stored(one, hides) for _, one in item.lookups)


def _computed(view: OnDemandSpec, hides: Hides, find: Callable[[PinnedFeature], View]) -> bool:
    """Return whether a view's features are made of what is hidden; its function sees all of its inputs."""
    if UNMASKED in view.tags:
        return False
    for used in view.inputs:
        found = find(used)
        if hides(found, used.feature) or any(hides(find(one), one.feature) for one in used.lookups):
            return True
        if isinstance(found, OnDemandSpec) and _computed(found, hides, find):
            return True
    return False


def without_treatments(selection: Selection, masked: frozenset[str]) -> Selection:
    """Return the same columns, where masked features neither fail a read nor have defaults that tell of them."""
    if not masked:
        return selection
    items = tuple(
        replace(item, missing=_untold(item.missing)) if item.column in masked else item for item in selection.items
    )
    read = selection.on_demand
    if read is not None:
        kept = {name: _untold(how) if name in masked else how for name, how in read.missing.items()}
        read = replace(read, missing={name: how for name, how in kept.items() if how is not None})
    return replace(selection, items=items, on_demand=read)


def _untold(how: MissingSpec | None) -> MissingSpec | None:
    if how is None or not how.indicator:
        return None
    return msgspec.structs.replace(how, default=msgspec.UNSET, limit_us=None, error=False)
