"""How the server reads: an embedded store where it stands, a remote one on threads, many requests at a time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple

from asof.deadline import waiting_until
from asof.definitions.services import LATEST
from asof.interfaces.online import is_in_process
from asof.server.batching import BatchedReads
from asof.server.cache import Cache
from asof.services.watch import store_read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asof.clock import Clock
    from asof.definitions.services import Consistency
    from asof.interfaces import OnlineStore
    from asof.server.deadlines import Deadline
    from asof.server.limits import CacheLimits
    from asof.services.online import OnlineFeatures, OnlineReader, ReadPlan

_THREADS = 8


class Asked(NamedTuple):
    """What a request asks for, of the revision that it came upon: the arguments of a read, and its plan."""

    reader: OnlineReader
    plan: ReadPlan
    features: str | list[str]
    keys: Mapping[str, Sequence[Any]]
    at_us: int | None
    request: Mapping[str, Sequence[Any]] | None
    consistency: Consistency
    partial: bool = False
    masked: frozenset[str] = frozenset()


class Reads:
    """Reads of one worker."""

    def __init__(self, store: OnlineStore, clock: Clock, cache: CacheLimits | None = None) -> None:
        """Read one store; values of a remote one are remembered where a cache is asked for."""
        self._in_process = is_in_process(store)
        self._batches = BatchedReads(store, clock.now_us)
        self._cache = None if cache is None or self._in_process else Cache(cache, clock.now_us)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="asof-reads")

    def at_once(self, asked: Asked, deadline: Deadline) -> OnlineFeatures | None:
        """Return the features that a request asks for, or None where that takes a wait: then `read` them.

        Raises:
            DeadlineError: there is no time left.
            AsofError: as `OnlineReader.read` raises it.
        """
        deadline.check()
        if not self._in_process or asked.consistency != LATEST:
            return None
        return asked.reader.read(
            asked.features,
            asked.keys,
            asked.at_us,
            asked.request,
            consistency=LATEST,
            masked=asked.masked,
            partial=asked.partial,
        )

    async def read(self, asked: Asked, deadline: Deadline) -> OnlineFeatures:
        """Return the features that a request asks for.

        Raises:
            DeadlineError: they were not there in time.
            AsofError: as `OnlineReader.read` raises it.
        """
        if asked.consistency != LATEST or asked.plan.lookups is not None or asked.partial:
            return await self._read_alone(asked, deadline)  # which may wait, or ask several times
        prepared = asked.reader.prepare(asked.features, asked.keys, asked.at_us, asked.request, masked=asked.masked)
        cache = self._cache if asked.at_us is None else None
        if cache is not None and (known := cache.find(prepared.requests)) is not None:
            return prepared.finish(*known)
        with store_read():
            reads, at_us = await deadline.wait(self._batches.ask(prepared.requests, deadline.until_s))
        if cache is not None:
            cache.keep(prepared.requests, reads, at_us)
        return prepared.finish(reads, None)

    async def _read_alone(self, asked: Asked, deadline: Deadline) -> OnlineFeatures:
        def work() -> OnlineFeatures:
            with waiting_until(deadline.until_s):
                return asked.reader.read(
                    asked.features,
                    asked.keys,
                    asked.at_us,
                    asked.request,
                    consistency=asked.consistency,
                    masked=asked.masked,
                    partial=asked.partial,
                )

        return await deadline.wait(asyncio.wrap_future(self._threads.submit(copy_context().run, work)))

    async def close(self) -> None:
        """Wait for what is being read."""
        await self._batches.close()
        await asyncio.to_thread(self._threads.shutdown)
