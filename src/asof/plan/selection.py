"""Which features a read asks for: versions settled, in the order of the answer's columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.definitions.missing import INDICATOR
from asof.definitions.roles import prefixed, refuse_two_mappings
from asof.errors import InputError
from asof.plan.missing import Notes, notes_of
from asof.plan.on_demand import read_of
from asof.plan.selected import SelectedFeature, has_indicator, output_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.definitions.roles import Role
    from asof.plan.on_demand import OnDemandRead
    from asof.plan.selected import Selected
    from asof.plan.specs import FeatureSpec, InputSpec, MissingSpec, OnDemandSpec, ServiceSpec, ViewSpec


@dataclass(frozen=True)
class ViewGroup:
    """One view version under one role, the features that are read of it, in column order, and what is noted of them."""

    view: ViewSpec
    role: Role | None
    features: tuple[FeatureSpec, ...]
    notes: Notes

    @property
    def key(self) -> str:
        """What tells it from every other group of a read: spend@3, under a role destination__spend@3."""
        return prefixed(self.role, self.view.key)

    @property
    def name(self) -> str:
        """What answers call it: spend, under a role destination__spend."""
        return prefixed(self.role, self.view.name)

    def key_columns(self) -> tuple[str, ...]:
        """Return the columns that hold the entity's join keys in spines and requests, in the entity's order."""
        names = (key.name for key in self.view.entity.join_keys)
        return tuple(name if self.role is None else self.role.column(name) for name in names)


@dataclass(frozen=True)
class Selection:
    """The features of one read.

    Attributes:
        service: The service that was named, or None where features were listed.
        items: One per output column that is stored, in column order; no column twice.
        on_demand: What the read computes, with its inputs and the order of all columns; None where nothing.
    """

    service: ServiceSpec | None
    items: tuple[SelectedFeature, ...]
    on_demand: OnDemandRead | None = None

    def columns(self) -> tuple[str, ...]:
        """Return the output columns' names, in order."""
        return output_columns(self.items) if self.on_demand is None else self.on_demand.outputs

    def missing(self) -> dict[str, MissingSpec]:
        """Return what is done where features have no value, by column."""
        found = {item.column: item.missing for item in self.items if item.missing is not None}
        return found if self.on_demand is None else {**found, **self.on_demand.missing}

    def stored(self) -> tuple[SelectedFeature, ...]:
        """Return the features that are read, those last that only on-demand views need; none twice.

        A feature that the service treats differently from its view is another one than the view's own.
        """
        needed = self.on_demand.inputs if self.on_demand is not None else ()
        found: dict[tuple[str, str], SelectedFeature] = {}
        for item in (*self.items, *needed):
            found.setdefault((item.group, item.read.name), item)
        return tuple(found.values())

    def groups(self) -> tuple[ViewGroup, ...]:
        """Return each view version once per role, in the order of first use, with its features in column order."""
        groups: dict[str, list[SelectedFeature]] = {}
        for item in self.stored():
            groups.setdefault(item.group, []).append(item)
        return tuple(
            ViewGroup(items[0].view, items[0].role, tuple(item.read for item in items), notes_of(items))
            for items in groups.values()
        )

    def views(self) -> tuple[ViewSpec, ...]:
        """Return each view version once, in the order of first use."""
        return tuple({item.view.key: item.view for item in self.stored()}.values())

    def key_types(self) -> dict[str, str]:
        """Return the columns that hold join keys and their types; of one that two views read differently, the last."""
        return {
            column: key.dtype
            for group in self.groups()
            for column, key in zip(group.key_columns(), group.view.entity.join_keys, strict=True)
        }


def select_items(
    service: ServiceSpec | None, items: Sequence[Selected], find: Callable[[InputSpec], ViewSpec | OnDemandSpec]
) -> Selection:
    """Return the selection of these features, in column order.

    Args:
        service: The service that was named.
        items: Stored features and on-demand ones.
        find: Returns the view version that an input of an on-demand view is pinned to.

    Raises:
        InputError: two of them fill the same column, or disagree about a request input.
        DefinitionError: a role maps the keys of a view in two ways.
    """
    _refuse_repeats(items)
    stored = tuple(item for item in items if isinstance(item, SelectedFeature))
    chosen = Selection(service, stored, read_of(items, find))
    refuse_two_mappings((item.view.name, item.role) for item in chosen.stored())
    by_column: dict[str, SelectedFeature] = {}
    for item in (*stored, *(chosen.on_demand.inputs if chosen.on_demand else ())):
        other = by_column.setdefault(item.column, item)
        if other.view.key != item.view.key:
            raise InputError(
                f"{other.view.key} and {item.view.key} are both asked for",
                why=f"An on-demand view reads {item.view.key}, and both fill column {item.column}",
                fix="Ask for the version that the on-demand view reads.",
            )
    return chosen


def _refuse_repeats(items: Sequence[Selected]) -> None:
    seen: dict[str, ViewSpec | OnDemandSpec] = {}
    for item in items:
        if item.column in seen:
            other = seen[item.column]
            raise InputError(
                f"The feature {item.view.name}:{item.feature.name} is asked for twice",
                why=f"{other.key} and {item.view.key} both fill column {item.column}"
                if other.key != item.view.key
                else "",
                fix="List it once.",
            )
        seen[item.column] = item.view
    for item in items:
        if has_indicator(item) and item.column + INDICATOR in seen:
            raise InputError(
                f"Two columns are named {item.column}{INDICATOR}",
                why=f"One is a feature, the other says where {item.view.name}:{item.feature.name} is missing",
                fix="Leave one of them out, or rename the feature.",
            )
