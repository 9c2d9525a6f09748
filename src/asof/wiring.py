"""How a project is put together: its settings, and the backends and services that are made from them."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from asof.backends.formats import open_decoder
from asof.backends.loading import open_offline, open_online_store, open_registry
from asof.backends.local.deadletters import LocalDeadLetters
from asof.backends.local.disk import DiskPlace
from asof.backends.local.executor import LocalExecutor
from asof.backends.local.expressions import LocalExpressions
from asof.backends.local.inputs import LocalInputs
from asof.backends.local.log import LocalLog
from asof.backends.local.published import PublishedFolders
from asof.backends.local.scanner import LocalScanner
from asof.backends.local.tables import LocalTableWriter
from asof.backends.oidc import open_verifier
from asof.clock import Clock, SystemClock
from asof.config import FILE_NAME, find_root, load_config
from asof.plan.access import Access
from asof.plan.streams import row_schema, stream_of
from asof.services.access_desk import AccessDesk
from asof.services.backfill import Backfiller
from asof.services.caller import Caller, is_shared, open_caller
from asof.services.catalog import Catalog
from asof.services.functions import FunctionLoader
from asof.services.materialize import Materializer
from asof.services.moved import GuardedLog, offline_mark, refusal
from asof.services.online import OnlineReader
from asof.services.policy import is_on, load_policy
from asof.services.serving_log import FOLDER, ServingLog
from asof.services.training_sets import SHELF, TrainingSets
from asof.services.writer import open_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from asof.backends.local.transformer import LocalTransformer
    from asof.interfaces import Decoder, OfflineLog, OfflinePlace, OnlineStore, Registry
    from asof.plan.specs import FunctionSpec, SourceSpec
    from asof.services.ingest import Ingestor
    from asof.services.writer import SourceWriter

REFRESH_S = 0.5
_SCAN_SHARE = 4


class Wiring:
    """An open project: what its use cases run on, opened on first use and kept.

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
        self._opening = threading.RLock()
        self._registry: Registry | None = None
        self._online: OnlineStore | None = None
        self._offline: OfflinePlace | None = None
        self._reader: OnlineReader | None = None
        self._catalog: Catalog | None = None
        self._checked_at_s = 0.0
        self._temporary: str | None = None
        self._caller: Caller | None = None
        self._expressions = LocalExpressions()
        self._writers: dict[tuple[str, bool], tuple[Catalog, SourceWriter]] = {}

    @classmethod
    def temporary(cls, *, clock: Clock | None = None) -> Self:
        """Return a new, empty project in a temporary directory, which `close` deletes."""
        root = tempfile.mkdtemp(prefix="asof-")
        (Path(root) / FILE_NAME).write_text('project = "temporary"\ndefinitions = []\n', encoding="utf-8")
        store = cls(root, clock=clock)
        store._temporary = root
        return store

    @property
    def registry(self) -> Registry:
        """The project's registry, opened on first use."""
        with self._lock:
            if self._registry is None:
                self._registry = open_registry(self.config.registry, self.config.root, self.config.project)
            return self._registry

    @property
    def online(self) -> OnlineStore:
        """The project's online store, opened on first use."""
        with self._lock:
            if self._online is None:
                self._online = open_online_store(self.config.online, self.config.root)
            return self._online

    @property
    def caller(self) -> Caller:
        """Who acts through this object: checked where access is on and the registry is shared, recorded where it is on.

        Set it to `Caller()` in a process that checks by itself, as a server does.
        """
        with self._lock:
            if self._caller is None:
                self._caller = self._open_caller()
            return self._caller

    @caller.setter
    def caller(self, caller: Caller) -> None:
        with self._lock:
            self._caller = caller

    @property
    def access(self) -> AccessDesk:
        """The project's API keys and audit log, for administrators."""
        shared = is_shared(self.config.registry)
        return AccessDesk(self.caller, self.registry.access(), self.clock, shared=shared)

    @property
    def log(self) -> OfflineLog:
        """The logs of the project's stream sources."""
        return LocalLog(self.offline.files("log"))

    @property
    def offline(self) -> OfflinePlace:
        """Where the project keeps what it writes for training, opened on first use."""
        with self._lock:
            if self._offline is None:
                self._offline = open_offline(self.config.offline, self.config.root, DiskPlace)
            return self._offline

    @property
    def _written_log(self) -> OfflineLog:
        """The logs for whoever writes: those of an offline store that was moved are refused."""
        offline = self.offline
        return GuardedLog(LocalLog(offline.files("log")), lambda: offline_mark(offline))

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

    def _forget(self) -> None:
        with self._lock:
            self._catalog = self._reader = None

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

    def close(self) -> None:
        """Release files; a temporary project is deleted."""
        with self._lock:
            if self._caller is not None:
                self._caller.close()
            self._caller = None
            for resource in (self._registry, self._online):
                if resource is not None:
                    resource.close()
            self._registry = self._online = self._reader = self._catalog = None
            if self._temporary is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)

    def _reopen(self) -> None:
        """Read the settings again, and open what they name on its next use."""
        with self._lock:
            for resource in (self._registry, self._online):
                if resource is not None:
                    resource.close()
            self._registry = self._online = self._offline = self._reader = self._catalog = None
            self._writers.clear()
            self.config = load_config(self.config.root, os.environ)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_caller(self) -> Caller:
        policy, store = load_policy(self.config.root), self.registry.access()
        if not is_on(self.config, store):
            return Caller()
        return open_caller(
            store,
            Access(self.config.project, policy.personal),
            self.clock,
            os.environ,
            registry_url=self.config.registry,
            tokens=None if policy.oidc is None else open_verifier(policy.oidc, policy.rules),
        )

    def _scanner(
        self,
        frames: dict[str, Any],
        budget: int,
        threads: int,
        functions: Mapping[FunctionSpec, Callable[..., object]] | None = None,
        only: Mapping[str, Sequence[str]] | None = None,
        entries: Mapping[str, int] | None = None,
    ) -> LocalScanner:
        return LocalScanner(
            self.config.root,
            frames=frames,
            quarantine=self.offline.files("quarantine"),
            memory_limit_bytes=max(budget // _SCAN_SHARE, 64 * 2**20),
            threads=threads,
            load=self._functions(functions).load,
            only=only,
            entries=entries,
        )

    def _arrivals(self, frames: Mapping[str, Any]) -> LocalScanner:
        """Return a scanner of rows that arrive; what it sets apart is in the log, where history sets it apart, too."""
        return LocalScanner(
            self.config.root,
            frames=frames,
            quarantine=self.offline.files("arrivals"),
            memory_limit_bytes=max(self.config.memory_budget_bytes // _SCAN_SHARE, 64 * 2**20),
            threads=os.cpu_count() or 1,
            load=self._functions().load,
        )

    def _functions(self, given: Mapping[FunctionSpec, Callable[..., object]] | None = None) -> FunctionLoader:
        return FunctionLoader(self.config.root, self.config.definitions, given)

    def _refuse_moved_files(self) -> None:
        """Refuse to write to an offline store that was moved, or is a copy."""
        mark = offline_mark(self.offline)
        if mark is not None:
            raise refusal("The offline store", mark)

    def _state_dir(self, name: str) -> Path:
        return self.config.root / ".asof" / name

    def _published(self) -> PublishedFolders:
        return PublishedFolders(self.offline.files("batch"))

    def _training_sets(self) -> TrainingSets:
        def engines(
            only: Mapping[str, Sequence[str]], entries: Mapping[str, int]
        ) -> tuple[LocalScanner, LocalExecutor]:
            executor = LocalExecutor(self._state_dir("tmp"), self.config.memory_budget_bytes)
            scanner = self._scanner({}, self.config.memory_budget_bytes, executor.threads, only=only, entries=entries)
            return scanner, executor

        shelf = self.offline.shelf(SHELF)
        inputs = LocalInputs(self.config.root, self.offline.files("batch"))
        return TrainingSets(shelf, inputs, LocalTableWriter(), engines, self._functions(), self._expressions)

    def _serving_log(self) -> ServingLog:
        return ServingLog(self.offline.shelf(FOLDER))

    def _backfiller(self, transformer: LocalTransformer, functions: Mapping[FunctionSpec, Any]) -> Backfiller:
        self._refuse_moved_files()
        loader = FunctionLoader(self.config.root, self.config.definitions, functions)
        return Backfiller(transformer, self.registry, loader, clock=self.clock)

    def _materializer(self, scanner: LocalScanner, executor: LocalExecutor) -> Materializer:
        return Materializer(
            scanner,
            executor,
            self.online,
            project=self.config.project,
            clock=self.clock,
            log=self._written_log,
            arrivals=self._arrivals,
        )

    def _open_writer(
        self, catalog: Catalog, source: str, *, with_history: bool, renew: Callable[[str], Ingestor]
    ) -> SourceWriter:
        executor = LocalExecutor(self._state_dir("tmp"), self.config.memory_budget_bytes)
        scanner = self._scanner({}, self.config.memory_budget_bytes, executor.threads)
        return open_writer(
            catalog,
            source,
            log=self._written_log,
            letters=self._letters(),
            store=self.online,
            project=self.config.project,
            clock=self.clock,
            scanner=scanner,
            arrivals=self._arrivals,
            materializer=self._materializer(scanner, executor),
            threads=executor.threads,
            with_history=with_history,
            renew=lambda: renew(source),
        )

    def _letters(self) -> LocalDeadLetters:
        return LocalDeadLetters(self.offline.files("deadletter"))

    def _decoder(self, source: SourceSpec) -> Decoder:
        return open_decoder(stream_of(source).format, row_schema(source), registry=self.config.schema_registry)
