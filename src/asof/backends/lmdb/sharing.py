"""Shares one environment per file among all stores of a process: LMDB breaks where a file is mapped twice."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from asof.backends.lmdb.environment import Environment

if TYPE_CHECKING:
    from pathlib import Path


class _Open:
    """The environments open in this process and how many stores use each."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.paused = ExitStack()
        self.users: dict[Path, tuple[Environment, int]] = {}


_open = _Open()


def acquire(path: Path) -> Environment:
    """Return this process's environment for a directory, opened if need be; release it as often as acquired."""
    key = path.resolve()
    with _open.lock:
        environment, users = _open.users.get(key) or (Environment(key), 0)
        _open.users[key] = (environment, users + 1)
        return environment


def release(environment: Environment) -> None:
    """Close an environment when its last user releases it."""
    with _open.lock:
        _, users = _open.users[environment.path]
        if users > 1:
            _open.users[environment.path] = (environment, users - 1)
        else:
            del _open.users[environment.path]
            environment.close()


def _before_fork() -> None:
    # A transaction that runs during a fork would be ended by parent and child both.
    _open.lock.acquire()
    for environment, _ in _open.users.values():
        _open.paused.enter_context(environment.pause())


def _after_fork_in_parent() -> None:
    _open.paused.close()
    _open.lock.release()


def _after_fork_in_child() -> None:
    _open.paused = ExitStack()
    _open.lock = threading.Lock()
    for environment, _ in _open.users.values():
        environment.note_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
