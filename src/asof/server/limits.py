"""What a request may ask for, and the errors of requests that ask for more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from asof.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Bounds of one request."""

    body_bytes: int = 8 * 2**20
    keys: int = 10_000


class BodyTooLargeError(InputError):
    """The request's body is longer than the server takes."""

    code: ClassVar[str] = "body_too_large"
    http_status: ClassVar[int] = 413


class MethodNotAllowedError(InputError):
    """The path exists, and takes another method."""

    code: ClassVar[str] = "method_not_allowed"
    http_status: ClassVar[int] = 405


def too_large(limit: int) -> BodyTooLargeError:
    """Return the error for a body beyond `limit` bytes."""
    return BodyTooLargeError(
        f"The body is longer than {limit} bytes", fix="Ask for fewer keys per request, or raise --max-body."
    )


def too_many_keys(found: int, limit: int) -> InputError:
    """Return the error for more than `limit` keys."""
    return InputError(
        f"{found} keys are more than the {limit} that one request may have",
        fix="Send several requests, raise --max-keys, or use get_historical_features for whole tables.",
    )
