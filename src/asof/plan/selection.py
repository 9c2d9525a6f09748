"""Which features a read asks for: versions settled, in the order of the answer's columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.errors import InputError
from asof.plan.on_demand import read_of
from asof.plan.specs import ViewSpec, column_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asof.plan.on_demand import Item, OnDemandRead
    from asof.plan.specs import FeatureSpec, InputSpec, OnDemandSpec, ServiceSpec


@dataclass(frozen=True)
class Selection:
    """The features of one read.

    Attributes:
        service: The service that was named, or None where features were listed.
        items: View and feature, one pair per output column that is stored, in column order; no column twice.
        on_demand: What the read computes, with its inputs and the order of all columns; None where nothing.
    """

    service: ServiceSpec | None
    items: tuple[tuple[ViewSpec, FeatureSpec], ...]
    on_demand: OnDemandRead | None = None

    def columns(self) -> tuple[str, ...]:
        """Return the output columns' names, in order."""
        if self.on_demand is not None:
            return self.on_demand.outputs
        return tuple(column_name(view.name, feature.name) for view, feature in self.items)

    def by_view(self) -> tuple[tuple[ViewSpec, tuple[FeatureSpec, ...]], ...]:
        """Return each view version once, in the order of first use, with its features in column order.

        Features that only on-demand views read come after the others.
        """
        groups: dict[str, tuple[ViewSpec, list[FeatureSpec]]] = {}
        for view, feature in (*self.items, *(self.on_demand.inputs if self.on_demand else ())):
            chosen = groups.setdefault(view.key, (view, []))[1]
            if feature not in chosen:
                chosen.append(feature)
        return tuple((view, tuple(features)) for view, features in groups.values())


def select_items(
    service: ServiceSpec | None, items: Sequence[Item], find: Callable[[InputSpec], ViewSpec | OnDemandSpec]
) -> Selection:
    """Return the selection of these views and features, in column order.

    Args:
        service: The service that was named.
        items: Stored features and on-demand ones.
        find: Returns the view version that an input of an on-demand view is pinned to.

    Raises:
        InputError: two of them fill the same column, or disagree about a request input.
    """
    stored = tuple((view, feature) for view, feature in items if isinstance(view, ViewSpec))
    refuse_repeats(stored)  # type: ignore[arg-type]  # mypy loses that view and feature are of one kind
    return Selection(service, stored, read_of(items, find))  # type: ignore[arg-type]


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
