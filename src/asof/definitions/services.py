"""Feature services: the features a model reads, in order, with the versions it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from asof.definitions.missing import INDICATOR, Missing
from asof.definitions.names import check_name, check_tags
from asof.definitions.on_demand_views import OnDemandView
from asof.definitions.roles import Role, prefixed, read_under, refuse_two_mappings
from asof.definitions.views import FeatureSelection, FeatureView
from asof.errors import DefinitionError, InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Consistency = Literal["latest", "snapshot"]
LATEST: Consistency = "latest"
_CONSISTENCIES = ("latest", "snapshot")


@dataclass(frozen=True, eq=False, init=False)
class FeatureService:
    """A named, ordered list of features.

    Attributes:
        features: Pairs of view and feature name; every pair once per role.
        roles: The role of every feature, in the same order; None for a feature without one.
        missing: What happens where a feature has no value, in the same order; None gives what its view gives.
        consistency: How online reads choose their instant, unless the reader says: "latest" or "snapshot".
    """

    name: str
    features: tuple[tuple[FeatureView | OnDemandView, str], ...]
    roles: tuple[Role | None, ...]
    missing: tuple[Missing | None, ...]
    consistency: Consistency
    description: str
    owner: str
    tags: tuple[str, ...]

    def __init__(
        self,
        name: str,
        *,
        features: Iterable[FeatureView | OnDemandView | FeatureSelection],
        consistency: Consistency = LATEST,
        description: str = "",
        owner: str = "",
        tags: Iterable[str] = (),
    ) -> None:
        """Define a service from whole views (`spend`) and selections (`profile["country"]`), under roles or without.

        With `consistency="snapshot"` online reads show all views as of one instant at which each of them is exact, or
        fail with a retryable error. It chooses instants, not values, so it is no part of the service's version.

        Raises:
            DefinitionError: a wrong name, no features, a feature listed twice under one role, a feature named like
                another's indicator, a role that maps the keys of a view in two ways, or an unknown consistency.
        """
        check_name("Service", name)
        if consistency not in _CONSISTENCIES:
            raise DefinitionError(
                f"Service {name!r} has consistency {consistency!r}",
                why=did_you_mean(str(consistency), _CONSISTENCIES),
                fix='Use "latest" or "snapshot".',
            )
        pairs: list[tuple[FeatureView | OnDemandView, str]] = []
        roles: list[Role | None] = []
        missing: list[Missing | None] = []
        single = FeatureView | OnDemandView | FeatureSelection
        for item in [features] if isinstance(features, single) else features:
            if isinstance(item, FeatureView | OnDemandView):
                pairs += [(item, feature) for feature in item.feature_names()]
                roles += [None] * len(item.feature_names())
                missing += [None] * len(item.feature_names())
            elif isinstance(item, FeatureSelection):
                pairs += [(item.view, feature) for feature in item.names]
                roles += [item.role] * len(item.names)
                missing += [item.missing] * len(item.names)
            else:
                raise DefinitionError(
                    f"Service {name!r} lists {item!r}", fix='List views, or selections such as profile["country"].'
                )
        if not pairs:
            raise DefinitionError(f"Service {name!r} has no features", fix="List at least one.")
        seen: set[str] = set()
        for (view, feature), role in zip(pairs, roles, strict=True):
            column = prefixed(role, f"{view.name}__{feature}")
            if column in seen:
                under = f" under role {role.name!r}" if role and role.name else ""
                raise DefinitionError(
                    f"Service {name!r} lists {view.name}:{feature} twice{under}",
                    why=f"Both fill column {column}",
                    fix="List each feature once.",
                )
            seen.add(column)
        for (view, feature), role, how in zip(pairs, roles, missing, strict=True):
            column = prefixed(role, f"{view.name}__{feature}{INDICATOR}")
            if how is not None and how.indicator and column in seen:
                raise DefinitionError(
                    f"Service {name!r} has two columns {column}",
                    why=f"One is a feature, the other says where {view.name}:{feature} is missing",
                    fix="Leave one of them out, or rename the feature.",
                )
        refuse_two_mappings(one for (view, _), role in zip(pairs, roles, strict=True) for one in _read(view, role))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "features", tuple(pairs))
        object.__setattr__(self, "roles", tuple(roles))
        object.__setattr__(self, "missing", tuple(missing))
        object.__setattr__(self, "consistency", consistency)
        object.__setattr__(self, "description", description)
        object.__setattr__(self, "owner", owner)
        object.__setattr__(self, "tags", check_tags("service", name, tags))


def check_consistency(wanted: Any) -> Consistency:
    """Return what a reader asks for.

    Raises:
        InputError: there is no such consistency.
    """
    if wanted not in _CONSISTENCIES:
        raise InputError(
            f"There is no consistency {wanted!r}",
            why=did_you_mean(str(wanted), _CONSISTENCIES),
            fix='Use "latest" or "snapshot".',
        )
    return cast("Consistency", wanted)


def _read(view: FeatureView | OnDemandView, role: Role | None) -> Iterator[tuple[str, str, object]]:
    """Yield how a view is read, and how what an on-demand view computes with is."""
    yield from read_under(view, role)
    for used, _, under in view.inputs if isinstance(view, OnDemandView) else ():
        yield from _read(used, under)
