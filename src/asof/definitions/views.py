"""Feature views: the newest row of an entity (state), or aggregates over its events (event)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from asof.definitions.aggregates import Aggregate
from asof.definitions.entity import Entity
from asof.definitions.lookups import make_lookup
from asof.definitions.missing import Missing, make_missing
from asof.definitions.names import check_name, check_tags
from asof.definitions.roles import Role, make_role
from asof.definitions.sources import Source
from asof.definitions.transforms import RowTransform, check_select
from asof.durations import Duration, parse_duration
from asof.errors import DefinitionError, NotFoundError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asof.definitions.on_demand_views import OnDemandView


@dataclass(frozen=True)
class Feature:
    """One feature of a state view.

    Attributes:
        name: The feature's name.
        column: The source's column. Default: the name.
        default: Replaces null.
        description: For people.
        tags: Free labels; those of personal data mask the feature.
    """

    name: str
    column: str | None = None
    default: Any = None
    description: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("Feature", self.name)
        object.__setattr__(self, "tags", check_tags("feature", self.name, self.tags))


@dataclass(frozen=True)
class FeatureSelection:
    """Some features of a view, as a service lists them: `profile["country"]`, under a role or without.

    Attributes:
        role: Where the join keys are found; None finds them under their own names.
        missing: What a service does where these features have no value; None gives what the view gives.
    """

    view: FeatureView | OnDemandView
    names: tuple[str, ...]
    role: Role | None = None
    missing: Missing | None = None

    __iter__ = None  # else Python would iterate through __getitem__

    def __getitem__(self, names: str | Iterable[str]) -> FeatureSelection:
        """Select one feature of the view by name, or several by a list of names, under the same role.

        Raises:
            NotFoundError: the view has no such feature.
        """
        return replace(self.view[names], role=self.role, missing=self.missing)

    def with_missing(
        self, *, default: Any = ..., limit: Duration | None = None, indicator: bool = False, error: bool = False
    ) -> FeatureSelection:
        """Return the selection with what a service does where these features have no value; it replaces an earlier one.

        The status of a value stays what it was, whatever replaces it. Views and on-demand views that read the feature
        see what its own view gives.

        Args:
            default: Replaces null instead of the feature's own default; None leaves null. Default: the feature's own.
            limit: Of state views: a row older than this is expired for these features, as by a `ttl`; age exactly
                `limit` is still valid. The view's own `ttl` holds besides.
            indicator: Add a bool column `<column>__missing` after each feature's: true where the value is not
                `present`, so null, missing or expired.
            error: Let a read or a join fail where the value is not `present`.

        Raises:
            DefinitionError: nothing is said, an error beside a default or an indicator, a wrong limit, or one for
                features that are not of a state view.
        """
        made = make_missing(
            self.view.name,
            state=isinstance(self.view, StateView),
            default=default,
            limit=limit,
            indicator=indicator,
            error=error,
        )
        return replace(self, missing=made)


@dataclass(frozen=True, eq=False)
class FeatureView:
    """What state views and event views share.

    Attributes:
        name: Without a double underscore; columns are named `view__feature`.
        entity: What the features are about.
        source: Where the rows come from.
        transform: A Python function that adds columns to the source's rows; its columns are the source's from then on.
        select: Column names and SQL expressions over the source's columns, computed row by row; features, join keys
            and predicates use them like the source's own.
        where: A SQL predicate on all these columns; rows where it is not true do not exist for this view.
        freshness_us: How old online values may be before a read says that they are stale. None: any age.
        description: For people.
        owner: Who answers for it.
        tags: Free labels.
    """

    name: str
    entity: Entity
    source: Source
    transform: RowTransform | None
    select: tuple[tuple[str, str], ...]
    where: str | None
    freshness_us: int | None
    description: str
    owner: str
    tags: tuple[str, ...]

    __iter__ = None  # else Python would iterate through __getitem__

    def feature_names(self) -> tuple[str, ...]:
        """Return the features' names in the order of the definition."""
        raise NotImplementedError

    def __getitem__(self, names: str | Iterable[str]) -> FeatureSelection:
        """Select one feature by name, or several by a list of names.

        Raises:
            NotFoundError: the view has no such feature.
        """
        return FeatureSelection(self, choose(self.name, self.feature_names(), names))

    def with_role(self, role: str, *, keys: Mapping[str, str]) -> FeatureSelection:
        """Return all features of the view under a role, whose join keys are found in other columns.

        Args:
            role: Goes before the columns' names: `role__view__feature`. Without a double underscore.
            keys: Join key of the view's entity to the column that holds it in spines and requests.

        Raises:
            DefinitionError: a wrong name, no mapping, or one from something that is no join key of the entity.
        """
        made = make_role(self.name, [key for key, _ in self.entity.join_keys], role, keys)
        return FeatureSelection(self, self.feature_names(), made)

    def via(
        self, lookup: FeatureSelection | Mapping[str, FeatureSelection | str], *, role: str | None = None
    ) -> FeatureSelection:
        """Return all features of the view, about the entity that a feature of another view names at each instant.

        At t the join key is the feature's value as it is known at t. Where that is null, the entity is nobody: features
        are null or their default, with status `missing`.

        Args:
            lookup: The feature that holds the join key, as `cards["customer_id"]`, itself under a role or found by a
                lookup if need be; or a mapping of join key to such a feature or to a column of spines and requests.
                Join keys that a mapping leaves out are found under their own names.
            role: Goes before the columns' names: `role__view__feature`. Default: they are named `view__feature`.

        Raises:
            DefinitionError: a wrong name, not one feature per join key, one of an on-demand view, or a mapping from
                something that is no join key of the entity.
        """
        made = make_lookup(self.name, [key for key, _ in self.entity.join_keys], lookup, role)
        return FeatureSelection(self, self.feature_names(), made)

    def with_missing(
        self, *, default: Any = ..., limit: Duration | None = None, indicator: bool = False, error: bool = False
    ) -> FeatureSelection:
        """Return all features of the view with what a service does where they have no value.

        See `FeatureSelection.with_missing`.

        Raises:
            DefinitionError: as there.
        """
        chosen = FeatureSelection(self, self.feature_names())
        return chosen.with_missing(default=default, limit=limit, indicator=indicator, error=error)

    def _set_common(self, entity: Entity, source: Source, rest: dict[str, Any]) -> None:
        check_name("View", self.name, double_underscore=False)
        if not isinstance(entity, Entity):
            raise DefinitionError(f"View {self.name!r} has entity {entity!r}", fix="Give an Entity.")
        if not isinstance(source, Source):
            raise DefinitionError(
                f"View {self.name!r} has source {source!r}",
                fix="Give a FileSource, DeltaSource, BatchSource, StreamSource or FrameSource.",
            )
        if rest["where"] is not None and not rest["where"].strip():
            raise DefinitionError(f"View {self.name!r} has an empty where", fix="Write a predicate or leave it out.")
        rest["select"] = check_select(self.name, rest["select"], rest["transform"])
        rest["tags"] = check_tags("view", self.name, rest["tags"])
        if rest["freshness_us"] is not None:
            rest["freshness_us"] = parse_duration(rest["freshness_us"], f"The freshness of view {self.name!r}")
        for field, value in {"entity": entity, "source": source, **rest}.items():
            object.__setattr__(self, field, value)


