"""How services treat missing values, as specs: checked against features, and as what a join has to note."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from asof.plan.resolve import default_to_json
from asof.plan.specs import MissingSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asof.definitions.missing import Missing
    from asof.plan.selected import SelectedFeature
    from asof.plan.specs import Json


@dataclass(frozen=True)
class Notes:
    """What a join of one view finds out besides values, by the names of the features as it reads them.

    Attributes:
        limits: Pairs of feature and the greatest age of its row, in microseconds.
        indicators: Features of which it is noted where they are not present.
        refused: Features that must be present.
    """

    limits: tuple[tuple[str, int], ...] = ()
    indicators: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def missing_spec(missing: Missing | None, dtype: str, feature: str) -> MissingSpec | None:
    """Return the spec of a treatment.

    Args:
        missing: As it is defined.
        dtype: The feature's.
        feature: Its name, as view:feature, for errors.

    Raises:
        DefinitionError: the default is not a value of the feature's type.
    """
    if missing is None:
        return None
    default = missing.default
    return MissingSpec(
        default=msgspec.UNSET if default is ... else _stored(default, dtype, feature),
        limit_us=missing.limit_us,
        indicator=missing.indicator,
        error=missing.error,
    )


def _stored(default: object, dtype: str, feature: str) -> Json:
    return None if default is None else default_to_json(default, dtype, f"{feature} in a service")


def notes_of(items: Iterable[SelectedFeature]) -> Notes:
    """Return what a join has to note of the features of one view."""
    treated = [(item.read.name, item.missing) for item in items if item.missing is not None]
    return Notes(
        tuple((name, one.limit_us) for name, one in treated if one.limit_us is not None),
        tuple(name for name, one in treated if one.indicator),
        tuple(name for name, one in treated if one.error),
    )
