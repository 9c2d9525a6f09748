"""Starts a real server for a test run on a free loopback port, waits until it answers, and stops it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

STARTED: dict[str, float] = {}
"""Seconds that each server of this run took to answer."""

_START_S = 90.0
_STOP_S = 20.0


def absent(server: str, missing: str) -> NoReturn:
    """Skip the test because a server is not installed; under CI, where all of them must be, fail it."""
    message = f"{server} is not there: {missing}. Run tools/servers.sh, which says what is missing."
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(message)
    pytest.skip(message)


class Mortal:
    """A server that is killed and started again at one place, with the data it had; leave its block to stop it."""

    def __init__(self, start: Callable[[], AbstractContextManager[subprocess.Popen[bytes]]]) -> None:
        self._start = start
        self._running = ExitStack()

    def __enter__(self) -> Mortal:
        self._process = self._running.enter_context(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def crash(self) -> None:
        """Kill it as if the machine had lost its power, and start it again."""
        started = psutil.Process(self._process.pid).children(recursive=True)
        for process in (self._process, *started):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(started)
        self._running.close()
        self._process = self._running.enter_context(self._start())


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def running(
    server: str,
    command: Sequence[str],
    log: Path,
    answers: Callable[[], bool],
    *,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends.

    Args:
        server: Its name, for messages.
        command: What starts it in the foreground.
        log: A file for what it prints.
        answers: Whether it does; it may block for a moment, and is called until it says yes.
        stop: The signal that stops it without waiting for its clients.
    """
    begun = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        while not answers():
            if process.poll() is not None or time.perf_counter() - begun > _START_S:
                pytest.fail(f"{server} did not start:\n{log.read_text(errors='replace')[-4000:]}")
        STARTED.setdefault(server, time.perf_counter() - begun)
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
