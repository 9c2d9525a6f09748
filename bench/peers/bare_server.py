"""The least a server on this stack can do: decode the request, answer a JSON that is ready. Usage: PORT FILE."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import uvicorn


class Request(msgspec.Struct):
    """The body of an online read."""

    service: str
    keys: dict[str, list[Any]]


DECODER = msgspec.json.Decoder(Request)
ANSWER = Path(sys.argv[2]).read_bytes()
HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())],
}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer any request."""
    body = b""
    more = scope["type"] == "http"
    while more:
        message = await receive()
        body += message["body"]
        more = message.get("more_body", False)
    DECODER.decode(body)
    await send(HEAD)
    await send({"type": "http.response.body", "body": ANSWER})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="error", lifespan="off")
