"""Whether a call that failed is tried again, and when: safe calls only, within the call's time, with jitter."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from asof.client.responses import error_of
from asof.client.settings import TRIED_AGAIN
from asof.errors import ServerError, ServerTimeoutError

if TYPE_CHECKING:
    from asof.client.requests import Call
    from asof.client.responses import Response
    from asof.client.settings import Settings
    from asof.errors import AsofError


_E = TypeVar("_E", bound=ServerError)


class Attempts:
    """The tries of one call.

    Attributes:
        deadline: When the call has to be over, by the monotonic clock, in seconds.
    """

    __slots__ = ("_call", "_settings", "_tries", "deadline")

    def __init__(self, settings: Settings, call: Call, timeout_s: float | None) -> None:
        self._settings = settings
        self._call = call
        self._tries = 0
        self.deadline = time.monotonic() + (settings.timeout_s if timeout_s is None else timeout_s)

    def left_s(self) -> float:
        """Return how much time is left.

        Raises:
            ServerTimeoutError: none.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self.timed_out()
        return left

    def result(self, response: Response) -> Any:
        """Return what an answer of status 200 holds.

        Raises:
            ServerError: it is no answer of a server of features.
        """
        try:
            return self._call.read(response.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError, ValueError) as error:
            raise self._noted(
                ServerError(
                    f"{self._settings.url} does not answer as a server of features",
                    why=str(error),
                    fix="Check the client's URL, and that client and server are of the same release.",
                )
            ) from error

    def pause_after(self, response: Response) -> float:
        """Return how long to wait before the next try.

        Raises:
            AsofError: the error that the answer stands for, where it is not tried again.
        """
        error = error_of(response, self._call.request_id)
        again = self._call.safe and response.status in TRIED_AGAIN
        return self._pause(error, again, response.retry_after_s)

    def pause_after_loss(self, error: Exception, *, sent: bool) -> float:
        """Return how long to wait after a lost or refused connection before the next try.

        Args:
            error: What happened.
            sent: Whether the server may have seen the request.

        Raises:
            ServerError: it is not tried again.
        """
        if isinstance(error, TimeoutError) and time.monotonic() >= self.deadline:
            raise self.timed_out() from error
        what = "was lost" if sent else "could not be made"
        failed = ServerError(
            f"The connection to {self._settings.url} {what}",
            why=str(error) or type(error).__name__,
            fix="Check that the server runs and can be reached; `asof serve` starts one.",
        )
        failed.__cause__ = error
        return self._pause(self._noted(failed), self._call.safe or not sent, 0.0)

    def timed_out(self) -> ServerTimeoutError:
        """Return the error of a call whose time is over."""
        done = "" if self._call.safe else "Whether it was carried out is not known"
        return self._noted(
            ServerTimeoutError(
                f"{self._settings.url} did not answer in time", why=done, fix="Try again, or allow a longer timeout_s."
            )
        )

    def _pause(self, error: AsofError, again: bool, asked_s: float) -> float:
        self._tries += 1
        pause = self._settings.pause_s(self._tries, asked_s)
        if not again or self._tries > self._settings.retries or time.monotonic() + pause >= self.deadline:
            raise error
        return pause

    def _noted(self, error: _E) -> _E:
        error.add_note(f"request {self._call.request_id}")
        return error
