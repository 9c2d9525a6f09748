"""FeatureStore: the one object that users hold; it delegates to services, put together by `asof.wiring`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from asof import copying, erasing, tracing
from asof.backends.local.executor import LocalExecutor
from asof.backends.local.tables import LocalTableWriter, read_table
from asof.backends.local.transformer import LocalTransformer
from asof.clock import as_us
from asof.config import parse_size
from asof.definitions.collection import Definitions
from asof.errors import AsofError, InputError
from asof.plan.access import Action
from asof.plan.references import parse_object
from asof.services import unregistered
from asof.services.apply import apply_plan, plan_changes
from asof.services.batches import Due, all_batches, find_batch, next_due_us, resolve_batch, run_due, views_over
from asof.services.catalog import Catalog
from asof.services.explain import Explainer, find_feature
from asof.services.grid import grid_spine, known_entities
from asof.services.history import HistoryReader
from asof.services.join import join
from asof.services.lineage import trace_lineage
from asof.services.materialize import Materialized, choose_views
from asof.services.overview import describe_object, list_objects, project_status
from asof.services.project import collect_definitions
from asof.services.prune import plan_prune, prune
from asof.services.request import require_defaults
from asof.services.resources import listed_resource, named_resources, object_resource
from asof.services.serving_audit import compare_versions
from asof.services.spine import make_spine
from asof.services.training_sets import Recipe
from asof.streaming import Streaming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa

    from asof.clock import Instant
    from asof.definitions import FeatureSelection, FeatureService, FeatureView, Label, OnDemandView
    from asof.definitions.batch import BatchSource
    from asof.definitions.collection import Definition
    from asof.definitions.model_transforms import ModelTransform
    from asof.definitions.services import Consistency
    from asof.definitions.training import Split
    from asof.interfaces.registry import Revision, Run
    from asof.plan.diff import Plan
    from asof.plan.lineage import Lineage
    from asof.plan.registered import Kind
    from asof.plan.selection import Selection
    from asof.plan.specs import FunctionSpec
    from asof.services.backfill import Backfilled
    from asof.services.copy_project import Copied, Role
    from asof.services.erase import Erased
    from asof.services.explanation import Explanation
    from asof.services.grid import Instants
    from asof.services.online import OnlineFeatures
    from asof.services.online_keys import Keys
    from asof.services.overview import Description, Listed, Status
    from asof.services.prune import PrunePlan
    from asof.services.request import Request
    from asof.services.results import HistoricalFeatures
    from asof.services.serving_audit import ServingComparison
    from asof.services.serving_log import LoggedFile, LoggedService
    from asof.services.training_set import TrainingSet

    _View = FeatureView | OnDemandView | FeatureSelection
    Features = str | FeatureService | _View | Sequence[str | _View]


class FeatureStore(Streaming):
    """A project: its definitions, its registry, its history and its online store.

    Safe to use from several threads. Holds files open: close it, or use it as a context manager.
    """

    # Definitions ---------------------------------------------------------------------------------------------------

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
        plan = plan or self.plan()
        with self.caller.applies(plan, self.catalog()):
            who = who or self.caller.name
            done = apply_plan(self.registry, plan, clock=self.clock, who=who, message=message)
        self._forget()
        return done

    def list(self, kind: Kind | None = None) -> Sequence[Listed]:
        """Return the newest version of every object that is not removed, by kind and name."""
        catalog = self.catalog()
        return [one for one in list_objects(catalog, kind) if self.caller.sees(listed_resource(catalog, one))]

    def describe(self, reference: str) -> Sequence[Description]:
        """Return what a name stands for, as "spend" or "spend@3": one description per kind that has the name.

        Raises:
            NotFoundError: nothing has that name or version.
        """
        self.caller.require(Action.SEE, *named_resources(self.catalog(), reference))
        return describe_object(self.catalog(), self.online, reference, project=self.config.project)

    def lineage(self, reference: str | None = None) -> Lineage:
        """Return what something is made of and what is made of it, from source columns to services.

        Args:
            reference: A feature "spend:amount_sum_30d", a view "spend@3", a service "fraud", an entity, a source
                "transactions" or a column of one, "transactions.amount". Default: everything, from sources and
                entities down.

        Raises:
            NotFoundError: nothing has that name or version.
        """
        self.caller.require(Action.SEE)
        return trace_lineage(self.catalog(), self._scanner({}, self.config.memory_budget_bytes, 1), reference)

    def status(self) -> Status:
        """Return how fresh every view version is online, and what the registry holds."""
        self.caller.require(Action.SEE)
        return project_status(
            self.catalog(), self.online, self.log, self._letters(), project=self.config.project, clock=self.clock
        )

    def revisions(self, limit: int = 20) -> Sequence[Revision]:
        """Return the newest revisions, newest first."""
        self.caller.require(Action.SEE)
        return self.registry.revisions(limit)

    def plan_prune(self, services: Sequence[str] = ()) -> PrunePlan:
        """Return what a prune would delete: removed objects, and old versions that no service version pins.

        With them goes their online storage, and rows of batch sources that nothing reads then; except those that a
        stored training set was made of.

        Args:
            services: Old versions of services that no model reads any more, as "fraud@1"; they go too, and with them
                the view versions that only they pin.
        """
        catalog = Catalog(self.registry.snapshot())
        return plan_prune(
            catalog,
            self.online,
            self._published(),
            self._training_sets(),
            project=self.config.project,
            services=services,
        )

    def prune(self, plan: PrunePlan | None = None, *, who: str | None = None) -> Revision | None:
        """Delete for good what a plan lists, online storage and rows of batch sources included.

        Args:
            plan: Default: what `plan_prune()` returns now.
            who: Who prunes. Default: the operating system's user.

        Returns:
            The new revision, or None where the registry had nothing to delete.

        Raises:
            ConflictError: someone applied since the plan was made; nothing is deleted.
        """
        with self.caller.changes(Action.PRUNE):
            plan, who = plan or self.plan_prune(), who or self.caller.name
            done = prune(self.registry, self.online, self._published(), plan, clock=self.clock, who=who)
        self._forget()
        return done

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
            The spine's rows in its order, its columns first, then one column per feature: `view__feature`, or
            `role__view__feature` for a view that is read under a role.

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
        scanner = self._scanner(
            unregistered.frames(definitions) if definitions else {},
            budget,
            executor.threads,
            unregistered.functions(definitions) if definitions else {},
        )
        if definitions is None:
            masked = self.caller.reads(Action.READ_HISTORY, cast("str | Sequence[str]", features), self.catalog())
            selection = self.catalog().select(cast("str | Sequence[str]", features))
        else:
            selection = unregistered.select(features, definitions, scanner)
            masked = self.caller.reads_unregistered(selection, self.catalog())
        if isinstance(spine, str | os.PathLike):
            spine = read_table(Path(spine), _text_keys(selection))
        elif instants is not None:
            if selection.on_demand is not None:
                require_defaults(selection.on_demand.request)
            spine = grid_spine(known_entities(scanner, selection) if entities is None else entities, instants)
        prepared = make_spine(spine, event_time)
        return join(
            selection,
            prepared,
            scanner,
            executor,
            LocalTableWriter(),
            functions=self._functions(unregistered.functions(definitions) if definitions else {}),
            expressions=self._expressions,
            now_us=self.clock.now_us(),
            statuses=statuses,
            masked=masked,
        )

    def create_training_set(
        self,
        name: str,
        service: str,
        spine: Any,
        *,
        split: Split | None = None,
        label: Label | None = None,
        transforms: Mapping[str, Sequence[ModelTransform]] | None = None,
        event_time: str | None = None,
    ) -> TrainingSet:
        """Join a service's features to examples and keep the rows, with a manifest from which they can be made again.

        Args:
            name: Of the training set: a letter, then letters, digits and underscores.
            service: "fraud", or pinned "fraud@2".
            spine: Examples, as for `get_historical_features`; it is kept beside the data.
            split: Adds a column `split`. Default: none.
            label: Adds a column that looks forward; rows too young for it are left out, and counted in the manifest
                as `immature_rows`. Default: the spine has its own, if any.
            transforms: Per feature column the steps that make it ready for the model, as {"spend__count_1h":
                [Impute("median"), Standardize()]}. They are fitted on the split `train`, or on all rows without a
                split, kept in the manifest, and applied by `TrainingSet.transform`; the stored rows are as they were.
            event_time: The spine's column of instants. Default: `event_timestamp`, else its only timestamp column.

        Returns:
            The training set: the spine's rows in its order, its columns first, then features, label and split.

        Raises:
            NotFoundError: no such service.
            ConflictError: there already is a training set of that name, or a source changed while it was read.
            InputError: the spine does not fit, or has a column of a feature's, the label's or the split's name.
        """
        self._refuse_moved_files()
        catalog = self.catalog()
        self.caller.reads_whole(Action.READ_HISTORY, service, catalog)
        selection = catalog.select(service)
        if selection.service is None:
            raise InputError(f"{service!r} is not a service", fix="Define a FeatureService; it pins what is read.")
        if isinstance(spine, str | os.PathLike):
            spine = read_table(Path(spine), _text_keys(selection))
        labelled = (label, catalog.source(label.source)) if label else None
        prepared = make_spine(spine, event_time)
        recipe = Recipe(selection, prepared, split, labelled, self.clock.now_us(), transforms or {})
        made = self._training_sets().create(name, recipe)
        self._refuse_moved_files()  # it may have been moved meanwhile, and then nobody will find what was made
        return made

    def training_set(self, name: str) -> TrainingSet:
        """Return a stored training set.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self._seen(self._training_sets().get(name))

    def training_sets(self, damaged: Callable[[str, AsofError], None] | None = None) -> Sequence[TrainingSet]:
        """Return all stored training sets, by name.

        Args:
            damaged: Called with the name and the error of one that cannot be opened, which is then left out. Default:
                the error is raised.

        Raises:
            CorruptDataError: a manifest cannot be read.
        """
        found = self._training_sets().all(damaged or _raise_named)
        return [one for one in found if self.caller.sees_whole(one.manifest.service, self.catalog())]

    def rebuild_training_set(self, name: str) -> TrainingSet:
        """Make a training set's data again, from its spine, pinned versions and recorded inputs: the same rows.

        Raises:
            NotFoundError: no such training set, or the registry no longer has a version that it reads.
            SourceError: an input is gone or has changed: the message names every one.
            CorruptDataError: the spine or the manifest is damaged, or the rows came out differently.
        """
        self._refuse_moved_files()
        self._seen(self._training_sets().get(name))
        return self._training_sets().rebuild(name, self.catalog())

    def delete_training_set(self, name: str) -> None:
        """Delete a training set, data and manifest.

        Raises:
            NotFoundError: there is none of that name.
        """
        self._refuse_moved_files()
        with self.caller.changes(Action.APPLY, detail=f"delete training set {name}"):
            self._training_sets().delete(name)

    def _seen(self, found: TrainingSet) -> TrainingSet:
        self.caller.reads_kept(f"training set {found.name}", found.manifest.service, self.catalog())
        return found

    # Batches -------------------------------------------------------------------------------------------------------

    def backfill(
        self,
        batch: str | BatchSource | FeatureView,
        start: Instant,
        end: Instant | None = None,
        *,
        workers: int | None = None,
        force: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Backfilled:
        """Run the intervals of a batch source that touch `[start, end)`, have ended by `end`, and are due by now.

        Intervals that were done with the present definition are skipped, so after an interruption the same call goes
        on. Each interval's rows are replaced in one step, each run is recorded in the run ledger.

        Args:
            batch: The name of a batch source or of a view over one ("daily", "daily@2"), or its definition, which need
                not be registered.
            start: Of the first interval, or an instant inside it.
            end: Default: now.
            workers: Intervals that run at once. Default: the machine's cores.
            force: Run again what was done.
            progress: Called with the source, the intervals run so far and how many there are to run.

        Raises:
            NotFoundError: no such batch source.
            InputError: no interval of the range is due.
            NotBackfilledError: an input is a batch source that must be backfilled first.
        """
        transformer = LocalTransformer(self._scanner({}, self.config.memory_budget_bytes, os.cpu_count() or 1))
        functions: Mapping[FunctionSpec, Any] = {}
        if isinstance(batch, str):
            source = find_batch(self.catalog(), batch)
        else:
            source, functions = resolve_batch(batch, transformer.scanner)
        end_us = self.clock.now_us() if end is None else as_us(end)
        at_once = workers or os.cpu_count() or 1
        resource = object_resource(self.catalog(), "source", source.name)
        with self.caller.changes(Action.BACKFILL, [resource]), tracing.span("asof.backfill", source=source.name):
            return self._backfiller(transformer, functions).run(
                source, as_us(start), end_us, workers=at_once, force=force, progress=progress
            )

    def run_due(self, *, workers: int | None = None, failed: Callable[[AsofError], None] | None = None) -> Due:
        """Run every interval of every batch source that is due and not done, then materialize the views over them.

        Inputs come before what reads them. A source continues from its first interval on; one that was never run
        starts with its newest interval, or as far back as what reads it needs; older ones are a backfill's.

        Args:
            workers: Intervals that run at once. Default: the machine's cores.
            failed: Called with the error of a source that could not run all; then the others go on. Default: it is
                raised, and what was done before it stays.

        Raises:
            AsofError: an interval failed.
        """
        transformer = LocalTransformer(self._scanner({}, self.config.memory_budget_bytes, os.cpu_count() or 1))
        catalog, now_us = self.catalog(), self.clock.now_us()
        sources = all_batches(catalog)
        job, at_once = self._backfiller(transformer, {}), workers or os.cpu_count() or 1
        with self.caller.changes(Action.BACKFILL):
            done = run_due(sources, transformer, job, now_us, workers=at_once, failed=failed or _raise)
        views = views_over(catalog, done)
        return Due(done, self.materialize(views) if views else [], next_due_us(sources, now_us))

    def runs(self, batch: str | None = None, limit: int = 20) -> Sequence[Run]:
        """Return the newest runs of batch sources, or of the one of that name (or of that view), newest first."""
        self.caller.require(Action.SEE)
        return self.registry.runs(batch and find_batch(self.catalog(), batch).name, limit)

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
        job = self._materializer(scanner, executor)
        instant_us = self.clock.now_us() if at is None else as_us(at)
        resources = [object_resource(catalog, "view", view.name) for view in chosen]
        done = []
        with self.caller.changes(Action.MATERIALIZE, list(dict.fromkeys(resources))):
            for view in chosen:
                with tracing.span("asof.materialize", view=view.key):
                    done.append(job.run(view, instant_us, progress))
        return done

    def serving_log(self, service: str, since: Instant | None = None, until: Instant | None = None) -> pa.Table:
        """Return what a server that logs has answered, one row per request and key, in the order of serving.

        Args:
            service: "fraud", or one version, "fraud@2". Of several versions the columns are united.
            since: When rows were served, at the earliest. Default: the log's beginning.
            until: When they were served, before this. Default: the log's end.

        Returns:
            `_request_id`, `_row` (of the key within its request), `_model`, `_service`, `_version`, `_at` (the instant
            that the values are of), `_served_at`; then join keys, request inputs, and each feature with its
            `<feature>__status`.

        Raises:
            NotFoundError: the log has nothing of that service.
            SchemaError: its versions cannot be united.
        """
        self._may_read_log(service)
        return self._serving_log().read(service, _us(since), _us(until))

    def _may_read_log(self, service: str) -> None:
        """Ask for every version whose rows are read: an older one may have shown what the newest does not."""
        catalog, wanted = self.catalog(), parse_object(service)
        logged = [one for one in self._serving_log().services() if one.service == wanted.name]
        versions = {one.version for one in logged if wanted.version in (None, one.version)}
        for version in sorted(versions):
            key = f"{wanted.name}@{version}"
            self.caller.reads_kept(f"serving log of {key}", key, catalog)
        if not versions:
            self.caller.reads_whole(Action.READ_HISTORY, service, catalog)

    def serving_logs(self) -> Sequence[LoggedService]:
        """Return which service versions have rows in the serving log, and from when to when."""
        self.caller.require(Action.SEE)
        return self._serving_log().services()

    def prune_serving_log(self, before: Instant, service: str | None = None) -> Sequence[LoggedFile]:
        """Delete files of the serving log all of whose rows were served before an instant; return which they were."""
        with self.caller.changes(Action.PRUNE, detail="serving log"):
            return self._serving_log().prune(as_us(before), service)

    def compare_serving(
        self, service: str, since: Instant | None = None, until: Instant | None = None, *, limit: int | None = None
    ) -> ServingComparison:
        """Compare logged answers with the training rows of the same keys, inputs and instants, bit for bit.

        A value differs where training would not see what the model saw: a view that had been materialized before rows
        arrived that were known by then, an edited source, history that came late.

        Args:
            service: "fraud", or one version, "fraud@2"; every version is compared with its own features.
            since: As for `serving_log`; and
            until: too.
            limit: At most as many rows of each version, the newest. Default: all.

        Raises:
            NotFoundError: the log has nothing of that service, or the registry no longer has its version.
        """
        self._may_read_log(service)
        log = self._serving_log()

        def train(key: str) -> Callable[[pa.Table, str], pa.Table]:
            return lambda spine, at: self.get_historical_features(key, spine, event_time=at).to_arrow()

        return compare_versions(log, service, _us(since), _us(until), limit, train)

    # Erasing ------------------------------------------------------------------------------------------------------

    def erase(
        self, keys: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, entity: str | None = None, dry_run: bool = False
    ) -> Erased:
        """Delete what the project holds about some entities, and search for it again.

        Out of the online store, the logs of stream sources, rows of batch sources, training sets, quarantine, dead
        letters and the serving log. Sources that are files, tables and topics are yours: they are named, not touched.
        A call that was interrupted is finished by the next one.

        Args:
            keys: One value per join key, as {"customer_id": 42}; or several such mappings.
            entity: The entity's name. Default: the one with these join keys.
            dry_run: Only search.

        Returns:
            What was found before and afterwards, per place; `remaining` is 0 if all is gone.

        Raises:
            InputError: keys are missing, unknown or not of their type.
            NotFoundError: no such entity.
            CorruptDataError: a file cannot be read, so nobody can tell what it holds.
        """
        return erasing.erase(self, keys, entity, dry_run=dry_run)

    # Moving -------------------------------------------------------------------------------------------------------

    def copy(
        self,
        to: str | os.PathLike[str] | None = None,
        *,
        registry: str | None = None,
        offline: str | None = None,
        online: str | None = None,
        source: str | os.PathLike[str] | None = None,
        switch: bool = False,
        overwrite: bool = False,
        dry_run: bool = False,
        progress: Callable[[str, int], None] | None = None,
    ) -> Copied:
        """Copy the project to other stores while it serves, and compare every byte; with `switch`, go on there.

        The end of it is done while nobody takes rows in. A call that was interrupted goes on where it was.

        Args:
            to: A directory with an `asof.toml` that names the stores to copy to. Default: only those given below.
            registry: URL of the registry to copy to. Default: it stays where it is.
            offline: Directory, or bucket and prefix, to copy files to; likewise.
            online: URL of the online store to copy to; likewise.
            source: A directory with an `asof.toml` that names the stores to copy from. Default: the project's.
            switch: Write the new places into the project's `asof.toml`, and let the old stores refuse to be written.
            overwrite: Give up what the new stores hold of the project.
            dry_run: Only check, and count what there is to copy.
            progress: Called with a view or a file and how much was looked at.

        Raises:
            ConflictError: a new store holds something else, or an old one was moved elsewhere.
            CorruptDataError: the copy turned out not to be equal; nothing was switched.
            StoreError: a store failed; nothing was switched.
        """
        given: dict[Role, str | None] = {"registry": registry, "offline": offline, "online": online}
        with self.caller.changes(Action.KEYS, detail="copy the project"):  # what is copied holds keys, too
            done = copying.copy(
                self, to, given, source, switch=switch, overwrite=overwrite, dry_run=dry_run, progress=progress
            )
        if done.switched:
            self._reopen()
        return done

    def backup(
        self, directory: str | os.PathLike[str], *, progress: Callable[[str, int], None] | None = None
    ) -> Copied:
        """Copy registry, files and values into a directory, as of one moment; again: what changed since.

        Raises:
            ConflictError: the directory holds something that is no backup of this project.
            CorruptDataError, StoreError: the backup is not whole.
        """
        with self.caller.changes(Action.KEYS, detail="back the project up"):
            return copying.backup(self, Path(directory), progress)

    def restore(
        self,
        directory: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Callable[[str, int], None] | None = None,
    ) -> Copied:
        """Copy a backup into the stores that the project's settings name, which are empty or are overwritten.

        Raises:
            NotFoundError: there is no backup.
            ConflictError: the stores hold something else.
        """
        with self.caller.changes(Action.KEYS, detail="restore the project"):
            done = copying.restore(self, Path(directory), overwrite=overwrite, progress=progress)
        self._reopen()
        return done

    # Reading ------------------------------------------------------------------------------------------------------

    def get_online_features(
        self,
        features: str | Sequence[str],
        keys: Keys,
        *,
        at: Instant | None = None,
        request: Request | None = None,
        consistency: Consistency | None = None,
        partial: bool = False,
    ) -> OnlineFeatures:
        """Return the features of entities as they are known now.

        Args:
            features: A service ("fraud", "fraud@2") or references ("spend:count_1h").
            keys: Per join key a list of values, as {"customer_id": [17, 42]}, or one mapping per entity. {} where
                no view has join keys: one row.
            at: The instant of the read, not before the materialized one. Default: now.
            request: What on-demand views need besides: per field a list with one value per key, as
                {"distance": [229.0, 1089.0]}, or one mapping per entity.
            consistency: "snapshot": all views as of one instant at which each is exact, even while rows of several
                sources arrive. "latest": do not wait for that. Default: the service's; of features, "latest".
            partial: Answer although views cannot be read: features that depend on them are None with status `error`,
                whatever their defaults, and `failures` says why. A service that requires one of them still fails.

        Raises:
            NotFoundError: no such service, view or feature.
            InputError: keys or request inputs missing, unknown or of the wrong type; or a snapshot of the future.
            NotMaterializedError: a view is not in the online store.
            SnapshotUnavailableError: for 0.2 s there was no instant at which all views are exact; try again.
            FeatureValueError: an integer sum beyond 64 bits, or a user's function fails.
            StoreError: the online store fails, and the answer may not be partial.
        """
        at_us = None if at is None else as_us(at)
        reader = self.reader()
        masked = self.caller.reads(Action.READ_ONLINE, features, reader.catalog)
        return reader.read(features, keys, at_us, request, consistency=consistency, masked=masked, partial=partial)

    def explain(
        self, feature: str, keys: Mapping[str, Any], at: Instant | None = None, *, rows: int = 10
    ) -> Explanation:
        """Return why one entity's feature has its value at one instant: its rows, and why others are left out.

        Reads the whole source, as a training set would; it is for people, not for hot paths.

        Args:
            feature: As "spend:amount_sum_30d", or pinned: "spend@3:amount_sum_30d".
            keys: One value per join key, as {"customer_id": 42}.
            at: The instant. Default: now.
            rows: How many rows to list per cause, newest first; all are counted.

        Raises:
            NotFoundError: no such view or feature.
            InputError: not one feature; keys missing, unknown or of the wrong type.
            SourceError, SchemaError: the source cannot be read as it was defined.
        """
        self.caller.reads_whole(Action.INSPECT, [feature], self.catalog())
        view, spec = find_feature(self.catalog(), feature)
        now_us = self.clock.now_us()
        executor = LocalExecutor(self._state_dir("tmp"), self.config.memory_budget_bytes)
        scanner = self._scanner({}, self.config.memory_budget_bytes, executor.threads)
        history = HistoryReader(scanner, executor, now_us=now_us)
        job = Explainer(scanner, history, self.reader(), self.online, project=self.config.project)
        at_us = now_us if at is None else as_us(at)
        try:
            return job.explain(view, spec, keys, at_us, rows=rows, now_us=now_us)
        finally:
            executor.release()


def _raise(error: AsofError) -> None:
    raise error


def _raise_named(_name: str, error: AsofError) -> None:
    raise error


def _text_keys(selection: Selection) -> set[str]:
    return {column for column, dtype in selection.key_types().items() if dtype == "string"}


def _us(instant: Instant | None) -> int | None:
    return None if instant is None else as_us(instant)
