"""Roles: where a read finds a view's join keys, in other columns or in other features, and what it calls the view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.definitions.names import check_name
from asof.errors import DefinitionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from asof.definitions.on_demand_views import OnDemandView
    from asof.definitions.views import FeatureSelection, FeatureView


@dataclass(frozen=True)
class Role:
    """The part that an entity plays in a question, as the destination of a flight.

    Attributes:
        name: Without a double underscore; columns are named `role__view__feature`. Empty: `view__feature`, as without
            a role.
        keys: Pairs of join key and the column that holds it in spines and requests, in the entity's order. Join keys
            that are in neither are found under their own names.
        lookups: Pairs of join key and the feature that holds it, one feature per selection.
    """

    name: str
    keys: tuple[tuple[str, str], ...]
    lookups: tuple[tuple[str, FeatureSelection], ...] = ()

    def column(self, join_key: str) -> str:
        """Return the column that holds a join key."""
        return dict(self.keys).get(join_key, join_key)


_UNNAMED = Role("", ())


def make_role(view: str, join_keys: Sequence[str], name: str, keys: Mapping[str, str]) -> Role:
    """Return a checked role of a view.

    Raises:
        DefinitionError: a wrong name, no mapping, or one from something that is no join key of the view's entity.
    """
    check_role_name(name)
    if not join_keys:
        raise DefinitionError(
            f"View {view!r} can have no role",
            why="Its entity has no join keys, so there is nothing to find elsewhere",
            fix="List the view itself.",
        )
    if not isinstance(keys, Mapping) or not keys:
        raise DefinitionError(
            f"Role {name!r} of view {view!r} maps no join key",
            fix=f'Say where the key is found: keys={{"{join_keys[0]}": "{name}_{join_keys[0]}"}}.',
        )
    for key, column in keys.items():
        if key not in join_keys:
            raise DefinitionError(
                f"Role {name!r} maps {key!r}, which is no join key of view {view!r}",
                why=did_you_mean(str(key), join_keys),
                fix=f"Its join keys are {', '.join(join_keys)}; write the join key first, then the spine's column.",
            )
        if not isinstance(column, str) or not column:
            raise DefinitionError(
                f"Role {name!r} of view {view!r} maps {key!r} to {column!r}", fix="Give the name of a column."
            )
    return Role(name, tuple((key, keys[key]) for key in join_keys if key in keys))


def check_role_name(name: str) -> None:
    """Refuse what cannot name a role.

    Raises:
        DefinitionError: says why.
    """
    check_name("Role", name)
    if "__" in name:
        raise DefinitionError(
            f"Role name {name!r} holds a double underscore",
            why="Columns are named role__view__feature, so a role's own name cannot hold one",
            fix="Use a single underscore.",
        )


def prefixed(role: Role | None, name: str) -> str:
    """Return a view's or column's name as the role shows it: `role__name`, without a role's name the name itself."""
    return name if role is None or not role.name else f"{role.name}__{name}"


def looked_up(role: Role | None) -> Iterator[FeatureSelection]:
    """Yield the features that a role finds join keys in, and those that are needed to read these."""
    for _, one in role.lookups if role is not None else ():
        yield one
        yield from looked_up(one.role)


def read_under(view: FeatureView | OnDemandView, role: Role | None) -> Iterator[tuple[str, str, object]]:
    """Yield what `refuse_two_mappings` takes, of a view that is read and of those that its join keys are found in."""
    yield view.name, "" if role is None else role.name, role or _UNNAMED
    for one in looked_up(role):
        yield one.view.name, "" if one.role is None else one.role.name, one.role or _UNNAMED


def refuse_two_mappings(used: Iterable[tuple[str, str, object]]) -> None:
    """Refuse two roles of one name, or none, that find one view's keys in different places.

    Args:
        used: A view's name, the name of the role that it is read under, or "", and where this finds the join keys.

    Raises:
        DefinitionError: names the first of them.
    """
    seen: dict[tuple[str, str], object] = {}
    for view, name, mapping in used:
        if seen.setdefault((view, name), mapping) != mapping:
            shown = f"Role {name!r} of view {view!r}" if name else f"View {view!r}, read without a role,"
            raise DefinitionError(
                f"{shown} maps its join keys in two ways",
                why="" if name else "Both would be called the same in answers",
                fix="Give the two roles different names." if name else "Read one of them under a role.",
            )
