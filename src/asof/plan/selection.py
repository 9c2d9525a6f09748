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
from asof.plan.specs import column_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.definitions.roles import Role
    from asof.plan.on_demand import OnDemandRead
    from asof.plan.selected import Selected
    from asof.plan.specs import FeatureSpec, MissingSpec, OnDemandSpec, PinnedFeature, ServiceSpec, ViewSpec


@dataclass(frozen=True)
class ViewGroup:
    """One view version under one role, and the features that are read of it, in column order.

    Attributes:
        notes: What is noted of the features besides their values.
        lookups: Pairs of join key and the feature of another group that holds it.
    """

    view: ViewSpec
    role: Role | None
    features: tuple[FeatureSpec, ...]
    notes: Notes
    lookups: tuple[tuple[str, SelectedFeature], ...] = ()

    @property
    def key(self) -> str:
        """What tells it from every other group of a read: spend@3, under a role destination__spend@3."""
        return prefixed(self.role, self.view.key)

    @property
    def name(self) -> str:
        """What answers call it: spend, under a role destination__spend."""
        return prefixed(self.role, self.view.name)

    def asked_keys(self) -> dict[str, tuple[str, str]]:
        """Return by join key, of those that are not looked up, its column in spines and requests and its type."""
        found = dict(self.lookups)
        return {
            key.name: (key.name if self.role is None else self.role.column(key.name), key.dtype)
            for key in self.view.entity.join_keys
            if key.name not in found
        }


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

    def dtypes(self) -> tuple[str, ...]:
        """Return the output columns' types, in order."""
        found = {item.column: item.feature.dtype for item in self.items}
        if self.on_demand is not None:
            found |= {
                column_name(view.name, feature.name): feature.dtype
                for view in self.on_demand.views
                for feature in view.features
                if (view.key, feature.name) in self.on_demand.computed
            }
        return tuple(found.get(column, "bool") for column in self.columns())  # an indicator is no feature

    def missing(self) -> dict[str, MissingSpec]:
        """Return what is done where features have no value, by column."""
        found = {item.column: item.missing for item in self.items if item.missing is not None}
        return found if self.on_demand is None else {**found, **self.on_demand.missing}

    def stored(self) -> tuple[SelectedFeature, ...]:
        """Return the features that are read: the columns, what on-demand views need, what lookups need; none twice.

        A feature that the service treats differently from its view is another one than the view's own.
        """
        inputs = self.on_demand.inputs if self.on_demand is not None else ()
        listed = (*self.items, *inputs)
        found: dict[tuple[str, str], SelectedFeature] = {}
        needed = [one for item in listed for one in item.needed()]
        for item in (*listed, *needed):
            found.setdefault((item.group, item.read.name), item)
        return tuple(found.values())

    def groups(self) -> tuple[ViewGroup, ...]:
        """Return each view version once per role, in the order of first use, with its features in column order."""
        groups: dict[str, list[SelectedFeature]] = {}
        for item in self.stored():
            groups.setdefault(item.group, []).append(item)
        return tuple(
            ViewGroup(
                items[0].view, items[0].role, tuple(item.read for item in items), notes_of(items), items[0].lookups
            )
            for items in groups.values()
        )

    def views(self) -> tuple[ViewSpec, ...]:
        """Return each view version once, in the order of first use."""
        return tuple({item.view.key: item.view for item in self.stored()}.values())

    def key_types(self) -> dict[str, str]:
        """Return the columns that hold join keys and their types; of one that two views read differently, the last."""
        return {column: dtype for group in self.groups() for column, dtype in group.asked_keys().values()}


def select_items(
    service: ServiceSpec | None, items: Sequence[Selected], find: Callable[[PinnedFeature], ViewSpec | OnDemandSpec]
) -> Selection:
    """Return the selection of these features, in column order.

    Args:
        service: The service that was named.
        items: Stored features and on-demand ones.
        find: Returns the view version that an input of an on-demand view is pinned to.

    Raises:
        InputError: two of them fill the same column, or disagree about a request input.
        DefinitionError: the keys of a view are found in two ways under one role, or without one.
    """
    _refuse_repeats(items)
    stored = tuple(item for item in items if isinstance(item, SelectedFeature))
    chosen = Selection(service, stored, read_of(items, find))
    listed = (*stored, *(chosen.on_demand.inputs if chosen.on_demand else ()))
    every = (one for item in listed for one in (item, *item.needed()))
    refuse_two_mappings((one.view.name, one.role.name if one.role else "", one.mapping) for one in every)
    by_column: dict[str, SelectedFeature] = {}
    for item in listed:
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
