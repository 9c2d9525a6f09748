"""Deletes what nothing can ask for any more: removed objects, old versions that no service pins, and their storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.errors import InputError
from asof.interfaces.registry import Change, Revision
from asof.plan.references import parse_object
from asof.plan.registered import NOUNS
from asof.plan.specs import ServiceSpec
from asof.services.apply import operating_system_user

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asof.clock import Clock
    from asof.interfaces import OnlineStore, Registry
    from asof.interfaces.online import ViewKey
    from asof.interfaces.registry import Kind
    from asof.services.catalog import Catalog, Entry


@dataclass(frozen=True)
class Prunable:
    """One version of one object that can go, and why."""

    kind: Kind
    name: str
    version: int
    why: str


@dataclass(frozen=True)
class PrunePlan:
    """What a prune deletes.

    Attributes:
        expected_revision: A prune is refused when the registry is no longer there.
        items: Versions of objects, by kind, name and version.
        storage: Views in the online store that nothing refers to then.
    """

    expected_revision: int
    items: tuple[Prunable, ...]
    storage: tuple[ViewKey, ...]

    def __bool__(self) -> bool:
        """Whether there is anything to delete."""
        return bool(self.items or self.storage)


def plan_prune(catalog: Catalog, online: OnlineStore, *, project: str, services: Sequence[str] = ()) -> PrunePlan:
    """Return what can go: removed objects, and old versions that no remaining service version pins.

    An old version of a service stays, because a model may read it, and with it the view versions that it pins;
    unless it is named.

    Args:
        catalog: The registry.
        online: The online store.
        project: The project's name in the online store.
        services: Old versions of services that no model reads any more, as "fraud@1".

    Raises:
        NotFoundError: no such version of a service.
        InputError: a service is named without a version, or by its newest one.
    """
    named = {_old_service(catalog, text) for text in services}
    entries = catalog.entries()
    gone = {(e.kind, e.name) for e in entries if e.newest and e.hidden}
    kept_services = [
        e
        for e in entries
        if isinstance(e.spec, ServiceSpec) and (e.kind, e.name) not in gone and (e.name, e.version) not in named
    ]
    users = [e.spec.features for e in kept_services if isinstance(e.spec, ServiceSpec)]
    pinned = catalog.reads(feature for features in users for feature in features)
    pinned |= catalog.reads(one for view in catalog.on_demand_views() for one in view.inputs)
    items = []
    for entry in entries:
        if why := _why(entry, gone, pinned, named):
            items.append(Prunable(entry.kind, entry.name, entry.version, why))
    deleted = {(item.name, item.version) for item in items if item.kind == "view"}
    kept = {(e.name, e.version) for e in entries if e.kind == "view"} - deleted
    storage = [key for key in online.generations(project) if (key.view, key.version) not in kept]
    return PrunePlan(catalog.revision, tuple(items), tuple(sorted(storage, key=lambda k: (k.view, k.version))))


def prune(
    registry: Registry, online: OnlineStore, plan: PrunePlan, *, clock: Clock, who: str | None = None
) -> Revision | None:
    """Delete what a plan lists, for good; return the new revision, or None where only storage was left to delete.

    The registry goes first: after a crash in between, the next prune finds storage that nothing refers to.

    Raises:
        ConflictError: someone applied since the plan was made; nothing is deleted.
    """
    revision = None
    if plan.items:
        revision = registry.commit(
            plan.expected_revision,
            [Change("prune", item.kind, item.name, item.version) for item in plan.items],
            who=who or operating_system_user(),
            at_us=clock.now_us(),
            summary=f"pruned {_names(plan.items)}",
        )
    for key in plan.storage:
        online.drop(key)
    return revision


def _why(
    entry: Entry,
    gone: set[tuple[Kind, str]],
    pinned: set[tuple[Kind, str, int]],
    named: set[tuple[str, int]],
) -> str:
    """Return why a version can go, or an empty string where it stays."""
    if (entry.kind, entry.name, entry.version) in pinned:
        return ""
    if (entry.kind, entry.name) in gone:
        return "removed from the definitions"
    if entry.kind == "service":
        return "named by you" if (entry.name, entry.version) in named else ""
    if entry.newest:
        return ""
    return "an older version that no service pins" if entry.kind in ("view", "on_demand") else "an older version"


def _old_service(catalog: Catalog, text: str) -> tuple[str, int]:
    reference = parse_object(text)
    if reference.version is None:
        raise InputError(f"{text!r} names no version of a service", fix=f"Write {text}@1 or the version that you mean.")
    catalog.service(reference.name, reference.version)
    newest = next(e for e in catalog.entries("service", reference.name) if e.newest)
    if newest.version == reference.version and not newest.hidden:
        raise InputError(
            f"{text} is the newest version of the service",
            why="Only what is out of use can be pruned",
            fix="Remove the service from the definitions and apply, then prune.",
        )
    return reference.name, reference.version


def _names(items: Iterable[Prunable]) -> str:
    return ", ".join(f"{NOUNS[item.kind][0]} {item.name}@{item.version}" for item in items)
