"""A connection that gives up a server which does not answer, and does not even say that it will not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from asof.deadline import not_after

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg.abc import PQGen

_T = TypeVar("_T")


class NoAnswerError(psycopg.OperationalError):
    """The server did not answer in time, neither with a result nor with a refusal."""


class PatientConnection(psycopg.Connection[Any]):
    """Waits for each answer for so long; then it is closed, because the answer may still come.

    Attributes:
        patience_s: How long; None for ever, as for work that takes its time.
    """

    patience_s: float | None = None

    def wait(self, gen: PQGen[_T], *arguments: Any, **options: Any) -> _T:
        """Run the client's generator until it is done or patience ends."""
        if self.patience_s is None:
            return super().wait(gen, *arguments, **options)
        try:
            return super().wait(_limited(gen, not_after(time.monotonic() + self.patience_s)), *arguments, **options)
        except NoAnswerError:
            self.pgconn.finish()
            raise


def _limited(gen: PQGen[_T], until_s: float) -> Generator[Any, Any, _T]:
    try:
        state = next(gen)
        while True:
            ready = yield state
            if time.monotonic() > until_s:  # an answer that trickles in is none in time, either
                raise NoAnswerError("the server did not answer")
            state = gen.send(ready)
    except StopIteration as done:
        result: _T = done.value
        return result
