"""What the registry and the online store hold, as data for people and programs: lists, descriptions, status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.errors import NotFoundError, did_you_mean
from asof.interfaces.online import RemoteStore, ViewKey
from asof.plan.lookups import with_lookups
from asof.plan.phrases import stream_text
from asof.plan.references import parse_object
from asof.plan.registered import KINDS, VERSIONED
from asof.plan.schedule import cadence
from asof.plan.specs import AnySpec, OnDemandSpec, ServiceSpec, SourceSpec, ViewSpec, address_of
from asof.services.dead_letters import list_letters
from asof.services.materialize import choose_views
from asof.services.standing import SourceStatus, ViewFreshness, source_status, view_freshness
from asof.services.workers import WorkerBoard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asof.circuit import CircuitState
    from asof.clock import Clock
    from asof.interfaces import DeadLetterStore, OfflineLog, OnlineStore
    from asof.interfaces.online import Generation
    from asof.plan.registered import Kind
    from asof.plan.specs import InputSpec, ServiceFeature
    from asof.services.catalog import Catalog


@dataclass(frozen=True)
class Listed:
    """One object as a list shows it: its newest version.

    Attributes:
        version: None for entities and sources, which are read as part of a view's version.
        about: What it is in a few words.
    """

    kind: Kind
    name: str
    version: int | None
    about: str
    description: str
    owner: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Description:
    """One version of one object, with what uses it.

    Attributes:
        versions: All stored versions.
        hidden: Removed from the definitions.
        used_by: For a view, the newest on-demand views and the service versions that read this version of it; for
            entities and sources, the newest views that read them.
        generation: For a view, what the online store holds of this version.
    """

    kind: Kind
    name: str
    version: int
    spec: AnySpec
    versions: tuple[int, ...]
    hidden: bool
    used_by: tuple[str, ...]
    generation: Generation | None


@dataclass(frozen=True)
class ViewStatus:
    """How fresh one view version is online. Instants and durations are in microseconds.

    Attributes:
        newest: Whether it is the newest version.
        services: The service versions that pin it.
        generation: What the online store holds, or None.
        age_us: The clock minus the generation's instant; None without a generation.
        source: What it reads.
        freshness: The rest; None without a generation.
    """

    view: str
    version: int
    newest: bool
    services: tuple[str, ...]
    generation: Generation | None
    age_us: int | None
    source: str
    freshness: ViewFreshness | None


@dataclass(frozen=True)
class Status:
    """A project at a glance.

    Attributes:
        revision: The registry's.
        counts: Objects per kind, removed ones not counted.
        views: Every view version that reads may ask for, by name and version.
        sources: Every stream source, by name.
        circuit: Whether this process reads the online store at present; None of a store on this machine.
    """

    project: str
    revision: int
    counts: dict[Kind, int]
    views: tuple[ViewStatus, ...]
    sources: tuple[SourceStatus, ...]
    circuit: CircuitState | None = None


def list_objects(catalog: Catalog, kind: Kind | None = None) -> list[Listed]:
    """Return the newest version of every object that is not removed, by kind and name."""
    found: dict[Kind, list[AnySpec]] = {
        "entity": [*catalog.entities()],
        "source": [*catalog.sources()],
        "view": [*catalog.views()],
        "on_demand": [*catalog.on_demand_views()],
        "service": [*catalog.services()],
    }
    return [
        Listed(
            kind=one,
            name=spec.name,
            version=spec.version if isinstance(spec, VERSIONED) else None,
            about=_about(spec),
            description=spec.description,
            owner=spec.owner,
            tags=spec.tags,
        )
        for one in KINDS
        if kind in (None, one)
        for spec in found[one]
    ]


def describe_object(catalog: Catalog, online: OnlineStore, reference: str, *, project: str) -> list[Description]:
    """Return the objects that a reference names, one per kind that has the name: views, services, entities, sources.

    Args:
        catalog: The registry.
        online: The online store.
        reference: "spend" for the newest version, removed or not, or "spend@3".
        project: The project's name in the online store.

    Raises:
        NotFoundError: nothing has that name or version.
        InputError: the text is no reference.
    """
    wanted = parse_object(reference.partition(":")[0])
    entries = [
        entry
        for kind in reversed(KINDS)
        for entry in catalog.entries(kind, wanted.name)
        if (entry.newest if wanted.version is None else entry.version == wanted.version)
    ]
    if not entries:
        known = {entry.name for entry in catalog.entries() if not entry.hidden}
        raise NotFoundError(
            f"There is nothing named {reference!r} in the registry",
            why=did_you_mean(wanted.name, known),
            fix="`asof list` shows what there is.",
        )
    generations = online.generations(project)
    return [
        Description(
            kind=entry.kind,
            name=entry.name,
            version=entry.version,
            spec=entry.spec,
            versions=tuple(e.version for e in catalog.entries(entry.kind, entry.name)),
            hidden=entry.hidden,
            used_by=_used_by(catalog, entry.kind, entry.name, entry.version),
            generation=generations.get(ViewKey(project, entry.name, entry.version)) if entry.kind == "view" else None,
        )
        for entry in entries
    ]


def project_status(
    catalog: Catalog, online: OnlineStore, log: OfflineLog, letters: DeadLetterStore, *, project: str, clock: Clock
) -> Status:
    """Return how fresh every view version is that reads may ask for, and how far every stream source has come."""
    newest = {view.key for view in catalog.views()}
    chosen = choose_views(catalog, None)
    read = [*catalog.sources(), *(view.source for view in chosen)]
    heads = {name: log.of(name).head() for name in sorted({one.name for one in read if one.kind == "stream"})}
    generations = online.generations(project)  # after the logs, so that what arrives in between is not missing
    now_us = clock.now_us()
    views = []
    for view in chosen:
        generation = generations.get(ViewKey(project, view.name, view.version))
        views.append(
            ViewStatus(
                view=view.name,
                version=view.version,
                newest=view.key in newest,
                services=_used_by(catalog, "view", view.name, view.version),
                generation=generation,
                age_us=None if generation is None else now_us - generation.instant_us,
                source=view.source.name,
                freshness=None if generation is None else view_freshness(view, generation, heads, now_us),
            )
        )
    listed = list_objects(catalog)
    counts = {kind: sum(1 for one in listed if one.kind == kind) for kind in KINDS}
    board = WorkerBoard(online, project)
    sources = tuple(
        source_status(
            name,
            head,
            board.records(name),
            now_us,
            dead_letters=list_letters(letters.of(name), log.of(name), 0).total,
        )
        for name, head in heads.items()
    )
    circuit = online.circuit.state() if isinstance(online, RemoteStore) else None
    return Status(project, catalog.revision, counts, tuple(views), sources, circuit)


def _about(spec: AnySpec) -> str:
    if isinstance(spec, ViewSpec):
        return f"{_count(len(spec.features), 'feature')} of {spec.entity.name} from {spec.source.name}"
    if isinstance(spec, OnDemandSpec):
        read = f"{_count(len(spec.inputs), 'input')} and {_count(len(spec.request), 'request field')}"
        return f"{_count(len(spec.features), 'feature')} from {read}"
    if isinstance(spec, ServiceSpec):
        views = len({feature.view for feature in spec.features})
        return f"{_count(len(spec.features), 'feature')} of {_count(views, 'view')}"
    if isinstance(spec, SourceSpec):
        if spec.batch is not None:
            inputs = ", ".join(one.name for one in spec.batch.inputs)
            return f"batch over {inputs}, {cadence(spec.batch)}"
        if spec.stream is not None:
            return stream_text(spec.stream)
        return f"{spec.format or spec.kind} {address_of(spec)}"
    return ", ".join(f"{key.name} {key.dtype}" for key in spec.join_keys) or "no join keys"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _used_by(catalog: Catalog, kind: Kind, name: str, version: int) -> tuple[str, ...]:
    if kind in ("view", "on_demand"):
        users = [e for e in catalog.entries() if not e.hidden]
        return tuple(
            e.spec.key
            for e in users
            if (isinstance(e.spec, ServiceSpec) and _pins(e.spec.features, kind, name, version))
            or (isinstance(e.spec, OnDemandSpec) and e.newest and _pins(e.spec.inputs, kind, name, version))
        )
    if kind == "source":
        reads = [s.name for s in catalog.sources() if s.batch and any(one.name == name for one in s.batch.inputs)]
        return (*reads, *(view.key for view in catalog.views() if view.source.name == name))
    if kind == "entity":
        return tuple(view.key for view in catalog.views() if view.entity.name == name)
    return ()


def _pins(used: Iterable[ServiceFeature | InputSpec], kind: Kind, name: str, version: int) -> bool:
    pins = (("on_demand" if one.on_demand else "view", one.view, one.view_version) for one in with_lookups(used))
    return (kind, name, version) in pins
