"""Reads of a remote store off the event loop: requests that wait at the same time are read in one round trip."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from asof.deadline import waiting_until
from asof.errors import AsofError
from asof.interfaces.online import ConversingStore
from asof.server.talk import Talk, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.interfaces import OnlineStore
    from asof.interfaces.online import Conversation, Requests, ViewRead

THREADS = 8
"""How many round trips may be under way at the same time."""

PATIENCE_S = 0.025
"""How long requests wait for the round trip under way before another thread makes one for them."""

MAX_KEYS = 20_000
"""How many keys one round trip asks for, unless a single request has more."""


@dataclass
class _Waiting:
    """A request, and when nobody waits for it any more."""

    requests: Requests
    until_s: float
    answer: asyncio.Future[tuple[list[ViewRead], int]]


@dataclass(frozen=True)
class _Batch:
    """What one round trip asks for, the clock before it, and whether to begin a conversation after it."""

    waiting: list[_Waiting]
    at_us: int
    converse: bool = False


class BatchedReads:
    """Asks a store without the loop waiting. All that one round trip returns is of one instant of the store.

    A store that can be talked to in the loop is; threads of its own ask one that cannot, or that does not answer the
    loop at once.
    """

    def __init__(self, store: OnlineStore, now_us: Callable[[], int], threads: int = THREADS) -> None:
        """Start no thread before the first read.

        Args:
            store: Is asked, on several threads.
            now_us: The clock, asked before every round trip.
            threads: How many round trips may be under way.
        """
        self._store = store
        self._now_us = now_us
        self._most = threads
        self._waiting: list[_Waiting] = []
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._busy = 0
        self._begun_s = 0.0
        self._work: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, _Batch] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._talk: Talk[_Batch] | None = None
        self._may_talk = isinstance(store, ConversingStore)

    def ask(self, requests: Requests, until_s: float) -> asyncio.Future[tuple[list[ViewRead], int]]:
        """Return what will be the store's answers, and the clock just before it was asked.

        Args:
            requests: Of one read; they are answered from one instant of the store.
            until_s: When nobody waits any more, on the monotonic clock.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[list[ViewRead], int]] = loop.create_future()
        self._waiting.append(_Waiting(requests, until_s, answer))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._begin, loop)  # after the other requests that have arrived by now
        return answer

    async def close(self) -> None:
        """End the threads, once what they are asking is answered."""
        if self._talk is not None:
            self._talk.end()
            self._talk = None
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._threads.clear()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        while self._waiting and self._busy < self._most:
            if self._busy and (left_s := self._begun_s + PATIENCE_S - time.monotonic()) > 0:
                if self._timer is None:
                    self._timer = loop.call_later(left_s, self._begin_late, loop)
                return
            waiting = self._take()
            if not waiting:
                continue
            self._busy += 1
            self._begun_s = time.monotonic()
            batch = _Batch(waiting, self._now_us())
            if self._talk is None or not self._talk.ask(merged([one.requests for one in waiting]), batch):
                self._ask_on_thread(loop, batch)

    def _begin_late(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._begin(loop)

    def _take(self) -> list[_Waiting]:
        keys, taken = 0, 0
        for one in self._waiting:
            keys += sum(len(found) for _, found in one.requests)
            if taken and keys > MAX_KEYS:
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return [one for one in batch if not one.answer.done()]

    def _ask_on_thread(self, loop: asyncio.AbstractEventLoop, batch: _Batch) -> None:
        if self._busy > len(self._threads):
            name = f"asof-read-{len(self._threads)}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        if self._talk is None and self._may_talk:
            self._may_talk = False  # until this one has tried
            batch = replace(batch, converse=True)
        self._work.put((loop, batch))

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            loop, batch = work
            talk: Conversation | None = None
            failed = False
            found: list[list[ViewRead] | Exception]
            try:
                found = list(self._together(batch.waiting))
                failed = isinstance(found[0], Exception)
                if batch.converse and not failed and isinstance(self._store, ConversingStore):
                    talk = self._store.converse()
            except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
                found, failed = [error] * len(batch.waiting), True
            try:
                if batch.converse:
                    loop.call_soon_threadsafe(self._begin_talk, loop, talk, failed)
                loop.call_soon_threadsafe(self._end, loop, batch, found)
            except RuntimeError:
                return  # the loop ended meanwhile: nobody waits

    def _together(self, waiting: Sequence[_Waiting]) -> Sequence[list[ViewRead] | Exception]:
        try:
            with waiting_until(max(one.until_s for one in waiting)):
                together = merged([one.requests for one in waiting])
                return together.parts(self._store.read(together.requests))
        except AsofError as error:
            if len(waiting) == 1 or error.retryable:
                return [error] * len(waiting)
        # Something is wrong with a view or a key: only who asked for it gets the error.
        return [found for one in waiting for found in self._together([one])]

    def _begin_talk(self, loop: asyncio.AbstractEventLoop, talk: Conversation | None, failed: bool) -> None:
        if talk is not None:

            def answered(batch: _Batch, found: list[list[ViewRead]]) -> None:
                self._end(loop, batch, found)

            def ended(batch: _Batch | None) -> None:
                self._talk, self._may_talk = None, True
                if batch is not None:
                    self._ask_on_thread(loop, batch)

            self._talk = Talk(loop, talk, answered, ended)
        self._may_talk = failed

    def _end(self, loop: asyncio.AbstractEventLoop, batch: _Batch, found: Sequence[list[ViewRead] | Exception]) -> None:
        self._busy -= 1
        for one, answer in zip(batch.waiting, found, strict=True):
            if one.answer.done():
                continue
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result((answer, batch.at_us))
        if self._waiting and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._begin, loop)
