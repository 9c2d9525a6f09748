"""The servers of a test run, each started when a test first asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.dynamodb import dynamodb_process
from tests.servers.kafka import kafka_broker
from tests.servers.objects import object_process
from tests.servers.postgres import PASSWORD, USER, postgres_process
from tests.servers.redis import redis_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.dynamodb import DynamoServer
    from tests.servers.kafka import KafkaServer
    from tests.servers.objects import ObjectServer
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
def dynamodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamoServer]:
    """Run one server that speaks DynamoDB's protocol, its login in the environment; tests keep apart by tables."""
    with dynamodb_process(tmp_path_factory.mktemp("dynamodb")) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def _object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with object_process(tmp_path_factory.mktemp("objects")) as server:
        yield server


@pytest.fixture
def object_server(_object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """Run one server that speaks S3's protocol, its login in the environment; tests keep apart by prefixes."""
    for name, value in _object_server.environment.items():
        monkeypatch.setenv(name, value)
    return _object_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run one PostgreSQL, its login in the environment; tests keep apart by schemas."""
    with postgres_process() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASOF_POSTGRES_USER", USER)
        patch.setenv("ASOF_POSTGRES_PASSWORD", PASSWORD)
        yield server
