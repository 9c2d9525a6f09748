"""Gives every test the servers, and says how long they took to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.servers.fixtures import (
    _object_server,
    dynamodb_server,
    kafka_server,
    object_server,
    postgres_server,
    redis_server,
)
from tests.servers.processes import STARTED

if TYPE_CHECKING:
    import pytest

__all__ = ["_object_server", "dynamodb_server", "kafka_server", "object_server", "postgres_server", "redis_server"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the servers that ran."""
    for server, seconds in STARTED.items():
        terminalreporter.write_line(f"{server} started in {seconds:.1f} s")
