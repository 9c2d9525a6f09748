"""Reads of a remote store off the event loop: requests that wait at the same time are read in one round trip."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.errors import AsofError
from asof.interfaces.deadline import waiting_until
from asof.interfaces.online import ViewRead

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.interfaces.online import Read, Requests, ViewKey

THREADS = 8
"""How many round trips may be under way at the same time."""

PATIENCE_S = 0.002
"""How long requests wait for the round trip under way before another thread makes one for them."""

MAX_KEYS = 20_000
"""How many keys one round trip asks for, unless a single request has more."""


@dataclass(frozen=True)
class _Waiting:
    """A request, and when nobody waits for it any more."""

    requests: Requests
    until_s: float
    answer: asyncio.Future[tuple[list[ViewRead], int]]


@dataclass(frozen=True)
class _Batch:
    """What one round trip asks for, and the clock before it."""

    waiting: list[_Waiting]
    at_us: int


class BatchedReads:
    """Asks a store on threads of its own. All that one round trip returns is of one instant of the store."""

    def __init__(self, read: Read, now_us: Callable[[], int], threads: int = THREADS) -> None:
        """Start no thread before the first read.

        Args:
            read: Asks the store; called on several threads.
            now_us: The clock, asked before every round trip.
            threads: How many round trips may be under way.
        """
        self._read = read
        self._now_us = now_us
        self._most = threads
        self._waiting: list[_Waiting] = []
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._busy = 0
        self._begun_s = 0.0
        self._work: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, _Batch] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

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

    def close(self) -> None:
        """End the threads, once what they are asking is answered."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        if not self._waiting or self._busy >= self._most:
            return
        if self._busy and (left_s := self._begun_s + PATIENCE_S - time.monotonic()) > 0:
            if self._timer is None:
                self._timer = loop.call_later(left_s, self._begin_late, loop)
            return
        if self._busy == len(self._threads):
            self._start_thread()
        self._busy += 1
        self._begun_s = time.monotonic()
        self._work.put((loop, _Batch(self._take(), self._now_us())))
        if self._waiting:
            self._begin(loop)

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

    def _start_thread(self) -> None:
        name = f"asof-read-{len(self._threads)}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            loop, batch = work
            found: list[list[ViewRead] | Exception]
            try:
                found = list(self._together(batch.waiting))
            except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
                found = [error] * len(batch.waiting)
            try:
                loop.call_soon_threadsafe(self._end, loop, batch, found)
            except RuntimeError:
                return  # the loop ended meanwhile: nobody waits

    def _together(self, waiting: Sequence[_Waiting]) -> Sequence[list[ViewRead] | Exception]:
        if not waiting:
            return []
        try:
            with waiting_until(max(one.until_s for one in waiting)):
                if len(waiting) == 1:
                    return [self._read(waiting[0].requests)]
                return read_together(self._read, [one.requests for one in waiting])
        except AsofError as error:
            if len(waiting) == 1 or error.retryable:
                return [error] * len(waiting)
        # Something is wrong with a view or a key: only who asked for it gets the error.
        return [found for one in waiting for found in self._together([one])]

    def _end(self, loop: asyncio.AbstractEventLoop, batch: _Batch, found: Sequence[list[ViewRead] | Exception]) -> None:
        self._busy -= 1
        for one, answer in zip(batch.waiting, found, strict=True):
            if one.answer.done():
                continue
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result((answer, batch.at_us))
        self._begin(loop)


def read_together(read: Read, several: Sequence[Requests]) -> list[list[ViewRead]]:
    """Return the answers to several reads from one read of the store, in which every view comes once."""
    keys: dict[ViewKey, list[bytes | None]] = {}
    starts: list[list[int]] = []
    for requests in several:
        row = []
        for view, wanted in requests:
            known = keys.setdefault(view, [])
            row.append(len(known))
            known += wanted
        starts.append(row)
    found = dict(zip(keys, read(list(keys.items())), strict=True))
    return [
        [
            ViewRead(found[view].generation, found[view].values[start : start + len(wanted)])
            for (view, wanted), start in zip(requests, row, strict=True)
        ]
        for requests, row in zip(several, starts, strict=True)
    ]
