"""What a request may ask for, and the errors of requests that ask for more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from asof.errors import InputError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope


@dataclass(frozen=True)
class CacheLimits:
    """How old a remembered value may be at most, and how many values are remembered."""

    age_us: int
    keys: int


@dataclass(frozen=True)
class Limits:
    """Bounds of requests. Those of clients, and of how many there are at a time, are of each worker.

    Attributes:
        body_bytes: Longest body.
        keys: Most keys.
        timeout_s: How long the answer to a read may take.
        body_timeout_s: How long a request may take to arrive, from its first byte.
        header_bytes: Longest headers.
        keep_alive_s: How long a connection is kept without a request.
        at_once: How many requests are answered at the same time.
        waiting: How many more wait for their turn.
        client_requests: How many requests per second a client may send; None is any number.
        client_keys: How many keys per second a client may ask for; None is any number.
        cache: What is remembered of a remote store; None is nothing.
    """

    body_bytes: int = 8 * 2**20
    keys: int = 10_000
    timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    header_bytes: int = 32 * 2**10
    keep_alive_s: int = 75
    at_once: int = 256
    waiting: int = 1024
    client_requests: float | None = None
    client_keys: float | None = None
    cache: CacheLimits | None = None


class BodyTooLargeError(InputError):
    """The request's body is longer than the server takes."""

    code: ClassVar[str] = "body_too_large"
    http_status: ClassVar[int] = 413


class MethodNotAllowedError(InputError):
    """The path exists, and takes another method."""

    code: ClassVar[str] = "method_not_allowed"
    http_status: ClassVar[int] = 405


class PushNotAllowedError(InputError):
    """The server was started to read only."""

    code: ClassVar[str] = "push_not_allowed"
    http_status: ClassVar[int] = 403


async def read_body(scope: Scope, receive: Receive, limit: int, fix: str) -> bytes:
    """Return the body of a request, no more of which is read than the limit.

    Raises:
        BodyTooLargeError: it is longer than `limit` bytes; `fix` says what to do.
        InputError: the client went away.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limit:
            raise _too_large(limit, fix)
    message = await receive()
    parts, size = [message.get("body", b"")], len(message.get("body", b""))
    while size <= limit and message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InputError("The client went away before the request's end", fix="Send the whole body.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > limit:
        raise _too_large(limit, fix)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int, fix: str) -> BodyTooLargeError:
    return BodyTooLargeError(f"The body is longer than {limit} bytes", fix=fix)


def too_many_keys(found: int, limit: int) -> InputError:
    """Return the error for more than `limit` keys."""
    return InputError(
        f"{found} keys are more than the {limit} that one request may have",
        fix="Send several requests, raise --max-keys, or use get_historical_features for whole tables.",
    )
