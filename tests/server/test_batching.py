"""Reads that wait together are asked for together, and nobody waits for somebody else's slow or wrong one."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING, cast

import pytest

from asof.errors import CorruptDataError, StoreError
from asof.interfaces.online import Generation, ViewKey, ViewRead
from asof.server.batching import BatchedReads

if TYPE_CHECKING:
    from asof.interfaces import OnlineStore
    from asof.interfaces.online import Requests

A, B, BAD, SLOW = (ViewKey("shop", name, 1) for name in ("a", "b", "bad", "slow"))
ONCE = Generation(1, 0, 1, 0, "")
LATE_S = 60.0


def value(view: ViewKey, key: bytes | None) -> bytes | None:
    return None if key is None else view.view.encode() + key


class Store:
    """Answers with the view's name and the key; `slow` waits until a test lets it go on."""

    def __init__(self) -> None:
        self.asked: list[list[ViewKey]] = []
        self.go_on = threading.Event()

    def read(self, requests: Requests) -> list[ViewRead]:
        views = [view for view, _ in requests]
        self.asked.append(views)
        if BAD in views:
            raise CorruptDataError("The values are gone")
        if SLOW in views:
            assert self.go_on.wait(LATE_S)
        return [ViewRead(ONCE, [value(view, key) for key in keys]) for view, keys in requests]


class Conversation:
    """Answers over a socket pair, as long as it is told to."""

    def __init__(self, store: Store) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._store = store
        self._answer: list[ViewRead] = []
        self.answers = True
        self.fails = False
        self.closed = False

    def fileno(self) -> int:
        return self._ours.fileno()

    def ask(self, requests: Requests) -> None:
        self._answer = self._store.read(requests)
        if self.answers:
            self._theirs.send(b"!")

    def take(self) -> list[ViewRead] | None:
        self._ours.recv(1)
        if self.fails:
            raise StoreError("It hung up")
        return self._answer

    def close(self) -> None:
        self.closed = True
        self._ours.close()
        self._theirs.close()


class TalkingStore(Store):
    """Holds one conversation after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.talks: list[Conversation] = []

    def converse(self) -> Conversation:
        self.talks.append(Conversation(self))
        return self.talks[-1]


def reads_of(store: Store) -> BatchedReads:
    return BatchedReads(cast("OnlineStore", store), lambda: 7)


def soon() -> float:
    return time.monotonic() + LATE_S


def check(requests: Requests, answer: tuple[list[ViewRead], int]) -> None:
    found, at_us = answer
    assert at_us == 7
    assert found == [ViewRead(ONCE, [value(view, key) for key in keys]) for view, keys in requests]


def test_what_waits_together_is_one_round_trip_and_everybody_gets_their_part() -> None:
    store = Store()
    several: list[Requests] = [
        [(A, [b"1", None, b"2"])],
        [(B, [b"3"]), (A, [b"1"])],
        [(A, []), (A, [b"4", b"4"])],
    ]

    async def run() -> None:
        reads = reads_of(store)
        answers = await asyncio.gather(*(reads.ask(one, soon()) for one in several))
        for requests, answer in zip(several, answers, strict=True):
            check(requests, answer)
        await reads.close()

    asyncio.run(run())
    assert store.asked == [[A, B]]


def test_a_slow_round_trip_stalls_nobody_else() -> None:
    store = Store()

    async def run() -> None:
        reads = reads_of(store)
        slow = reads.ask([(SLOW, [b"1"])], soon())
        await asyncio.sleep(0)
        check([(A, [b"1"])], await reads.ask([(A, [b"1"])], soon()))
        assert not slow.done()
        store.go_on.set()
        check([(SLOW, [b"1"])], await slow)
        await reads.close()

    asyncio.run(run())


def test_whoever_asks_for_what_is_wrong_gets_the_error_alone() -> None:
    store = Store()

    async def run() -> None:
        reads = reads_of(store)
        good, bad = reads.ask([(A, [b"1"])], soon()), reads.ask([(BAD, [b"1"])], soon())
        check([(A, [b"1"])], await good)
        with pytest.raises(CorruptDataError):
            await bad
        await reads.close()

    asyncio.run(run())


def test_whoever_went_away_is_not_asked_for() -> None:
    store = Store()

    async def run() -> None:
        reads = reads_of(store)
        reads.ask([(B, [b"1"])], soon()).cancel()
        check([(A, [b"1"])], await reads.ask([(A, [b"1"])], soon()))
        await reads.close()

    asyncio.run(run())
    assert store.asked == [[A]]


async def _talking(store: TalkingStore) -> BatchedReads:
    """Return reads of which the store is talked to in the loop."""
    reads = reads_of(store)
    await reads.ask([(A, [b"0"])], soon())
    while not store.talks:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    return reads


def test_a_store_that_can_be_talked_to_is_asked_in_the_loop() -> None:
    store = TalkingStore()

    async def run() -> None:
        reads = await _talking(store)
        for key in (b"1", b"2"):
            check([(A, [key])], await reads.ask([(A, [key])], soon()))
        await reads.close()

    asyncio.run(run())
    assert [talk.closed for talk in store.talks] == [True]


@pytest.mark.parametrize("trouble", ["answers", "fails"])
def test_a_conversation_that_fails_or_falls_silent_is_replaced_and_its_question_answered(
    trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TalkingStore()
    monkeypatch.setattr("asof.server.talk.SLOW_S", 0.001)

    async def run() -> None:
        reads = await _talking(store)
        setattr(store.talks[0], trouble, trouble == "fails")
        check([(A, [b"1"])], await reads.ask([(A, [b"1"])], soon()))
        assert store.talks[0].closed
        while len(store.talks) < 2:
            check([(A, [b"2"])], await reads.ask([(A, [b"2"])], soon()))
        await reads.close()

    asyncio.run(run())
    assert all(talk.closed for talk in store.talks)
