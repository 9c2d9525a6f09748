"""Kafka keeps the stream contract on a real broker, with its logins, transactions and new partitions."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asof.backends.kafka import open_stream
from asof.testing.conformance.stream import PARTITIONS, Group, StreamConformance, StreamUnderTest, numbered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.servers.kafka import KafkaServer

ROOT = Path("/")
QUICK = "topic.metadata.refresh.interval.ms=200"


@pytest.fixture
def topic(kafka_server: KafkaServer, request: pytest.FixtureRequest) -> str:
    """Create a topic for one test."""
    name = f"{request.node.name[:100]}-{uuid.uuid4().hex[:8]}"
    kafka_server.create(name, PARTITIONS)
    return name


@pytest.fixture
def stream(kafka_server: KafkaServer, topic: str) -> StreamUnderTest:
    def produce(partition: str, values: Sequence[bytes | None]) -> None:
        kafka_server.produce(topic, int(partition), values)

    def truncate(partition: str, keep: int) -> None:
        kafka_server.truncate(topic, int(partition), kafka_server.end(topic, int(partition)) - keep)

    return StreamUnderTest(
        backend=open_stream(f"kafka://{kafka_server.servers}?{QUICK}", ROOT),
        unreachable=open_stream("kafka://127.0.0.1:1", ROOT),
        topic=topic,
        produce=produce,
        truncate=truncate,
    )


class TestKafka(StreamConformance):
    @pytest.fixture
    def stream(self, stream: StreamUnderTest) -> StreamUnderTest:
        return stream