@dataclass(frozen=True, eq=False, init=False)
class StateView(FeatureView):
    """Facts that hold from their event time on: at t, the newest row known by t, its own instant included.

    Attributes:
        features: Columns of the source.
        ttl_us: A row older than this is expired; age exactly ttl is still valid. None: never.
    """

    features: tuple[Feature, ...]
    ttl_us: int | None

    def __init__(
        self,
        name: str,
        *,
        entity: Entity,
        source: Source,
        features: Iterable[str | Feature],
        ttl: Duration | None = None,
        where: str | None = None,
        select: Mapping[str, str] | None = None,
        transform: RowTransform | None = None,
        freshness: Duration | None = None,
        description: str = "",
        owner: str = "",
        tags: Iterable[str] = (),
    ) -> None:
        """Define a state view.

        Raises:
            DefinitionError: a wrong or repeated name, no features, a wrong ttl.
        """
        object.__setattr__(self, "name", name)
        rest: dict[str, Any] = {"transform": transform, "select": select, "where": where}
        rest |= {"freshness_us": freshness, "description": description, "owner": owner, "tags": tags}
        self._set_common(entity, source, rest)
        listed = [features] if isinstance(features, str | Feature) else list(features)
        if wrong := [f for f in listed if not isinstance(f, str | Feature)]:
            raise DefinitionError(
                f"State view {name!r} lists {wrong[0]!r}",
                why="A state view gives columns of the newest row",
                fix="List column names or Feature(...); aggregates belong in an EventView.",
            )
        chosen = tuple(Feature(f) if isinstance(f, str) else f for f in listed)
        _refuse_repeats(name, [f.name for f in chosen])
        object.__setattr__(self, "features", chosen)
        object.__setattr__(self, "ttl_us", None if ttl is None else parse_duration(ttl, f"The ttl of view {name!r}"))

    def feature_names(self) -> tuple[str, ...]:
        """Return the features' names in the order of the definition."""
        return tuple(f.name for f in self.features)


