"""Compares definitions with the registry and says what an apply would do: a plan, which is data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from asof.plan.alignment import misalignments
from asof.plan.batch import batch_of, in_order
from asof.plan.graph import dependencies, downstream
from asof.plan.lookups import pin
from asof.plan.registered import KINDS, VERSIONED, kind_of
from asof.plan.schedule import cadence
from asof.plan.specs import AnySpec, SourceSpec, ViewSpec, meaning_hash
from asof.plan.wording import describe_change

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asof.plan.graph import Edge
    from asof.plan.registered import Kind, Registered
    from asof.plan.resolved import Resolved
    from asof.plan.specs import OnDemandSpec, PinnedFeature, ServiceSpec

PlannedAction = Literal["create", "new_version", "metadata", "remove", "restore", "unchanged"]


@dataclass(frozen=True)
class PlannedChange:
    """What an apply does to one object.

    Attributes:
        action: create: the first version. new_version: its meaning changed. metadata: descriptions, owners, tags or
            unused columns changed, values cannot. remove: gone from the definitions, hidden and still readable by its
            pinned name. restore: defined again with the meaning it had. unchanged: nothing.
        version: The version that is newest afterwards.
        details: What changed, a phrase each.
        spec: The spec with that version; None for remove.
        hides: For remove, the versions to hide.
    """

    kind: Kind
    name: str
    action: PlannedAction
    version: int
    details: tuple[str, ...] = ()
    spec: AnySpec | None = None
    hides: tuple[int, ...] = ()


@dataclass(frozen=True)
class Backfill:
    """A view version that the online store does not have until it is materialized.

    Attributes:
        size_bytes: What its source takes on disk, and so what is read; 0 where it is not known.
    """

    view: str
    version: int
    source: str
    size_bytes: int


@dataclass(frozen=True)
class BatchBackfill:
    """A batch source of which no interval has been run with its present meaning.

    Attributes:
        cadence: When it runs, as "every 1d".
    """

    source: str
    cadence: str


@dataclass(frozen=True)
class Plan:
    """What an apply would do to a registry at one revision.

    Attributes:
        expected_revision: An apply is refused when the registry is no longer there.
        changes: One per object, by kind (entities, sources, views, on-demand views, services) and name, unchanged ones
            included.
        touched: Edges (used, user) of the dependency graph below everything whose meaning changes.
        backfills: What to materialize afterwards.
        batches: What to backfill before that, inputs before what reads them.
        notices: Sentences about schedules, windows and ttls of what is new or changed that do not fit each other.
    """

    expected_revision: int
    changes: tuple[PlannedChange, ...]
    touched: tuple[Edge, ...]
    backfills: tuple[Backfill, ...]
    batches: tuple[BatchBackfill, ...] = ()
    notices: tuple[str, ...] = ()

    def effective(self) -> tuple[PlannedChange, ...]:
        """Return the changes that do something."""
        return tuple(change for change in self.changes if change.action != "unchanged")

    def __bool__(self) -> bool:
        """Whether an apply would do anything."""
        return bool(self.effective())


def make_plan(registered: Registered, resolved: Resolved, source_bytes: Mapping[str, int]) -> Plan:
    """Return what turns the registry's newest revision into the definitions.

    Each object's meaning is compared with its newest version only: going back to the meaning of an older version
    gives a new version too, with storage of its own. Services and on-demand views pin the versions that their views
    have afterwards.

    Args:
        registered: The registry.
        resolved: All definitions; what is registered and not among them is removed.
        source_bytes: Sizes of the sources, by name.
    """
    specs: list[AnySpec] = [*resolved.entities, *resolved.sources, *resolved.views]
    changes = [_compare(registered, spec) for spec in specs]
    versions: dict[tuple[Kind, str], int] = {
        (change.kind, change.name): change.version for change in changes if change.kind == "view"
    }
    for computed in resolved.on_demand:
        changes.append(_compare(registered, _pin_inputs(computed, versions)))
        versions["on_demand", computed.name] = changes[-1].version
    changes += [_compare(registered, _pin(service, versions)) for service in resolved.services]
    changes += _removals(registered, {(change.kind, change.name) for change in changes})
    changes.sort(key=lambda change: (KINDS.index(change.kind), change.name))
    new_meaning = [change for change in changes if change.action in ("create", "new_version")]
    changed = {(change.kind, change.name) for change in new_meaning}
    return Plan(
        expected_revision=registered.revision,
        changes=tuple(changes),
        touched=downstream(
            dependencies(resolved.views, resolved.services, resolved.on_demand),
            [(change.kind, change.name) for change in new_meaning],
        ),
        backfills=tuple(
            Backfill(spec.name, spec.version, spec.source.name, source_bytes.get(spec.source.name, 0))
            for spec in (change.spec for change in new_meaning)
            if isinstance(spec, ViewSpec)
        ),
        batches=_batches(resolved.sources, {name for kind, name in changed if kind == "source"}),
        notices=tuple(text for spec in specs if (kind_of(spec), spec.name) in changed for text in misalignments(spec)),
    )


def _batches(sources: Iterable[SourceSpec], changed: set[str]) -> tuple[BatchBackfill, ...]:
    return tuple(
        BatchBackfill(source.name, cadence(batch_of(source))) for source in in_order(sources) if source.name in changed
    )


def _compare(registered: Registered, spec: AnySpec) -> PlannedChange:
    kind = kind_of(spec)
    newest = registered.newest.get((kind, spec.name))
    number = registered.last_versions.get((kind, spec.name), 0) + 1
    if newest is None:
        return PlannedChange(kind, spec.name, "create", number, (), _numbered(spec, number))
    details = describe_change(newest.spec, spec)
    if meaning_hash(newest.spec) != meaning_hash(spec):
        return PlannedChange(kind, spec.name, "new_version", number, details, _numbered(spec, number))
    current = _numbered(spec, newest.version)
    action: PlannedAction = "unchanged"
    if newest.hidden:
        action = "restore"
    elif newest.spec != current:
        action = "metadata"
    return PlannedChange(kind, spec.name, action, newest.version, details, current)


def _removals(registered: Registered, defined: set[tuple[Kind, str]]) -> list[PlannedChange]:
    return [
        PlannedChange(kind, name, "remove", newest.version, hides=newest.visible_versions)
        for (kind, name), newest in registered.newest.items()
        if (kind, name) not in defined and newest.visible_versions
    ]


def _numbered(spec: AnySpec, version: int) -> AnySpec:
    return msgspec.structs.replace(spec, version=version) if isinstance(spec, VERSIONED) else spec


def _pin(service: ServiceSpec, versions: Mapping[tuple[Kind, str], int]) -> ServiceSpec:
    pinned = tuple(pin(f, lambda used: _version(used, versions)) for f in service.features)
    return msgspec.structs.replace(service, features=pinned)


def _pin_inputs(computed: OnDemandSpec, versions: Mapping[tuple[Kind, str], int]) -> OnDemandSpec:
    pinned = tuple(pin(one, lambda used: _version(used, versions)) for one in computed.inputs)
    return msgspec.structs.replace(computed, inputs=pinned)


def _version(used: PinnedFeature, versions: Mapping[tuple[Kind, str], int]) -> int:
    return versions["on_demand" if used.on_demand else "view", used.view]
