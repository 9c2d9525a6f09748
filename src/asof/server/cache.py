"""Remembers what a remote store held a moment ago, so that an answer made of it is exact as of that moment."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.interfaces.online import ViewRead

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.interfaces.online import Generation, Requests, ViewKey
    from asof.server.limits import CacheLimits


@dataclass(eq=False)
class _State:
    """A view as it stood, unchanged, from the first time it was seen so until the last.

    Attributes:
        first_us: The clock before the store showed it for the first time, and
        last_us: for the last time.
    """

    generation: Generation
    first_us: int
    last_us: int


class Cache:
    """Values of single keys, each with the state of its view that it belongs to.

    What a view holds at one state never changes: any arrival and any generation makes another one. So values that were
    read at different times belong together while their view is seen in the same state, and values of several views do
    where there is an instant at which each view was in the state of its values. That instant is the answer's.
    """

    def __init__(self, limits: CacheLimits, now_us: Callable[[], int]) -> None:
        """Remember nothing yet."""
        self._age_us = limits.age_us
        self._most = limits.keys
        self._now_us = now_us
        self._states: dict[ViewKey, _State] = {}
        self._values: OrderedDict[tuple[ViewKey, bytes], tuple[_State, bytes | None]] = OrderedDict()

    def find(self, requests: Requests) -> tuple[list[ViewRead], int] | None:
        """Return what the store held, all of it at one instant, and that instant; None where not all is remembered."""
        first_us, at_us = 0, self._now_us()
        states: list[_State] = []
        for view, _ in requests:
            state = self._states.get(view)
            if state is None:
                return None
            first_us, at_us = max(first_us, state.first_us), min(at_us, state.last_us)
            states.append(state)
        if not requests or first_us > at_us or self._now_us() - at_us > self._age_us:
            return None
        if len(requests) > 1 and any(state.generation.instant_us > at_us for state in states):
            return None  # one view is ahead of the clock, and what others held at its instant is not known
        found: list[ViewRead] = []
        for (view, keys), state in zip(requests, states, strict=True):
            values: list[bytes | None] = []
            for key in keys:
                if key is None:
                    values.append(None)
                    continue
                known = self._values.get((view, key))
                if known is None or known[0] is not state:
                    return None
                self._values.move_to_end((view, key))
                values.append(known[1])
            found.append(ViewRead(state.generation, values))
        return found, at_us

    def keep(self, requests: Requests, reads: Sequence[ViewRead], at_us: int) -> None:
        """Remember what the store returned when it was asked just after an instant."""
        for (view, keys), found in zip(requests, reads, strict=True):
            state = self._state(view, found.generation, at_us)
            if state is None:
                continue
            for key, value in zip(keys, found.values, strict=True):
                if key is not None:
                    self._values[view, key] = state, value
                    self._values.move_to_end((view, key))
        while len(self._values) > self._most:
            self._values.popitem(last=False)

    def _state(self, view: ViewKey, generation: Generation | None, at_us: int) -> _State | None:
        """Return the state that values read just after an instant belong to; None where a later one is known."""
        known = self._states.get(view)
        if known is not None and generation == known.generation:
            known.first_us, known.last_us = min(known.first_us, at_us), max(known.last_us, at_us)
            return known
        if known is not None and at_us <= known.last_us:
            return None
        if generation is None:
            self._states.pop(view, None)
            return None
        state = self._states[view] = _State(generation, at_us, at_us)
        return state
