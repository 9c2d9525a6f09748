"""Gates, budgets and deadlines by a clock that tests hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asof.errors import InputError, StoreError
from asof.server.budgets import Budgets, client_of
from asof.server.deadlines import Deadline
from asof.server.gate import Gate
from asof.server.refusals import DeadlineError, OverBudgetError, OverloadedError


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def request() -> dict[str, Any]:
    return {"state": {}}


def test_a_client_gets_its_requests_per_second_and_is_told_when_to_come_back() -> None:
    clock = Clock()
    budgets = Budgets(2, None, clock)
    budgets.request("a")
    budgets.request("a")
    with pytest.raises(OverBudgetError) as caught:
        budgets.request("a")
    assert (caught.value.http_status, caught.value.retry_after_s) == (429, 1)
    budgets.request("b")
    clock.now_s += 0.5
    budgets.request("a")
    with pytest.raises(OverBudgetError):
        budgets.request("a")
    clock.now_s += 1000
    for _ in range(2):  # a second's worth is kept, not more
        budgets.request("a")
    with pytest.raises(OverBudgetError):
        budgets.request("a")


def test_less_than_one_request_per_second_is_possible() -> None:
    clock = Clock()
    budgets = Budgets(0.1, None, clock)
    budgets.request("a")
    with pytest.raises(OverBudgetError) as caught:
        budgets.request("a")
    assert caught.value.retry_after_s == 10
    clock.now_s += 10
    budgets.request("a")


def test_keys_may_be_owed_and_have_to_be_waited_for() -> None:
    """A request for more than a second's worth is possible."""
    clock = Clock()
    budgets = Budgets(None, 100, clock)
    budgets.request("a")
    budgets.keys("a", 350)
    with pytest.raises(OverBudgetError) as caught:
        budgets.request("a")
    assert caught.value.retry_after_s == 3
    clock.now_s += 2.6
    budgets.request("a")
    budgets.keys("a", 1)


def test_a_client_is_whom_the_server_recognised_or_else_an_address() -> None:
    assert client_of({"client": ("10.0.0.1", 5), "state": {}}) == "10.0.0.1"
    assert client_of({"client": ("10.0.0.1", 5), "state": {"client": "key 7"}}) == "key 7"
    assert client_of({"client": None}) == "a local client"


def test_a_gate_lets_some_in_lets_some_wait_and_turns_the_rest_away() -> None:
    async def run() -> None:
        gate, deadline = Gate(1, 1), Deadline(60)
        assert gate.enter(request()) is None
        turn = gate.enter(request())
        assert turn is not None
        waiting = asyncio.create_task(gate.wait(turn, deadline))
        with pytest.raises(OverloadedError) as caught:
            gate.enter(request())
        assert (caught.value.http_status, caught.value.code, caught.value.retry_after_s) == (503, "overloaded", 1)
        gate.leave()
        await waiting
        assert gate.inside == 1
        gate.leave()
        assert gate.inside == 0

    asyncio.run(run())


def test_what_has_arrived_and_was_not_looked_at_waits_too() -> None:
    gate = Gate(1, 1)
    requests = [request() for _ in range(3)]
    for one in requests:
        gate.arrive(one)
    gate.forget(requests[0])  # its client went away
    assert gate.enter(requests[1]) is None
    with pytest.raises(OverloadedError):
        gate.enter(requests[2])
    gate.leave()
    for one in requests:
        gate.forget(one)
    assert gate.enter(request()) is None


def test_whoever_waits_too_long_gives_its_place_up() -> None:
    async def run() -> None:
        gate = Gate(1, 1)
        gate.enter(request())
        turn = gate.enter(request())
        assert turn is not None
        with pytest.raises(DeadlineError):
            await gate.wait(turn, Deadline(0.001))
        gate.leave()
        assert gate.inside == 0
        assert gate.enter(request()) is None

    asyncio.run(run())


def test_a_request_may_shorten_its_time_and_never_lengthen_it() -> None:
    clock = Clock()
    deadline = Deadline(2, clock_s=clock)
    deadline.shorten(None)
    deadline.shorten(5000)
    clock.now_s += 1.9
    deadline.check()
    deadline.shorten(500)
    with pytest.raises(DeadlineError, match="500 ms") as caught:
        deadline.check()
    assert (caught.value.http_status, caught.value.code, caught.value.retryable) == (504, "deadline_exceeded", True)
    with pytest.raises(InputError):
        deadline.shorten(0)


@pytest.mark.parametrize(("passed_s", "raised"), [(0.5, StoreError), (3.0, DeadlineError)])
def test_a_store_that_gives_up_when_time_is_up_was_too_late(passed_s: float, raised: type[Exception]) -> None:
    async def run() -> None:
        clock = Clock()
        deadline = Deadline(2, clock_s=clock)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        clock.now_s += passed_s
        answer.set_exception(StoreError("It did not answer"))
        with pytest.raises(raised):
            await deadline.wait(answer)

    asyncio.run(run())
