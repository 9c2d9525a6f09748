"""The parts of a project that serving needs: its registry and its online store, without the engines of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.backends.loading import open_offline, open_online_store, open_registry
from asof.backends.local.deadletters import LocalDeadLetters
from asof.backends.local.disk import DiskPlace
from asof.backends.local.expressions import LocalExpressions
from asof.backends.local.log import LocalLog
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
    def open(cls, config: Config, clock: Clock) -> Project:
        """Open the stores of a project.

        Raises:
            ConfigError, StoreError, CorruptDataError: a store cannot be opened.
        """
        registry = open_registry(config.registry, config.root, config.project)
        functions = FunctionLoader(config.root, config.definitions)
        online = open_online_store(config.online, config.root)
        offline = open_offline(config.offline, config.root, DiskPlace)
        log = LocalLog(offline.files("log"))
        letters = LocalDeadLetters(offline.files("deadletter"))
        return cls(config.project, registry, online, clock, functions, LocalExpressions(), log, letters)

    def close(self) -> None:
        """Release files and connections."""
        self.registry.close()
        self.online.close()
