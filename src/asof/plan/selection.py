"""Which features a read asks for: versions settled, in the order of the answer's columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.errors import InputError
from asof.plan.specs import column_name

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def refuse_repeats(items: Iterable[tuple[ViewSpec, FeatureSpec]]) -> None:
    """Refuse items that would fill a column twice.

    Raises:
        InputError: names the first of them.
    """
    seen: dict[str, ViewSpec] = {}
    for view, feature in items:
        column = column_name(view.name, feature.name)
        if column in seen:
            other = seen[column]
            raise InputError(
                f"The feature {view.name}:{feature.name} is asked for twice",
                why=f"{other.key} and {view.key} both fill column {column}" if other.key != view.key else "",
                fix="List it once.",
            )
        seen[column] = view
