"""Which names definitions may have, and the metadata that every definition carries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asof.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MAX_LENGTH = 120


def check_name(kind: str, name: object, *, double_underscore: bool = True) -> str:
    """Return `name` if it is a valid name for a `kind` of definition.

    Args:
        kind: What is named, for the error.
        name: The candidate.
        double_underscore: Whether "__" may occur; in views it may not, because it parts view and feature in columns.

    Raises:
        DefinitionError: it is not a letter followed by letters, digits and underscores, or it is too long.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _MAX_LENGTH:
        raise DefinitionError(
            f"{kind} name {name!r} is not valid",
            fix=f"Use a letter, then letters, digits and underscores, at most {_MAX_LENGTH} characters.",
        )
    if not double_underscore and "__" in name:
        raise DefinitionError(
            f"{kind} name {name!r} holds a double underscore",
            why="Columns are named view__feature, so a view's own name cannot hold one",
            fix="Use a single underscore.",
        )
    return name


def check_tags(kind: str, name: str, tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags sorted and unique.

    Raises:
        DefinitionError: `tags` is a single string, or holds something that is not a non-empty string.
    """
    found = (tags,) if isinstance(tags, str) else tuple(tags)
    if isinstance(tags, str) or not all(isinstance(tag, str) and tag for tag in found):
        raise DefinitionError(f"Tags of {kind} {name!r} are not a list of texts", fix='Write tags=["risk", "daily"].')
    return tuple(sorted(set(found)))
