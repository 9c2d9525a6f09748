"""The least a server on this stack can do: decode the request, encode the same answer. Usage: PORT FILE."""

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
ANSWER = msgspec.json.decode(Path(sys.argv[2]).read_bytes())


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer any request."""
    body = b""
    more = scope["type"] == "http"
    while more:
        message = await receive()
        body += message["body"]
        more = message.get("more_body", False)
    DECODER.decode(body)
    answer = msgspec.json.encode(ANSWER)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="error", lifespan="off")
