"""A conversation with a store in the event loop, and how several reads become one question and its answer theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from asof.errors import AsofError
from asof.interfaces.online import ViewRead

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from asof.interfaces.online import Conversation, Requests, ViewKey

_T = TypeVar("_T")
SLOW_S = 0.5
"""After so long the loop listens no more, and the question is put to the store by a thread, which knows its budgets."""


@dataclass(frozen=True)
class Merged:
    """Several reads as one.

    Attributes:
        requests: The one read, in which every view comes once.
    """

    requests: Requests
    _several: Sequence[Requests]
    _starts: Sequence[Sequence[int]]

    def parts(self, reads: Sequence[ViewRead]) -> list[list[ViewRead]]:
        """Return each read's part of the answer to the one."""
        if len(self._several) == 1 and not self._starts:
            return [list(reads)]
        found = {view: read for (view, _), read in zip(self.requests, reads, strict=True)}
        return [
            [
                ViewRead(found[view].generation, found[view].values[start : start + len(keys)])
                for (view, keys), start in zip(requests, row, strict=True)
            ]
            for requests, row in zip(self._several, self._starts, strict=True)
        ]


def merged(several: Sequence[Requests]) -> Merged:
    """Return several reads as one."""
    if len(several) == 1:
        return Merged(several[0], several, ())
    keys: dict[ViewKey, list[bytes | None]] = {}
    starts: list[list[int]] = []
    for requests in several:
        row = []
        for view, wanted in requests:
            known = keys.setdefault(view, [])
            row.append(len(known))
            known += wanted
        starts.append(row)
    return Merged(list(keys.items()), several, starts)


class Talk(Generic[_T]):
    """One conversation, watched by the loop; ends by itself where it fails or falls silent."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        conversation: Conversation,
        answered: Callable[[_T, list[list[ViewRead]]], None],
        ended: Callable[[_T | None], None],
    ) -> None:
        """Watch a conversation.

        Args:
            loop: In which everything happens.
            conversation: Open, and quiet.
            answered: Is told who asked, and each read's part of the answer.
            ended: Is told who asked and got no answer, once the conversation is over.
        """
        self._loop = loop
        self._conversation = conversation
        self._answered = answered
        self._ended = ended
        self._asked: tuple[Merged, _T] | None = None
        self._patience: asyncio.TimerHandle | None = None
        loop.add_reader(conversation.fileno(), self._listen)

    def ask(self, question: Merged, who: _T) -> bool:
        """Return whether a question was asked; not while another one is not answered."""
        if self._asked is not None or not question.requests:
            return False
        try:
            self._conversation.ask(question.requests)
        except AsofError:
            self.end()
            self._ended(None)
            return False
        self._asked = question, who
        self._patience = self._loop.call_later(SLOW_S, self._fail)
        return True

    def end(self) -> None:
        """Hang up."""
        self._loop.remove_reader(self._conversation.fileno())
        self._conversation.close()
        if self._patience is not None:
            self._patience.cancel()

    def _listen(self) -> None:
        try:
            found = self._conversation.take()
        except AsofError:
            self._fail()
            return
        if found is None:
            return
        if self._asked is None or self._patience is None:
            self._fail()  # nobody asked
            return
        question, who = self._asked
        self._asked = None
        self._patience.cancel()
        self._answered(who, question.parts(found))

    def _fail(self) -> None:
        who = None if self._asked is None else self._asked[1]
        self.end()
        self._ended(who)
