"""All of a project's specs before the registry has given them versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asof.plan.specs import EntitySpec, OnDemandSpec, ServiceSpec, SourceSpec, ViewSpec


@dataclass(frozen=True)
class Resolved:
    """Specs of all definitions, without versions: views have version 0, and services pin version 0; on-demand views
    come after those that they read."""

    entities: tuple[EntitySpec, ...]
    sources: tuple[SourceSpec, ...]
    views: tuple[ViewSpec, ...]
    services: tuple[ServiceSpec, ...]
    on_demand: tuple[OnDemandSpec, ...] = ()

    def view(self, name: str) -> ViewSpec:
        """Return the view of that name."""
        return next(view for view in self.views if view.name == name)
