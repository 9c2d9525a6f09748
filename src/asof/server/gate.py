"""Lets so many requests in at once, lets so many wait, and turns the others away at once."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from asof.server.refusals import OverloadedError

if TYPE_CHECKING:
    from starlette.types import Scope

    from asof.server.deadlines import Deadline

_VERDICT = "asof.let_in"


class Gate:
    """Counts the requests of one worker. What has arrived and was not looked at yet waits, too.

    Attributes:
        inside: How many are being answered.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        """Be open.

        Args:
            at_once: How many may be answered at the same time.
            waiting: How many may wait for that.
        """
        self._at_once = at_once
        self._most = at_once + waiting
        self._arrived = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.inside = 0

    def arrive(self, scope: Scope) -> None:
        """Decide about a request as soon as it is here whole; `enter` acts on it, or `forget`."""
        let_in = self._has_room()
        self._arrived += let_in
        scope["state"][_VERDICT] = let_in

    def forget(self, scope: Scope) -> None:
        """A request is over; if it has arrived and never entered, it waits no longer."""
        if "state" in scope:
            self._arrived -= scope["state"].pop(_VERDICT, False)

    def enter(self, scope: Scope) -> asyncio.Future[None] | None:
        """Go in; where a future is returned, once `wait` has returned. `leave` has to follow.

        Raises:
            OverloadedError: too many wait already.
        """
        let_in = scope["state"].pop(_VERDICT, None) if "state" in scope else None
        if let_in is None:
            let_in = self._has_room()
        else:
            self._arrived -= let_in
        if not let_in:
            raise OverloadedError(
                "The server has more requests than it can answer in time",
                why=f"It takes {self._most} at once, waiting ones included",
                fix="Try again in a moment; add workers, or raise --max-at-once and --max-waiting.",
            )
        if self.inside < self._at_once:
            self.inside += 1
            return None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        return turn

    async def wait(self, turn: asyncio.Future[None], deadline: Deadline) -> None:
        """Wait for one's turn.

        Raises:
            DeadlineError: the request's time ended meanwhile; do not `leave`.
        """
        try:
            await deadline.wait(turn)
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.leave()  # it was its turn already
            raise

    def leave(self) -> None:
        """Go out; the one who waits longest goes in."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.inside -= 1

    def _has_room(self) -> bool:
        return self.inside + self._arrived + len(self._waiting) < self._most
