"""Lookups: join keys that are features of another view, as the customer who owns a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asof.definitions.roles import Role, check_role_name
from asof.errors import DefinitionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_lookup(view: str, join_keys: Sequence[str], found: Any, role: str | None) -> Role:
    """Return a role that finds join keys in features.

    Args:
        view: The view's name.
        join_keys: Of its entity.
        found: One feature, for an entity with one join key; or a mapping of join key to a feature or a column.
        role: Its name; None for the view's own columns.

    Raises:
        DefinitionError: a wrong name, no feature, several at once, one that is computed by the read, or a mapping from
            something that is no join key of the view's entity.
    """
    if role is not None:
        check_role_name(role)
    if not isinstance(found, Mapping):
        if len(join_keys) != 1:
            raise DefinitionError(
                f"View {view!r} has {len(join_keys) or 'no'} join keys to be found in {_shown(found)}",
                why="" if join_keys else "There is one of its entity, so there is nothing to look up",
                fix=f'Map them: via({{"{join_keys[0]}": cards["customer_id"]}}).'
                if join_keys
                else "List the view itself.",
            )
        found = {join_keys[0]: found}
    for key, place in found.items():
        if key not in join_keys:
            raise DefinitionError(
                f"{key!r} is no join key of view {view!r}",
                why=did_you_mean(str(key), join_keys),
                fix=f"Its join keys are {', '.join(join_keys) or 'none'}.",
            )
        _check(view, key, place)
    columns = tuple((key, found[key]) for key in join_keys if isinstance(found.get(key), str))
    lookups = tuple((key, found[key]) for key in join_keys if key in found and not isinstance(found[key], str))
    if not lookups:
        raise DefinitionError(
            f"View {view!r} looks up no join key",
            fix='Name a feature: via(cards["customer_id"]); for other columns write with_role("name", keys={…}).',
        )
    return Role(role or "", columns, lookups)


def _check(view: str, key: str, place: Any) -> None:
    if isinstance(place, str):
        if not place:
            raise DefinitionError(f"View {view!r} maps {key!r} to ''", fix="Give the name of a column, or a feature.")
        return
    # Views offer lookups, so this module cannot import them: a selection is known by its names, a stored view by its
    # entity.
    if len(getattr(place, "names", ())) != 1:
        raise DefinitionError(
            f"View {view!r} cannot find {key!r} in {_shown(place)}",
            why="A join key is one feature",
            fix='Select it by name, as cards["customer_id"].',
        )
    if place.missing is not None:
        raise DefinitionError(
            f"View {view!r} cannot find {key!r} in {_shown(place)} with_missing(…)",
            why="A join key is what the feature's own view gives",
            fix="Give the feature a default there, or leave with_missing out.",
        )
    if not hasattr(place.view, "entity"):
        raise DefinitionError(
            f"View {view!r} cannot find {key!r} in {_shown(place)}",
            why="That is computed at the end of a read, when the keys must be known",
            fix="Look keys up in a state view or an event view.",
        )


def _shown(place: Any) -> str:
    """Return a feature as references write it, and anything else as it is."""
    if hasattr(place, "names"):
        return ", ".join(f"{place.view.name}:{name}" for name in place.names)
    return repr(getattr(place, "name", place))
