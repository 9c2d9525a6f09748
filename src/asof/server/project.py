"""The parts of a project that serving needs: its registry and its online store, without the engines of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.backends.loading import open_offline, open_online_store, open_registry
from asof.backends.local.deadletters import LocalDeadLetters
from asof.backends.local.disk import DiskPlace
from asof.backends.local.expressions import LocalExpressions
from asof.backends.local.log import LocalLog
from asof.server.read_only import read_only_registry, read_only_store
from asof.services.functions import FunctionLoader

if TYPE_CHECKING:
    from asof.clock import Clock
    from asof.config import Config
    from asof.interfaces import DeadLetterStore, ExpressionEngine, OfflineLog, OnlineStore, Registry


@dataclass(frozen=True)
class Project:
    """An open project.

    Attributes:
        name: What the online store knows it by.
        functions: Imports the functions of on-demand views.
        expressions: Computes their SQL.
        log: How far the logs of stream sources have come.
        letters: What they could not take in.
    """

    name: str
    registry: Registry
    online: OnlineStore
    clock: Clock
    functions: FunctionLoader
    expressions: ExpressionEngine
    log: OfflineLog
    letters: DeadLetterStore

    @classmethod
    def open(cls, config: Config, clock: Clock, *, read_only: bool = False) -> Project:
        """Open the stores of a project; with `read_only` nothing is created or upgraded, and writing is refused.

        Raises:
            ConfigError, StoreError, CorruptDataError: a store cannot be opened.
        """
        registry = open_registry(config.registry, config.root, config.project, read_only=read_only)
        functions = FunctionLoader(config.root, config.definitions)
        online = open_online_store(config.online, config.root, read_only=read_only)
        if read_only:
            registry, online = read_only_registry(registry), read_only_store(online)
        offline = open_offline(config.offline, config.root, DiskPlace)
        log = LocalLog(offline.files("log"))
        letters = LocalDeadLetters(offline.files("deadletter"))
        return cls(config.project, registry, online, clock, functions, LocalExpressions(), log, letters)

    def close(self) -> None:
        """Release files and connections."""
        self.registry.close()
        self.online.close()
