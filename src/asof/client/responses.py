"""One HTTP answer as it arrives, parsed by httptools, and the typed error that it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httptools
import msgspec

from asof.client.settings import TRIED_AGAIN
from asof.errors import AsofError, ConflictError, InputError, NotFoundError, ServerError, UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Response:
    """An answer; feed it what arrives until it is complete.

    Attributes:
        complete: Whether all of it has arrived.
        keep_alive: Whether the connection may be used again, once it is complete.
        headers: By name in small letters.
    """

    __slots__ = ("_parser", "_parts", "complete", "headers", "keep_alive")

    def __init__(self) -> None:
        self.complete = self.keep_alive = False
        self.headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take in what arrived.

        Raises:
            httptools.HttpParserError: it is not HTTP.
        """
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self.headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body."""
        self._parts.append(data)

    def on_message_complete(self) -> None:
        """Note the end, and what the parser knows no longer after it."""
        self.complete = True
        self.keep_alive = self._parser.should_keep_alive()

    @property
    def status(self) -> int:
        """The HTTP status."""
        status: int = self._parser.get_status_code()
        return status

    @property
    def body(self) -> bytes:
        """The body."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    @property
    def retry_after_s(self) -> float:
        """How long the server asks to wait; 0 where it does not."""
        text = self.headers.get(b"retry-after", b"")
        return float(text) if text.isdigit() else 0.0


def error_of(response: Response, request_id: str) -> AsofError:
    """Return the error that an answer stands for, of the class that the library raises for its code.

    A code that this version does not know is an error of the class nearest to its HTTP status. `code`, `http_status`
    and `retryable` are those of the answer.
    """
    status = response.status
    try:
        error = error_from(msgspec.json.decode(response.body)["error"], status)
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError):
        error = _nearest(status)(
            f"The server answered with HTTP status {status}",
            why=response.body[:200].decode("utf-8", "replace").strip(),
            fix="Check the client's URL, and whether what is between client and server answers in its place.",
        )
        vars(error).update(http_status=status, retryable=status in TRIED_AGAIN)
    error.add_note(f"request {request_id}")
    return error


def error_from(parts: Mapping[str, str], status: int = 500) -> AsofError:
    """Return the error of these parts: its code, what, why and fix."""
    code = parts["code"]
    kind = _classes().get(code)
    error = (kind or _nearest(status))(parts["what"], why=parts["why"], fix=parts["fix"])
    if kind is None:
        vars(error).update(code=code, http_status=status, retryable=status in TRIED_AGAIN)
    return error


def _classes() -> dict[str, type[AsofError]]:
    found: dict[str, type[AsofError]] = {}
    left: list[Any] = [AsofError]
    while left:
        kind = left.pop()
        if "code" in vars(kind):
            found[kind.code] = kind
        left += kind.__subclasses__()
    return found


def _nearest(status: int) -> type[AsofError]:
    if 400 <= status < 500 and status != 429:
        return {404: NotFoundError, 409: ConflictError}.get(status, InputError)
    return UnsupportedOperationError if status == 501 else ServerError
