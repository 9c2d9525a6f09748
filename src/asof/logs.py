"""Logs as lines of JSON, with the id of the request that they are about."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from contextvars import ContextVar

import msgspec

ENVIRONMENT = "ASOF_LOG_FORMAT"
"""Names the format of logs, text or json, for this process and those that it starts."""
FORMATS = ("text", "json")
REQUEST_ID: ContextVar[str | None] = ContextVar("asof_request_id", default=None)
"""Of the work at hand; None outside of requests."""
_TEXT = "%(asctime)s %(levelname)s %(message)s"


class JsonLines(logging.Formatter):
    """One JSON object per record: time (seconds since 1970, UTC), level, logger, message, request_id, exception."""

    def __init__(self) -> None:
        """Give records outside of requests one id, so that the lines of one run are found together."""
        super().__init__()
        self._run = uuid.uuid4().hex

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line: dict[str, object] = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": REQUEST_ID.get() or self._run,
            "pid": record.process,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def as_json() -> bool:
    """Return whether logs are lines of JSON."""
    return os.environ.get(ENVIRONMENT) == "json"


def configure() -> None:
    """Write logs to stderr, in the format that the environment names; warnings and worse, of ours all in JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json() else logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    if as_json():
        logging.getLogger("asof").setLevel(logging.INFO)
