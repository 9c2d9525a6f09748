"""Who watches the reads of the store that the work at hand makes: how many there are, and how long they take."""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from asof import tracing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asof.interfaces.online import Read, ViewKey, ViewRead


class ReadWatch:
    """Notes the store reads of one request or call.

    Attributes:
        reads: Start and end of each, on the clock of `time.perf_counter`.
    """

    def __init__(self) -> None:
        """Know of no read yet."""
        self.reads: list[tuple[float, float]] = []


WATCH: ContextVar[ReadWatch | None] = ContextVar("asof_read_watch", default=None)
"""Of the work at hand; threads that it starts with a copy of its context have the same."""


@contextmanager
def store_read() -> Iterator[None]:
    """Let the watch of the work at hand see a read of the store that lasts as long as the block."""
    watch = WATCH.get()
    if watch is None:
        yield
        return
    started = time.perf_counter()
    try:
        yield
    finally:
        watch.reads.append((started, time.perf_counter()))


def watched(read: Read) -> Read:
    """Return a read that the watch of the work at hand sees; without one, the same."""
    watch = WATCH.get()
    if watch is None:
        return read if tracing.tracer() is None else _traced(read)
    reads = watch.reads

    def timed(requests: Sequence[tuple[ViewKey, Sequence[bytes | None]]]) -> list[ViewRead]:
        started = time.perf_counter()
        try:
            return read(requests)
        finally:
            reads.append((started, time.perf_counter()))

    return timed


def _traced(read: Read) -> Read:
    def traced(requests: Sequence[tuple[ViewKey, Sequence[bytes | None]]]) -> list[ViewRead]:
        with tracing.span("asof.store.read"):
            return read(requests)

    return traced
