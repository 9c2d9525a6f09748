"""Redis Streams keep the stream contract on a real server, with trimmed streams and leases."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from asof.backends.redis_streams import open_stream
from asof.testing.conformance.stream import PARTITIONS, StreamConformance, StreamUnderTest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.servers.redis import RedisServer

ROOT = Path("/")


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis(redis_server.host, redis_server.port) as client:
        yield client


@pytest.fixture
def stream(redis_server: RedisServer, client: redis.Redis, request: pytest.FixtureRequest) -> StreamUnderTest:
    topic = f"{request.node.name[:100]}-{uuid.uuid4().hex[:8]}"
    for number in range(PARTITIONS):
        client.xgroup_create(f"{topic}.{number}", "asof", "$", mkstream=True)

    def produce(partition: str, values: Sequence[bytes | None]) -> None:
        pipeline = client.pipeline(transaction=False)
        for value in values:
            pipeline.xadd(f"{topic}.{partition}", {"other": b"x"} if value is None else {"value": value})
        pipeline.execute()

    def truncate(partition: str, keep: int) -> None:
        client.xtrim(f"{topic}.{partition}", maxlen=keep, approximate=False)

    return StreamUnderTest(
        backend=open_stream(f"{redis_server.url}/0?partitions={PARTITIONS}", ROOT),
        unreachable=open_stream("redis://127.0.0.1:1", ROOT),
        topic=topic,
        produce=produce,
        truncate=truncate,
    )


class TestRedisStreams(StreamConformance):
    @pytest.fixture
    def stream(self, stream: StreamUnderTest) -> StreamUnderTest:
        return stream
