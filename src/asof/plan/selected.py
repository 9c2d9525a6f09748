"""One output column of a read: a stored feature under a role, or a feature that is computed by the read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from asof.definitions.missing import INDICATOR
from asof.definitions.roles import prefixed
from asof.plan.specs import column_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asof.definitions.roles import Role
    from asof.plan.specs import ComputedSpec, FeatureSpec, MissingSpec, OnDemandSpec, ViewSpec


@dataclass(frozen=True)
class SelectedFeature:
    """A stored feature of a view, and how the view is read.

    Attributes:
        role: The role with its mapping to columns, if any.
        missing: What is done where it has no value; None gives what the view gives.
        lookups: Pairs of join key and the feature that holds it.
    """

    view: ViewSpec
    feature: FeatureSpec
    role: Role | None = None
    missing: MissingSpec | None = None
    lookups: tuple[tuple[str, SelectedFeature], ...] = ()

    @property
    def column(self) -> str:
        """The output column's name."""
        return column_name(self.view.name, self.feature.name, self.role)

    @property
    def group(self) -> str:
        """The key of the group that it is read in: spend@3, under a role destination__spend@3."""
        return prefixed(self.role, self.view.key)

    @property
    def mapping(self) -> object:
        """Where the join keys are found; equal for two features that are read together."""
        keys = self.role.keys if self.role is not None else ()
        return keys, tuple((key, one.group, one.feature.name, one.mapping) for key, one in self.lookups)

    def needed(self) -> Iterator[SelectedFeature]:
        """Yield the features that the join keys are looked up in, and those that are needed for these."""
        for _, one in self.lookups:
            yield one
            yield from one.needed()

    @property
    def read(self) -> FeatureSpec:
        """The feature as it is read: under a name of its own where its values may differ from what its view gives."""
        missing = self.missing
        if missing is None or (missing.default is msgspec.UNSET and missing.limit_us is None):
            return self.feature
        default = self.feature.default if missing.default is msgspec.UNSET else missing.default
        return msgspec.structs.replace(self.feature, name=f"{self.feature.name} of the service", default=default)


@dataclass(frozen=True)
class ComputedFeature:
    """A feature of an on-demand view; `missing` as in `SelectedFeature`."""

    view: OnDemandSpec
    feature: ComputedSpec
    missing: MissingSpec | None = None

    @property
    def column(self) -> str:
        """The output column's name."""
        return column_name(self.view.name, self.feature.name)


Selected = SelectedFeature | ComputedFeature


def has_indicator(item: Selected) -> bool:
    """Return whether a column of its own says where the feature has no value."""
    return item.missing is not None and item.missing.indicator


def output_columns(items: Iterable[Selected]) -> tuple[str, ...]:
    """Return the columns that features fill, in order, each indicator after its feature."""
    return tuple(
        column
        for item in items
        for column in (item.column, *([item.column + INDICATOR] if has_indicator(item) else ()))
    )
