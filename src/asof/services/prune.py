"""Deletes what nothing can ask for any more: removed objects, old versions that no service pins, and their storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.errors import ConflictError, InputError
from asof.interfaces.registry import Change, Revision
from asof.plan.references import parse_object
from asof.plan.registered import NOUNS
from asof.plan.specs import ServiceSpec, SourceSpec, ViewSpec
from asof.services.apply import operating_system_user
from asof.services.prune_batches import PublishedRows, unused_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asof.clock import Clock
    from asof.interfaces import OnlineStore, Registry
    from asof.interfaces.folders import FolderList
    from asof.interfaces.online import ViewKey
    from asof.interfaces.registry import Kind
    from asof.services.catalog import Catalog, Entry
    from asof.services.training_sets import TrainingSets


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
        batches: Published rows of batch sources that nothing reads then.
        kept: Published rows that nothing in the registry reads, and that stay for a training set.
    """

    expected_revision: int
    items: tuple[Prunable, ...]
    storage: tuple[ViewKey, ...]
    batches: tuple[PublishedRows, ...] = ()
    kept: tuple[PublishedRows, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to delete."""
        return bool(self.items or self.storage or self.batches)


def plan_prune(
    catalog: Catalog,
    online: OnlineStore,
    published: FolderList,
    training_sets: TrainingSets,
    *,
    project: str,
    services: Sequence[str] = (),
) -> PrunePlan:
    """Return what can go: removed objects, and old versions that no remaining service version pins.

    An old version of a service stays, because a model may read it, and with it the view versions that it pins;
    unless it is named.

    Args:
        catalog: The registry.
        online: The online store.
        published: Holds the rows of batch sources.
        training_sets: What they were made of stays.
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
    gone_items = {(item.kind, item.name, item.version) for item in items}
    sources = _sources(e for e in entries if (e.kind, e.name, e.version) not in gone_items)
    beside = {one.name for one in sources}
    storage = [
        key
        for key in online.generations(project)
        if (key.view, key.version) not in kept and not _is_beside(key, beside)
    ]
    gone_rows, kept_rows = unused_rows(published, sources, training_sets)
    return PrunePlan(
        catalog.revision,
        tuple(items),
        tuple(sorted(storage, key=lambda k: (k.view, k.version))),
        tuple(gone_rows),
        tuple(kept_rows),
    )


def prune(
    registry: Registry,
    online: OnlineStore,
    published: FolderList,
    plan: PrunePlan,
    *,
    clock: Clock,
    who: str | None = None,
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
    elif plan.batches and registry.revision() != plan.expected_revision:
        raise ConflictError(
            f"The registry is no longer at revision {plan.expected_revision}",
            why="Someone applied in between, and may read what was to be deleted; nothing was",
            fix="Run `asof prune` again.",
        )
    for key in plan.storage:
        online.drop(key)
    held = set(published.names())
    for rows in plan.batches:
        if rows.folder in held:  # or another prune was faster
            published.remove(rows.folder)
    return revision


def _is_beside(key: ViewKey, sources: set[str]) -> bool:
    """Return whether a store keeps this for itself, or for a source: what ids are known by, workers' records."""
    name, mark, _ = key.view.partition("#")
    return bool(mark) and (not name or name in sources)


def _sources(kept: Iterable[Entry]) -> list[SourceSpec]:
    specs = [entry.spec for entry in kept]
    read = [spec.source for spec in specs if isinstance(spec, ViewSpec)]
    return [*read, *(spec for spec in specs if isinstance(spec, SourceSpec))]


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
