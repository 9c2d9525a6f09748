"""One output column of a read: a stored feature under a role, or a feature that is computed by the read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.definitions.roles import prefixed
from asof.plan.specs import column_name

if TYPE_CHECKING:
    from asof.definitions.roles import Role
    from asof.plan.specs import ComputedSpec, FeatureSpec, OnDemandSpec, ViewSpec


@dataclass(frozen=True)
class SelectedFeature:
    """A stored feature of a view, and the role that the view is read under, if any."""

    view: ViewSpec
    feature: FeatureSpec
    role: Role | None = None

    @property
    def column(self) -> str:
        """The output column's name."""
        return column_name(self.view.name, self.feature.name, self.role)

    @property
    def group(self) -> str:
        """The key of the group that it is read in: spend@3, under a role destination__spend@3."""
        return prefixed(self.role, self.view.key)


@dataclass(frozen=True)
class ComputedFeature:
    """A feature of an on-demand view."""

    view: OnDemandSpec
    feature: ComputedSpec

    @property
    def column(self) -> str:
        """The output column's name."""
        return column_name(self.view.name, self.feature.name)


Selected = SelectedFeature | ComputedFeature
