"""A connection to PostgreSQL that gives up a server which takes connections and says nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg.abc import PQGen

_T = TypeVar("_T")
PATIENCE_S = 45.0
"""Longer than the server itself lets a statement run."""


class PatientConnection(psycopg.Connection[Any]):
    """Waits for each answer for `PATIENCE_S`; then it is closed, because the answer may still come."""

    def wait(self, gen: PQGen[_T], *arguments: Any, **options: Any) -> _T:
        """Run the client's generator until it is done or patience ends."""
        late = psycopg.OperationalError("the server did not answer")
        try:
            return super().wait(_limited(gen, time.monotonic() + PATIENCE_S, late), *arguments, **options)
        except psycopg.OperationalError as error:
            if error is late:
                self.pgconn.finish()
            raise


def _limited(gen: PQGen[_T], until_s: float, late: Exception) -> Generator[Any, Any, _T]:
    try:
        state = next(gen)
        while True:
            ready = yield state
            if time.monotonic() > until_s:  # an answer that trickles in is none in time, either
                raise late
            state = gen.send(ready)
    except StopIteration as done:
        result: _T = done.value
        return result
