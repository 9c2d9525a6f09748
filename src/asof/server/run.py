"""Runs the server: one process, or several that share the port and are replaced when they die."""

from __future__ import annotations

import functools
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

from asof.clock import SystemClock
from asof.errors import AsofError, ConfigError, InputError
from asof.server.limits import Limits
from asof.server.metrics import DIRECTORY
from asof.server.project import Project
from asof.server.protocol import Protocol

if TYPE_CHECKING:
    from asof.config import Config
    from asof.server.app import App
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
        read_only: Whether stores are opened that cannot be written.
    """

    config: Config
    host: str = "127.0.0.1"
    port: int = 6566
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    access_log: bool = False
    push: bool = False
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
        timeout_keep_alive=settings.limits.keep_alive_s,
    )
    _log_to_stderr()
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

    _log_to_stderr()
    if settings.access_log:
        _log_access()
    project = _opened(settings)
    return App(project, settings.limits, pushed_to=_pushed_to(settings), access_log=settings.access_log)


def _opened(settings: Settings) -> Project:
    """Open the project's stores, waiting for one that is away for a moment; a worker comes back while it restarts."""
    until_s, pause_s = time.monotonic() + _WAIT_S, _FIRST_PAUSE_S
    while True:
        try:
            return Project.open(settings.config, SystemClock(), read_only=settings.read_only)
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

    return FeatureStore(settings.config.root)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")


def _log_access() -> None:
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(logging.Formatter("%(message)s"))
    access = logging.getLogger("asof.access")
    access.addHandler(lines)
    access.setLevel(logging.INFO)
    access.propagate = False
