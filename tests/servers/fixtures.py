"""The servers of a test run, each started when a test first asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.kafka import kafka_broker
from tests.servers.postgres import PASSWORD, USER, postgres_process
from tests.servers.redis import redis_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.kafka import KafkaServer
    from tests.servers.postgres import PostgresServer
    from tests.servers.redis import RedisServer


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Run one broker; tests keep apart by the names of their topics."""
    with kafka_broker(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one Redis; tests keep apart by the names of their keys."""
    with redis_process(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run one PostgreSQL, its login in the environment; tests keep apart by schemas."""
    with postgres_process() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASOF_POSTGRES_USER", USER)
        patch.setenv("ASOF_POSTGRES_PASSWORD", PASSWORD)
        yield server
