"""Runs the server: one process, or several that share the port and are replaced when they die."""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.supervisors import Multiprocess

from asof import logs, tracing
from asof.backends.loading import open_offline, open_registry
from asof.backends.local.disk import DiskPlace
from asof.backends.oidc import open_verifier
from asof.clock import SystemClock
from asof.errors import AsofError, ConfigError, InputError
from asof.plan.access import Access
from asof.server.access import Door
from asof.server.cells import DIRECTORY
from asof.server.exposure import is_loopback, refuse_open
from asof.server.limits import Limits
from asof.server.project import Project
from asof.server.protocol import Protocol
from asof.server.serving_queue import Rates, ServingQueue
from asof.services.audit import AuditLog
from asof.services.authenticate import Authenticator
from asof.services.caller import Caller
from asof.services.guard import Guard
from asof.services.policy import is_on, load_policy
from asof.services.serving_log import FOLDER, ServingLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from asof.config import Config
    from asof.server.app import App
    from asof.server.exposure import Tls
    from asof.server.metrics import Metrics
    from asof.store import FeatureStore

_GRACE_S = 30
_WAIT_S = 30.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_LAST_PORT = 65535
_log = logging.getLogger("asof.server")


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Attributes:
        config: The project's settings.
        host: The address to listen on; the loopback address is reachable from this machine only.
        port: 0 lets the system choose.
        workers: Processes that share the port.
        access_log: Whether to write a JSON line per request to stdout.
        push: Whether rows may be pushed.
        serving_log: Shares of the requests whose answers are logged, as "0.01" and "fraud=0.1".
        tls: The files of TLS; None serves in the clear.
        insecure: Whether others than this machine may be served while access is off.
        read_only: Whether stores are opened that cannot be written.
    """

    config: Config
    host: str = "127.0.0.1"
    port: int = 6566
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    access_log: bool = False
    push: bool = False
    serving_log: tuple[str, ...] = ()
    tls: Tls | None = None
    insecure: bool = False
    read_only: bool = False


def listen(settings: Settings) -> socket.socket:
    """Return a socket bound to the address and port.

    Raises:
        InputError: the port or the number of workers is out of range.
        ConfigError: the address is taken, or is not this machine's.
    """
    if not 0 <= settings.port <= _LAST_PORT or settings.workers < 1:
        raise InputError(
            f"Port {settings.port} with {settings.workers} workers cannot be served",
            fix="Use a port up to 65535 and at least one worker.",
        )
    refuse_open(settings.host, access=settings.insecure or _asks(settings), insecure=settings.insecure)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"The server cannot listen on {settings.host}:{settings.port}",
            why=error.strerror or str(error),
            fix="Stop what uses the port, or choose another one with --port.",
        ) from error
    bound.set_inheritable(True)
    return bound


def serve(settings: Settings, bound: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are answered first."""
    configuration = uvicorn.Config(
        functools.partial(make_app, settings),
        factory=True,
        workers=settings.workers,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        **(settings.tls.options() if settings.tls is not None else {}),
        timeout_keep_alive=settings.limits.keep_alive_s,
    )
    logs.configure()
    if settings.workers == 1:
        for number in (signal.SIGTERM, signal.SIGINT):
            # Once it has stopped, the server raises the signal again, for whoever handled it before.
            signal.signal(number, lambda *_: None)
        uvicorn.Server(configuration).run(sockets=[bound])
        return
    with tempfile.TemporaryDirectory(prefix="asof-metrics-") as directory:
        os.environ[DIRECTORY] = directory
        Multiprocess(configuration, sockets=[bound]).run()


def make_app(settings: Settings) -> App:
    """Return a worker's application; runs in the worker."""
    from asof.server.app import App  # not in the parent of the workers, which only watches them

    logs.configure()
    tracing.start_from_environment()
    if settings.access_log:
        _log_access()
    project, (door, audit) = _opened(settings)
    refuse_open(settings.host, access=door is not None, insecure=settings.insecure)
    pushed_to = _pushed_to(settings)
    gc.collect()
    gc.freeze()  # what is loaded by now stays: no later collection has to look at it
    return App(
        project,
        settings.limits,
        pushed_to=pushed_to,
        access_log=settings.access_log,
        serving_log=_serving_log(settings),
        door=door,
        audit=audit,
    )


def open_door(config: Config, project: Project) -> tuple[Door, AuditLog] | tuple[None, None]:
    """Return what asks requests who they are, and what it writes to; None where access is off.

    Raises:
        ConfigError: the policy cannot be used.
        StoreError: the registry cannot be read.
    """
    policy, store = load_policy(config.root), project.registry.access()
    if not is_on(config, store):
        return None, None
    tokens = None if policy.oidc is None else open_verifier(policy.oidc, policy.rules)
    audit = AuditLog(store, project.clock)
    guard = Guard(Access(config.project, policy.personal), audit)
    return Door(guard, Authenticator(store, project.clock, tokens), policy.public), audit


def _asks(settings: Settings) -> bool:
    """Return whether access is on, as far as the address makes it matter; opens the registry only if it has to."""
    if is_loopback(settings.host) or settings.config.access == "on":
        return settings.config.access == "on"
    registry = open_registry(settings.config.registry, settings.config.root, read_only=settings.read_only)
    try:
        return is_on(settings.config, registry.access())
    finally:
        registry.close()


def _opened(settings: Settings) -> tuple[Project, tuple[Door, AuditLog] | tuple[None, None]]:
    """Open the project's stores and its door; a store that is away for a moment is waited for, as while it restarts."""
    until_s, pause_s = time.monotonic() + _WAIT_S, _FIRST_PAUSE_S
    while True:
        try:
            project = Project.open(settings.config, SystemClock(), read_only=settings.read_only)
            return project, open_door(settings.config, project)
        except AsofError as error:
            if not error.retryable or time.monotonic() + pause_s > until_s:
                _log.error("%s", error)
                raise SystemExit(error.exit_code) from None
            _log.warning("Waiting: %s", error)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _pushed_to(settings: Settings) -> FeatureStore | None:
    if not settings.push:
        return None
    from asof.store import FeatureStore  # and with it the engines of training, which reading does without

    store = FeatureStore(settings.config.root)
    store.caller = Caller()  # the door asks
    return store


def _serving_log(settings: Settings) -> Callable[[Metrics], ServingQueue] | None:
    rates = Rates.parse(settings.serving_log)
    if rates is None:
        return None
    log = ServingLog(open_offline(settings.config.offline, settings.config.root, DiskPlace).shelf(FOLDER))
    return lambda metrics: ServingQueue(log, rates, metrics, SystemClock())


def _log_access() -> None:
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(logging.Formatter("%(message)s"))
    access = logging.getLogger("asof.access")
    access.addHandler(lines)
    access.setLevel(logging.INFO)
    access.propagate = False
