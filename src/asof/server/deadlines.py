"""By when a request is to be answered: the server's limit, or the request's own where that is shorter."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from asof.errors import InputError, StoreError
from asof.server.refusals import too_late

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class Deadline:
    """The end of one request's time.

    Attributes:
        until_s: When it ends, on the monotonic clock.
    """

    __slots__ = ("_begun_s", "_clock_s", "_timeout_s", "until_s")

    def __init__(
        self, timeout_s: float, begun_s: float | None = None, clock_s: Callable[[], float] | None = None
    ) -> None:
        """Begin.

        Args:
            timeout_s: How long the request may take.
            begun_s: Since when, on the monotonic clock. Default: now.
            clock_s: That clock.
        """
        self._clock_s = clock_s or time.monotonic
        self._begun_s = self._clock_s() if begun_s is None else begun_s
        self._timeout_s = timeout_s
        self.until_s = self._begun_s + timeout_s

    def shorten(self, timeout_ms: int | None) -> None:
        """End earlier where the request asks for it.

        Raises:
            InputError: that is no time.
        """
        if timeout_ms is None:
            return
        if timeout_ms < 1:
            raise InputError(f"timeout_ms is {timeout_ms}", fix="Give at least 1 millisecond, or leave it out.")
        if timeout_ms / 1000 < self._timeout_s:
            self._timeout_s = timeout_ms / 1000
            self.until_s = self._begun_s + self._timeout_s

    def check(self) -> None:
        """Pass while there is time left.

        Raises:
            DeadlineError: there is none.
        """
        if self._clock_s() >= self.until_s:
            raise too_late(self._timeout_s)

    async def wait(self, answer: asyncio.Future[_T]) -> _T:
        """Return what a future returns, if it does in time; else it is cancelled.

        Raises:
            DeadlineError: it did not.
        """
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(self.until_s - self._clock_s(), 0), answer.cancel)
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() or self._clock_s() < self.until_s:
                raise
            raise too_late(self._timeout_s) from None
        except StoreError as error:
            if self._clock_s() < self.until_s:
                raise
            raise too_late(self._timeout_s) from error
        finally:
            timer.cancel()
