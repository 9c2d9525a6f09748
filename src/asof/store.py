"""FeatureStore: the one object that users hold; it wires backends to services and delegates."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asof.backends.loading import open_online_store, open_registry
from asof.backends.local.executor import LocalExecutor
from asof.backends.local.expressions import LocalExpressions
from asof.backends.local.scanner import LocalScanner
from asof.backends.local.tables import LocalTableWriter, read_table
from asof.clock import Clock, SystemClock, parse_instant, to_us
from asof.config import FILE_NAME, find_root, load_config, parse_size
from asof.definitions.collection import Definitions
from asof.errors import InputError
from asof.plan.specs import column_name
from asof.services import unregistered
from asof.services.apply import apply_plan, plan_changes
from asof.services.catalog import Catalog
from asof.services.functions import FunctionLoader
from asof.services.grid import grid_spine, known_entities
from asof.services.history import HistoryReader
from asof.services.materialize import Materialized, Materializer, choose_views
from asof.services.on_demand import ON_DEMAND, ComputedColumns, OnDemandProgram, assemble
from asof.services.online import OnlineFeatures, OnlineReader
from asof.services.overview import describe_object, list_objects, project_status
from asof.services.project import collect_definitions
from asof.services.prune import plan_prune, prune
from asof.services.request import require_defaults
from asof.services.results import HistoricalFeatures
from asof.services.spine import check_columns, make_spine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from asof.definitions import FeatureSelection, FeatureService, FeatureView, OnDemandView
    from asof.definitions.collection import Definition
    from asof.interfaces import OnlineStore, Registry
    from asof.interfaces.registry import Revision
    from asof.plan.diff import Plan
    from asof.plan.registered import Kind
    from asof.plan.selection import Selection
    from asof.plan.specs import FunctionSpec
    from asof.services.grid import Instants
    from asof.services.history import ViewColumns
    from asof.services.online import Keys
    from asof.services.overview import Description, Listed, Status
    from asof.services.prune import PrunePlan
    from asof.services.request import Request

    _View = FeatureView | OnDemandView | FeatureSelection
    Features = str | FeatureService | _View | Sequence[str | _View]
    Instant = datetime | str

REFRESH_S = 0.5
_SCAN_SHARE = 4


class FeatureStore:
    """A project: its definitions, its registry, its history and its online store.

    Safe to use from several threads. Holds files open: close it, or use it as a context manager.
    """

    def __init__(self, path: str | os.PathLike[str] = ".", *, clock: Clock | None = None) -> None:
        """Open the project whose `asof.toml` is in `path` or above it.

        Args:
            path: A directory of the project.
            clock: Tells the present. Default: the machine's clock.

        Raises:
            NotFoundError: there is no project.
            ConfigError: its settings are wrong.
        """
        self.config = load_config(find_root(Path(path)), os.environ)
        self.clock: Clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._registry: Registry | None = None
        self._online: OnlineStore | None = None
        self._reader: OnlineReader | None = None
        self._catalog: Catalog | None = None
        self._checked_at_s = 0.0
        self._temporary: str | None = None
        self._expressions = LocalExpressions()

    @classmethod
    def temporary(cls, *, clock: Clock | None = None) -> FeatureStore:
        """Return a new, empty project in a temporary directory, which `close` deletes."""
        root = tempfile.mkdtemp(prefix="asof-")
        (Path(root) / FILE_NAME).write_text('project = "temporary"\ndefinitions = []\n', encoding="utf-8")
        store = cls(root, clock=clock)
        store._temporary = root
        return store

    # Definitions ---------------------------------------------------------------------------------------------------

    @property
    def registry(self) -> Registry:
        """The project's registry, opened on first use."""
        with self._lock:
            if self._registry is None:
                self._registry = open_registry(self.config.registry, self.config.root)
            return self._registry

    @property
    def online(self) -> OnlineStore:
        """The project's online store, opened on first use."""
        with self._lock:
            if self._online is None:
                self._online = open_online_store(self.config.online, self.config.root)
            return self._online

    def catalog(self) -> Catalog:
        """Return the registry's content; an apply elsewhere is seen within half a second."""
        with self._lock:
            now_s = time.monotonic()
            if self._catalog is None or now_s - self._checked_at_s > REFRESH_S:
                self._checked_at_s = now_s
                if self._catalog is None or self.registry.revision() != self._catalog.revision:
                    self._catalog = Catalog(self.registry.snapshot())
                    self._reader = None
            return self._catalog

    def plan(self, definitions: Iterable[Definition] | None = None) -> Plan:
        """Return what an apply would change in the registry: data, nothing is written.

        Args:
            definitions: Definitions to plan, which stand for all of the project. Default: those of its files.

        Raises:
            DefinitionError: a definition, or a file of them, is wrong.
            SourceError, SchemaError: a source cannot be read, or does not fit.
        """
        if definitions is None:
            collected = collect_definitions(self.config.root, self.config.definitions)
        else:
            collected = Definitions.of([("the definitions given", list(definitions))])
        scanner = self._scanner({}, self.config.memory_budget_bytes, os.cpu_count() or 1)
        return plan_changes(collected, Catalog(self.registry.snapshot()), scanner)

    def apply(self, plan: Plan | None = None, *, who: str | None = None, message: str = "") -> Revision:
        """Write a plan to the registry, as one revision and in one transaction.

        Args:
            plan: Default: the plan of the project's files, made now.
            who: Who applies. Default: the operating system's user.
            message: Why. Default: what changed, in words.

        Returns:
            The new revision, or the newest one where there is nothing to change.

        Raises:
            ConflictError: someone applied since the plan was made; nothing is written.
        """
        done = apply_plan(self.registry, plan or self.plan(), clock=self.clock, who=who, message=message)
        self._forget()
        return done

    def list(self, kind: Kind | None = None) -> Sequence[Listed]:
        """Return the newest version of every object that is not removed, by kind and name."""
        return list_objects(self.catalog(), kind)

    def describe(self, reference: str) -> Sequence[Description]:
        """Return what a name stands for, as "spend" or "spend@3": one description per kind that has the name.

        Raises:
            NotFoundError: nothing has that name or version.
        """
        return describe_object(self.catalog(), self.online, reference, project=self.config.project)

    def status(self) -> Status:
        """Return how fresh every view version is online, and what the registry holds."""
        return project_status(self.catalog(), self.online, project=self.config.project, clock=self.clock)

    def revisions(self, limit: int = 20) -> Sequence[Revision]:
        """Return the newest revisions, newest first."""
        return self.registry.revisions(limit)

    def plan_prune(self, services: Sequence[str] = ()) -> PrunePlan:
        """Return what a prune would delete: removed objects, and old versions that no service version pins.

        Args:
            services: Old versions of services that no model reads any more, as "fraud@1"; they go too, and with them
                the view versions that only they pin.
        """
        catalog = Catalog(self.registry.snapshot())
        return plan_prune(catalog, self.online, project=self.config.project, services=services)

    def prune(self, plan: PrunePlan | None = None, *, who: str | None = None) -> Revision | None:
        """Delete for good what a plan lists, online storage included.

        Args:
            plan: Default: what `plan_prune()` returns now.
            who: Who prunes. Default: the operating system's user.

        Returns:
            The new revision, or None where the registry had nothing to delete.

        Raises:
            ConflictError: someone applied since the plan was made; nothing is deleted.
        """
        done = prune(self.registry, self.online, plan or self.plan_prune(), clock=self.clock, who=who)
        self._forget()
        return done

    def _forget(self) -> None:
        with self._lock:
            self._catalog = self._reader = None

    # Training ------------------------------------------------------------------------------------------------------

    def get_historical_features(
        self,
        features: Features,
        spine: Any = None,
        *,
        event_time: str | None = None,
        entities: Any = None,
        instants: Instants | None = None,
        memory_budget: str | int | None = None,
        statuses: bool = False,
    ) -> HistoricalFeatures:
        """Join features to examples, each as it was known at its example's instant.

        Args:
            features: A service ("fraud", "fraud@2"), a list of references ("spend:count_1h", "spend@3:count_1h",
                "spend"), or definitions, which need not be registered.
            spine: Examples: join keys, an instant, the request inputs of on-demand views, and whatever else should
                come back. An Arrow table, a pandas or
                Polars frame, a dict of columns, or the path of a file or Delta table.
            event_time: The spine's column of instants. Default: `event_timestamp`, else its only timestamp column.
            entities: Instead of a spine, with `instants`: a table of join keys. Default: all that the sources know.
            instants: Instead of a spine: datetimes or ISO 8601 texts; every entity is asked about at each.
            memory_budget: As "2GB" or "25%". Default: the project's; beyond it work spills to disk.
            statuses: Add a column `<feature>__status` per feature: present, null, missing or expired.

        Returns:
            The spine's rows in its order, its columns first, then one column `view__feature` per feature.

        Raises:
            NotFoundError: no such service, view or feature.
            InputError: the spine lacks a key, an instant or a request input, or has a column of a feature's name; or
                names and definitions are mixed.
        """
        if (spine is None) == (instants is None) or (spine is not None and entities is not None):
            raise InputError(
                "There must be either a spine or instants",
                why="Entities and instants make a spine where there is none",
                fix="Give a spine, or instants= with or without entities=.",
            )
        definitions = unregistered.collect(features)
        budget = self.config.memory_budget_bytes
        if memory_budget is not None:
            budget = parse_size(memory_budget, "memory_budget")
        executor = LocalExecutor(self._state_dir("tmp"), budget)
        scanner = self._scanner(unregistered.frames(definitions) if definitions else {}, budget, executor.threads)
        if definitions is None:
            selection = self.catalog().select(features)
        else:
            selection = unregistered.select(features, definitions, scanner)
        if isinstance(spine, str | os.PathLike):
            spine = read_table(Path(spine), _text_keys(selection))
        elif instants is not None:
            if selection.on_demand is not None:
                require_defaults(selection.on_demand.request)
            views = [view for view, _ in selection.by_view()]
            spine = grid_spine(known_entities(scanner, views) if entities is None else entities, instants)
        prepared = make_spine(spine, event_time)
        stored = {column_name(view.name, feature.name): (view.key, feature.name) for view, feature in selection.items}
        columns = assemble(selection.columns(), stored, statuses=statuses)
        check_columns(prepared, [name for name, _, _ in columns])
        computed = None
        if selection.on_demand is not None:
            given = unregistered.functions(definitions) if definitions else {}
            program = OnDemandProgram(selection.on_demand, self._functions(given), self._expressions)
            computed = ComputedColumns(program, prepared, statuses=statuses)
        reader = HistoryReader(scanner, executor, now_us=self.clock.now_us())
        try:
            answers: dict[str, ViewColumns | ComputedColumns] = {}
            answers |= (read := reader.read_all(selection.by_view(), prepared, statuses=statuses))
            if computed is not None:
                answers[ON_DEMAND] = computed.over(read)
        except BaseException:
            executor.release()
            raise
        return HistoricalFeatures(prepared, answers, columns, executor, LocalTableWriter())

    def _scanner(self, frames: dict[str, Any], budget: int, threads: int) -> LocalScanner:
        quarantine = self.config.root / self.config.offline / "quarantine"
        return LocalScanner(
            self.config.root,
            frames=frames,
            quarantine=quarantine,
            memory_limit_bytes=max(budget // _SCAN_SHARE, 64 * 2**20),
            threads=threads,
        )

    def _functions(self, given: Mapping[FunctionSpec, Callable[..., object]] | None = None) -> FunctionLoader:
        return FunctionLoader(self.config.root, self.config.definitions, given)

    def _state_dir(self, name: str) -> Path:
        return self.config.root / ".asof" / name

    # Serving -------------------------------------------------------------------------------------------------------

    def materialize(
        self,
        views: str | Sequence[str] | None = None,
        *,
        at: Instant | None = None,
        progress: Callable[[str, int], None] | None = None,
    ) -> Sequence[Materialized]:
        """Write the value of every entity at one instant to the online store, view by view, each atomically.

        Args:
            views: Names, as "spend" or "spend@3". Default: every view that a service pins, and the newest versions.
            at: The instant. Default: now.
            progress: Called with the view and the source rows read so far.

        Raises:
            NotFoundError: no such view.
            ConflictError: the store already holds a later instant of a view.
        """
        catalog = self.catalog()
        chosen = choose_views(catalog, views)
        executor = LocalExecutor(self._state_dir("tmp"), self.config.memory_budget_bytes)
        scanner = self._scanner({}, self.config.memory_budget_bytes, executor.threads)
        job = Materializer(scanner, executor, self.online, project=self.config.project, clock=self.clock)
        instant_us = self.clock.now_us() if at is None else as_us(at)
        return [job.run(view, instant_us, progress) for view in chosen]

    def reader(self) -> OnlineReader:
        """Return the online reader of the newest revision, its reads compiled once; for servers and hot loops."""
        with self._lock:
            catalog = self.catalog()
            if self._reader is None:
                self._reader = OnlineReader(
                    catalog,
                    self.online,
                    project=self.config.project,
                    clock=self.clock,
                    functions=self._functions(),
                    expressions=self._expressions,
                )
            return self._reader

    def get_online_features(
        self, features: str | Sequence[str], keys: Keys, *, at: Instant | None = None, request: Request | None = None
    ) -> OnlineFeatures:
        """Return the features of entities as they are known now.

        Args:
            features: A service ("fraud", "fraud@2") or references ("spend:count_1h").
            keys: Per join key a list of values, as {"customer_id": [17, 42]}, or one mapping per entity.
            at: The instant of the read, not before the materialized one. Default: now.
            request: What on-demand views need besides: per field a list with one value per key, as
                {"distance": [229.0, 1089.0]}, or one mapping per entity.

        Raises:
            NotFoundError: no such service, view or feature.
            InputError: keys or request inputs missing, unknown or of the wrong type.
            NotMaterializedError: a view is not in the online store.
            FeatureValueError: an integer sum beyond 64 bits, or a user's function fails.
        """
        return self.reader().read(features, keys, None if at is None else as_us(at), request)

    def close(self) -> None:
        """Release files; a temporary project is deleted."""
        with self._lock:
            for resource in (self._registry, self._online):
                if resource is not None:
                    resource.close()
            self._registry = self._online = self._reader = self._catalog = None
            if self._temporary is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _text_keys(selection: Selection) -> set[str]:
    return {key.name for view, _ in selection.by_view() for key in view.entity.join_keys if key.dtype == "string"}


def as_us(instant: Instant) -> int:
    """Return an instant in microseconds since the epoch.

    Raises:
        InputError: the text is not ISO 8601.
    """
    if isinstance(instant, datetime):
        return to_us(instant)
    try:
        return parse_instant(instant)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{instant!r} is not an instant", fix='Give a datetime, or ISO 8601 text as "2013-06-01T12:00".'
        ) from error