@dataclass(frozen=True, eq=False, init=False)
class EventView(FeatureView):
    """Aggregates over what happened before t, in windows; the event at t itself is never inside.

    Attributes:
        aggregates: Each gives one feature per window.
    """

    aggregates: tuple[Aggregate, ...]

    def __init__(
        self,
        name: str,
        *,
        entity: Entity,
        source: Source,
        features: Iterable[Aggregate],
        where: str | None = None,
        select: Mapping[str, str] | None = None,
        transform: RowTransform | None = None,
        freshness: Duration | None = None,
        description: str = "",
        owner: str = "",
        tags: Iterable[str] = (),
    ) -> None:
        """Define an event view.

        Raises:
            DefinitionError: a wrong or repeated name, no aggregates, or retractions without an event id.
        """
        object.__setattr__(self, "name", name)
        rest: dict[str, Any] = {"transform": transform, "select": select, "where": where}
        rest |= {"freshness_us": freshness, "description": description, "owner": owner, "tags": tags}
        self._set_common(entity, source, rest)
        listed = [features] if isinstance(features, Aggregate) else list(features)
        if wrong := [f for f in listed if not isinstance(f, Aggregate)]:
            raise DefinitionError(
                f"Event view {name!r} lists {wrong[0]!r}",
                why="An event view gives aggregates",
                fix='Write Sum("amount", windows=["1h"]) and the like; plain columns belong in a StateView.',
            )
        if source.deleted is not None and source.event_id is None:
            raise DefinitionError(
                f"Event view {name!r} reads source {source.name!r}, which retracts but has no event_id",
                why="A retraction names the event that it takes back",
                fix="Give the source an event_id, or leave deleted out.",
            )
        object.__setattr__(self, "aggregates", tuple(listed))
        _refuse_repeats(name, self.feature_names())

    def feature_names(self) -> tuple[str, ...]:
        """Return the features' names in the order of the definition, windows innermost."""
        return tuple(a.feature_name(w) for a in self.aggregates for w in a.windows)


def choose(view: str, known: tuple[str, ...], names: str | Iterable[str]) -> tuple[str, ...]:
    """Return one name or a list of names as a tuple.

    Raises:
        NotFoundError: one of them is not among the view's known features.
    """
    chosen = tuple(names) if isinstance(names, list | tuple) else (names,)
    for name in chosen:
        if name not in known:
            raise NotFoundError(
                f"View {view!r} has no feature {name!r}",
                why=did_you_mean(str(name), known),
                fix=f"It has {', '.join(known)}.",
            )
    return chosen


def _refuse_repeats(view: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        check_name("Feature", name)
        if name in seen:
            raise DefinitionError(
                f"View {view!r} has two features named {name!r}",
                fix="Give one of them a name= of its own.",
            )
        seen.add(name)
    if not seen:
        raise DefinitionError(f"View {view!r} has no features", fix="List at least one.")
