"""What the server answers instead of the features: too late, too much at once, too often, too slowly sent."""

from __future__ import annotations

from typing import ClassVar

from asof.errors import AsofError, InputError


class RefusedError(AsofError):
    """The server did not do what it was asked; the same request may succeed later.

    Attributes:
        retry_after_s: In how many seconds it is worth another try.
    """

    retryable: ClassVar[bool] = True
    exit_code: ClassVar[int] = 10

    def __init__(self, what: str, *, why: str = "", fix: str = "", retry_after_s: int = 1) -> None:
        super().__init__(what, why=why, fix=fix)
        self.retry_after_s = retry_after_s


class OverloadedError(RefusedError):
    """As many requests are being answered, and as many wait, as the server was started to take."""

    code: ClassVar[str] = "overloaded"
    http_status: ClassVar[int] = 503


class OverBudgetError(RefusedError):
    """The client has asked for more than its share."""

    code: ClassVar[str] = "over_budget"
    http_status: ClassVar[int] = 429


class DeadlineError(AsofError, TimeoutError):
    """The answer was not there in time."""

    code: ClassVar[str] = "deadline_exceeded"
    http_status: ClassVar[int] = 504
    exit_code: ClassVar[int] = 10
    retryable: ClassVar[bool] = True


class SlowRequestError(InputError):
    """The rest of a request did not come in time."""

    code: ClassVar[str] = "request_too_slow"
    http_status: ClassVar[int] = 408


class HeadersTooLargeError(InputError):
    """The request's headers are longer than the server takes."""

    code: ClassVar[str] = "headers_too_large"
    http_status: ClassVar[int] = 431


def too_late(timeout_s: float) -> DeadlineError:
    """Return the error of an answer that was not there within its time."""
    return DeadlineError(
        f"The answer was not there within {timeout_s * 1000:.0f} ms",
        why="The store is slow, the server busy, or the request large",
        fix="Try again, ask for fewer keys, or allow more time: timeout_ms of the request, --timeout of the server.",
    )
