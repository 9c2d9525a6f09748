"""The circuit breaker: after three failures in a row reads fail at once, and one at a time looks whether it is over."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from asof.circuit import Circuit, circuit_states
from asof.errors import ConfigError, CorruptDataError, StoreError, StoreFullError

if TYPE_CHECKING:
    from asof.errors import AsofError


class Bench:
    """A circuit whose clock and chance the test decides."""

    def __init__(self, share: float = 1.0) -> None:
        self.now_s = 100.0
        self.circuit = Circuit(
            "Test store", 1.0, clock=lambda: self.now_s, chance=lambda least, most: least + share * (most - least)
        )

    def read(self, error: AsofError | None = None) -> bool:
        """Return whether a read reached the store, where it may fail."""
        reached = False
        try:
            with self.circuit:
                reached = True
                if error is not None:
                    raise error
        except (StoreError, ConfigError, CorruptDataError) as found:
            return found is error
        return reached

    def fail(self, times: int = 3) -> None:
        for _ in range(times):
            assert self.read(StoreError("away"))

    @property
    def state(self) -> str:
        return self.circuit.state().state


def test_it_opens_after_three_failures_in_a_row() -> None:
    """Two are none; and a success in between begins the count anew."""
    bench = Bench()
    bench.fail(2)
    assert bench.read()
    bench.fail(2)
    assert bench.state == "closed"
    bench.fail(1)
    assert bench.state == "open"
    assert not bench.read()
    with pytest.raises(StoreError, match="Test store is left alone for a moment") as caught:
        bench.circuit.__enter__()
    assert caught.value.retryable
    found = bench.circuit.state()
    assert (found.where, found.failures, found.opened, found.refused) == ("Test store", 3, 1, 2)


@pytest.mark.parametrize("error", [StoreFullError("full"), ConfigError("login"), CorruptDataError("gone")])
def test_a_store_that_answers_has_not_failed(error: AsofError) -> None:
    """Whatever it says."""
    bench = Bench()
    bench.fail(2)
    assert bench.read(error)
    bench.fail(2)
    assert bench.state == "closed"


def test_one_read_looks_whether_it_is_over() -> None:
    """All others fail at once meanwhile; if it succeeds the circuit is closed."""
    bench = Bench()
    bench.fail()
    bench.now_s += 0.999
    assert not bench.read()
    bench.now_s += 0.001
    assert bench.state == "half_open"
    with bench.circuit:
        assert bench.state == "half_open"
        others: list[bool] = []
        threads = [threading.Thread(target=lambda: others.append(bench.read())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert others == [False] * 3
    assert bench.state == "closed"
    assert bench.circuit.state().failures == 0


def test_pauses_grow_to_five_seconds_and_vary_by_chance() -> None:
    for share in (0.0, 0.5, 1.0):
        bench = Bench(share)
        bench.fail()
        for longest_s in (1.0, 2.0, 4.0, 5.0, 5.0):
            pause_s = longest_s / 2 + share * longest_s / 2
            bench.now_s += pause_s - 0.01
            assert not bench.read()
            bench.now_s += 0.02
            assert bench.read(StoreError("still away"))
            bench.now_s = round(bench.now_s, 6)
        assert bench.circuit.state().opened == 6


def test_a_read_that_began_before_does_not_make_the_pause_longer() -> None:
    """Many threads that waited for one dead server all fail after it opened."""
    bench = Bench()
    bench.fail(2)
    inside, go = threading.Event(), threading.Event()

    def slow() -> None:
        with suppress(StoreError), bench.circuit:
            inside.set()
            go.wait(20)
            raise StoreError("late")

    thread = threading.Thread(target=slow)
    thread.start()
    assert inside.wait(20)
    bench.fail(1)
    go.set()
    thread.join()
    assert bench.circuit.state().opened == 1
    bench.now_s += 1.0
    assert bench.read()
    assert bench.state == "closed"


def test_a_look_that_is_never_heard_of_again_gives_way() -> None:
    """After a minute another read looks."""
    bench = Bench()
    bench.fail()
    bench.now_s += 1
    bench.circuit.__enter__()
    bench.now_s += 59
    reached: list[bool] = []
    thread = threading.Thread(target=lambda: reached.append(bench.read()))
    thread.start()
    thread.join()
    bench.now_s += 1
    assert reached == [False]
    assert bench.read()


def test_a_forked_child_looks_for_itself() -> None:
    """What its parent's threads were about does not end in the child."""
    bench = Bench()
    bench.fail()
    bench.now_s += 1
    bench.circuit.__enter__()
    bench.circuit._lock.acquire()
    bench.circuit._pid = -1  # as in a child, where nobody will ever release the lock
    assert bench.read()
    assert bench.state == "closed"


def test_all_circuits_of_a_process_can_be_looked_at() -> None:
    """By the names of their stores, while they are there."""
    circuit = Circuit("Another store")
    assert [state for state in circuit_states() if state.where == "Another store"] == [circuit.state()]
