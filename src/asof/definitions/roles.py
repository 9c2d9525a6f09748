"""Roles: one view joined under several names, each finding the entity's join keys in columns of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.definitions.names import check_name
from asof.errors import DefinitionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Role:
    """The part that an entity plays in a question, as the destination of a flight.

    Attributes:
        name: Without a double underscore; columns are named `role__view__feature`.
        keys: Pairs of join key and the column that holds it in spines and requests, in the entity's order. Join keys
            that are not here are found under their own names.
    """

    name: str
    keys: tuple[tuple[str, str], ...]

    def column(self, join_key: str) -> str:
        """Return the column that holds a join key."""
        return dict(self.keys).get(join_key, join_key)


def make_role(view: str, join_keys: Sequence[str], name: str, keys: Mapping[str, str]) -> Role:
    """Return a checked role of a view.

    Raises:
        DefinitionError: a wrong name, no mapping, or one from something that is no join key of the view's entity.
    """
    check_name("Role", name)
    if "__" in name:
        raise DefinitionError(
            f"Role name {name!r} holds a double underscore",
            why="Columns are named role__view__feature, so a role's own name cannot hold one",
            fix="Use a single underscore.",
        )
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


def prefixed(role: Role | None, name: str) -> str:
    """Return a view's or column's name as the role shows it: `role__name`, without a role the name itself."""
    return name if role is None else f"{role.name}__{name}"


def refuse_two_mappings(used: Iterable[tuple[str, Role | None]]) -> None:
    """Refuse two roles of one name that find one view's keys in different columns.

    Args:
        used: Pairs of a view's name and the role that it is read under.

    Raises:
        DefinitionError: names the first of them.
    """
    seen: dict[tuple[str, str], Role] = {}
    for view, role in used:
        if role is not None and seen.setdefault((view, role.name), role) != role:
            raise DefinitionError(
                f"Role {role.name!r} of view {view!r} maps its join keys in two ways",
                fix="Give the two roles different names.",
            )
