"""Turns answers and errors into bytes and statuses; no error ever shows a stack trace."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

import msgspec

from asof.errors import AsofError, sentence
from asof.logs import REQUEST_ID

if TYPE_CHECKING:
    from asof.services.online import OnlineFeatures

JSON = b"application/json"
_log = logging.getLogger("asof.server")


def arrow_bytes(answer: OnlineFeatures, *, statuses: bool) -> bytes:
    """Return an answer as an Arrow IPC stream, one row per key; its schema says what was read, and when."""
    import pyarrow as pa

    batch = answer.to_arrow(statuses=statuses).replace_schema_metadata({b"asof": answer.head_json()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def error_body(error: Exception) -> tuple[int, str, bytes]:
    """Return status, code and JSON body of an error; an unexpected one is logged under the id that the body names."""
    if isinstance(error, AsofError):
        if error.http_status >= 500:
            _log.error("%s", error)
        why = sentence(error.why) if error.why else ""
        return _body(error.http_status, error.code, sentence(error.what), why, sentence(error.fix) if error.fix else "")
    request_id = REQUEST_ID.get() or uuid.uuid4().hex
    _log.error("request %s failed", request_id, exc_info=error)
    return _body(
        500,
        "internal",
        "The server failed to answer.",
        f"An unexpected error was logged as request {request_id}.",
        "Look it up in the server's log and report it.",
    )


def _body(status: int, code: str, what: str, why: str, fix: str) -> tuple[int, str, bytes]:
    error = {"code": code, "what": what, "why": why, "fix": fix}
    request_id = REQUEST_ID.get()
    if request_id is not None:
        error["request_id"] = request_id
    return status, code, msgspec.json.encode({"error": error})
