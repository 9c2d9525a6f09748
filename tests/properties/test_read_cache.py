"""What a cache returns is what the store held at one instant: every history of changes and reads, also slow ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from asof.interfaces.online import Generation, Progress, ViewKey, ViewRead
from asof.server.cache import Cache
from asof.server.limits import CacheLimits

VIEWS = [ViewKey("shop", name, 1) for name in ("a", "b")]
KEYS = [b"1", b"2"]
AGE_US = 3


@dataclass
class World:
    """A store whose every state is remembered, and a clock.

    Attributes:
        states: Per view, since when it held which generation and values.
    """

    now_us: int = 0
    states: dict[ViewKey, list[tuple[int, Generation, dict[bytes, bytes]]]] = field(default_factory=dict)

    def change(self, view: ViewKey, key: bytes) -> None:
        """Let an arrival or another generation change one value."""
        self.now_us += 1
        known = self.states.setdefault(view, [])
        number = len(known) + 1
        generation = Generation(number, self.now_us, 1, self.now_us, "", Progress(number))
        values = {**(known[-1][2] if known else {}), key: b"%d" % self.now_us}
        known.append((self.now_us, generation, values))

    def at(self, view: ViewKey, keys: list[bytes], at_us: int) -> ViewRead | None:
        found = [state for state in self.states.get(view, []) if state[0] <= at_us]
        return ViewRead(found[-1][1], [found[-1][2].get(key) for key in keys]) if found else None

    def read(self, requests: list[tuple[ViewKey, list[bytes]]]) -> list[ViewRead]:
        none = [ViewRead(None, [None] * len(keys)) for _, keys in requests]
        return [self.at(view, keys, self.now_us) or empty for (view, keys), empty in zip(requests, none, strict=True)]


changes = st.tuples(st.sampled_from(VIEWS), st.sampled_from(KEYS))
questions = st.lists(
    st.tuples(st.sampled_from(VIEWS), st.lists(st.sampled_from(KEYS), max_size=2)), min_size=1, max_size=2
)
steps = st.one_of(
    st.tuples(st.just("change"), changes),
    st.tuples(st.just("read"), st.tuples(questions, st.none() | changes)),
    st.tuples(st.just("wait"), st.integers(1, 3)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(steps, max_size=25), st.integers(1, 4))
def test_what_is_remembered_was_true_at_one_instant(history: list[tuple[str, Any]], size: int) -> None:
    world = World()
    cache = Cache(CacheLimits(AGE_US, size), lambda: world.now_us)
    for kind, step in history:
        if kind == "change":
            world.change(*step)
        elif kind == "wait":
            world.now_us += step
        else:
            requests, meanwhile = step
            world.now_us += 1
            check(world, requests, cache)
            asked_us = world.now_us
            if meanwhile is not None:
                world.change(*meanwhile)  # between the clock and the store
            cache.keep(requests, world.read(requests), asked_us)
            check(world, requests, cache)


def check(world: World, requests: list[tuple[ViewKey, list[bytes]]], cache: Cache) -> None:
    found = cache.find(requests)
    if found is None:
        return
    reads, at_us = found
    assert world.now_us - AGE_US <= at_us <= world.now_us
    newest = max(read.generation.instant_us for read in reads if read.generation is not None)
    instant = max(at_us, newest)  # as a read takes it
    assert reads == [world.at(view, keys, instant) for view, keys in requests]
