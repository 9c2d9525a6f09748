"""A stand-in for a schema registry, which cannot be installed from a package index.

It answers `GET /schemas/ids/{id}` as Confluent's does, and nothing else.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class StandInRegistry:
    """What it answers.

    Attributes:
        url: Where it listens.
        schemas: By id: the body of the answer.
        asked: The paths of all requests so far.
        status: An error that it answers everything with, or 0.
        authorization: The header that each request must carry, if any.
    """

    url: str = ""
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: int = 0
    authorization: str = ""


@contextmanager
def schema_registry() -> Iterator[StandInRegistry]:
    """Run one until the block ends."""
    registry = StandInRegistry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked.append(self.path)
            name = self.path.partition("?")[0].rpartition("/")[2]
            body = registry.schemas.get(int(name)) if name.isdigit() else None
            status = registry.status or (200 if body is not None else 404)
            if registry.authorization and self.headers.get("Authorization") != registry.authorization:
                status = 401
            data = json.dumps(body if status == 200 else {"error_code": status * 100 + 3, "message": "no"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    registry.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
