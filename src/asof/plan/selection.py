"""Which features a read asks for: versions settled, in the order of the answer's columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.plan.specs import column_name

if TYPE_CHECKING:
    from asof.plan.specs import FeatureSpec, ServiceSpec, ViewSpec


@dataclass(frozen=True)
class Selection:
    """The features of one read.

    Attributes:
        service: The service that was named, or None where features were listed.
        items: View and feature, one pair per output column, in column order; no column twice.
    """

    service: ServiceSpec | None
    items: tuple[tuple[ViewSpec, FeatureSpec], ...]

    def columns(self) -> tuple[str, ...]:
        """Return the output columns' names, in order."""
        return tuple(column_name(view.name, feature.name) for view, feature in self.items)

    def by_view(self) -> tuple[tuple[ViewSpec, tuple[FeatureSpec, ...]], ...]:
        """Return each view version once, in the order of first use, with its features in column order."""
        groups: dict[str, tuple[ViewSpec, list[FeatureSpec]]] = {}
        for view, feature in self.items:
            groups.setdefault(view.key, (view, []))[1].append(feature)
        return tuple((view, tuple(features)) for view, features in groups.values())
