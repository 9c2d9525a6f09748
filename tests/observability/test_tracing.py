"""Traces: off without a trace of them, and on they continue the caller's and have the work below them."""

from __future__ import annotations

import asyncio
import gzip
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from asof import tracing
from asof.errors import ConfigError
from asof.store import FeatureStore
from tests.observability.conftest import PATH, running
from tests.server.conftest import KEYS, make_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Turn tracing on for a test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)
    provider.shutdown()


def test_a_request_continues_the_callers_trace(shop: Path, spans: InMemorySpanExporter) -> None:
    """Below its span are the read of the store and the phases, in time within it."""

    async def ask() -> None:
        async with running(shop) as server:
            headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "mine"}
            await server.client.post(PATH, json={"service": "fraud", "keys": KEYS}, headers=headers)

    asyncio.run(ask())
    found = {span.name: span for span in spans.get_finished_spans()}
    request = found[f"POST {PATH}"]
    assert request.parent is not None
    assert (f"{request.context.trace_id:032x}", f"{request.parent.span_id:016x}") == (TRACE, CALLER)
    wanted = {"asof.service": "fraud@1", "asof.keys": 3, "asof.request_id": "mine", "http.response.status_code": 200}
    assert wanted.items() <= dict(request.attributes or {}).items()
    for name in ("asof.store.read", "asof.decode", "asof.read", "asof.encode"):
        part = found[name]
        assert part.parent is not None
        assert part.parent.span_id == request.context.span_id


def test_a_request_without_a_trace_begins_one(shop: Path, spans: InMemorySpanExporter) -> None:
    """A header that is none is ignored."""

    async def ask() -> None:
        async with running(shop) as server:
            for header in ({}, {"traceparent": "rubbish"}):
                await server.client.get("/health", headers=header)

    asyncio.run(ask())
    found = [span for span in spans.get_finished_spans() if span.name == "GET /health"]
    assert [span.parent for span in found] == [None, None]
    assert len({span.context.trace_id for span in found}) == 2


def test_materializing_and_reading_are_spans(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    make_project(tmp_path)
    with FeatureStore(tmp_path) as store:
        store.get_online_features("fraud", KEYS)
    found = [(span.name, dict(span.attributes or {}).get("asof.view")) for span in spans.get_finished_spans()]
    assert ("asof.materialize", "spend@1") in found
    assert ("asof.store.read", None) in found


def test_off_nothing_of_opentelemetry_is_loaded() -> None:
    code = "import sys, asof.server.app, asof.store; print([m for m in sys.modules if 'opentelemetry' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_share_that_is_none_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASOF_TRACES", "2")
    with pytest.raises(ConfigError, match="from 0 to 1"):
        tracing.start_from_environment()


def test_spans_reach_a_collector(tmp_path: Path) -> None:
    """By OTLP over HTTP, to where OpenTelemetry's variables say, at the latest when the process ends."""
    received: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    make_project(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever, daemon=True)
        thread.start()
        subprocess.run(
            [sys.executable, "-m", "asof.cli", "--project", str(tmp_path), "--traces", "1", "materialize", "spend"],
            env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"},
            capture_output=True,
            check=True,
        )
        collector.shutdown()
        thread.join()
    requests = [ExportTraceServiceRequest.FromString(body) for body in received]
    names = {
        span.name
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    assert "asof.materialize" in names
