"""The errors of online reads that name what cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.errors import InputError, NotMaterializedError

if TYPE_CHECKING:
    from asof.plan.specs import ViewSpec


def not_materialized(view: ViewSpec) -> NotMaterializedError:
    """Return the error for a view without a generation."""
    return NotMaterializedError(
        f"View {view.key} is not in the online store",
        why="It was never materialized",
        fix=f"Run `asof materialize {view.name}`",
    )


def not_names(features: object) -> InputError:
    """Return the error for features that are not named by text."""
    return InputError(
        f"Online features are named by text, not by {type(features).__name__}",
        why="The online store holds what is registered, under its name",
        fix='Give a service, as "fraud", or a list of "view:feature" texts.',
    )
