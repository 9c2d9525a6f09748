"""What a service does where a feature has no value: a default of its own, a limit of age, an indicator, a refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asof.durations import Duration, parse_duration
from asof.errors import DefinitionError

if TYPE_CHECKING:
    from types import EllipsisType

INDICATOR = "__missing"
"""Ends the name of an indicator's column."""


@dataclass(frozen=True)
class Missing:
    """How a service treats the missing values of one feature.

    Attributes:
        default: Replaces null instead of the feature's own default; None: null stays null. `...`: the feature's own.
        limit_us: A row older than this is expired for this feature; one of exactly this age is not. None: as the view
            has it.
        indicator: Whether a column says where the value was not present.
        error: Whether a read fails where the value is not present.
    """

    default: Any | EllipsisType = ...
    limit_us: int | None = None
    indicator: bool = False
    error: bool = False


def make_missing(
    view: str, *, state: bool, default: Any, limit: Duration | None, indicator: bool, error: bool
) -> Missing:
    """Return a checked treatment of the missing values of a view's features.

    Raises:
        DefinitionError: nothing is said, the parts contradict each other, or a limit is for what has no newest row.
    """
    if limit is not None and not state:
        raise DefinitionError(
            f"Features of {view!r} can have no limit",
            why="A limit is the greatest age of the newest row, which only state views show",
            fix="Leave it out; the window of an aggregate says how far back it looks.",
        )
    if error and (default is not ... or indicator):
        raise DefinitionError(
            f"Features of {view!r} have an error where they are missing, and a default or an indicator, too",
            why="A read that meets a missing value fails, so there is nothing to fill or to mark",
            fix="Keep one of them.",
        )
    if default is ... and limit is None and not indicator and not error:
        raise DefinitionError(
            f"with_missing of {view!r} says nothing", fix="Give a default, a limit, indicator=True or error=True."
        )
    limit_us = None if limit is None else parse_duration(limit, f"The limit of {view!r}")
    return Missing(default, limit_us, indicator, error)
