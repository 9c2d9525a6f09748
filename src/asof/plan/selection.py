"""Which features a read asks for: versions settled, in the order of the answer's columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.definitions.roles import prefixed, refuse_two_mappings
from asof.errors import InputError
from asof.plan.specs import column_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asof.definitions.roles import Role
    from asof.plan.specs import FeatureSpec, ServiceSpec, ViewSpec


@dataclass(frozen=True)
class SelectedFeature:
    """One output column of a read: a feature of a view, and the role that the view is read under, if any."""

    view: ViewSpec
    feature: FeatureSpec
    role: Role | None = None

    @property
    def column(self) -> str:
        """The output column's name."""
        return column_name(self.view.name, self.feature.name, self.role)

    @property
    def group(self) -> str:
        """The key of the group that it is read in, see `ViewGroup`."""
        return prefixed(self.role, self.view.key)


@dataclass(frozen=True)
class ViewGroup:
    """One view version under one role, and the features that are read of it, in column order."""

    view: ViewSpec
    role: Role | None
    features: tuple[FeatureSpec, ...]

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
        items: One per output column, in column order; no column twice.
    """

    service: ServiceSpec | None
    items: tuple[SelectedFeature, ...]

    def columns(self) -> tuple[str, ...]:
        """Return the output columns' names, in order."""
        return tuple(item.column for item in self.items)

    def groups(self) -> tuple[ViewGroup, ...]:
        """Return each view version once per role, in the order of first use, with its features in column order."""
        groups: dict[str, list[SelectedFeature]] = {}
        for item in self.items:
            groups.setdefault(item.group, []).append(item)
        return tuple(
            ViewGroup(items[0].view, items[0].role, tuple(item.feature for item in items)) for items in groups.values()
        )

    def views(self) -> tuple[ViewSpec, ...]:
        """Return each view version once, in the order of first use."""
        return tuple({item.view.key: item.view for item in self.items}.values())

    def key_types(self) -> dict[str, str]:
        """Return the columns that hold join keys and their types; of one that two views read differently, the last."""
        return {
            column: key.dtype
            for group in self.groups()
            for column, key in zip(group.key_columns(), group.view.entity.join_keys, strict=True)
        }


def refuse_repeats(items: Iterable[SelectedFeature]) -> None:
    """Refuse items that would fill a column twice, or that use one role in two ways.

    Raises:
        InputError: names the first of them.
        DefinitionError: a role maps the keys of a view in two ways.
    """
    seen: dict[str, ViewSpec] = {}
    listed = list(items)
    for item in listed:
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
    refuse_two_mappings((item.view.name, item.role) for item in listed)
