"""The contract of dead letters: what a stream source could not take in, kept with the reason until it is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


@dataclass(frozen=True)
class DeadLetter:
    """A message or a pushed row that was set apart.

    Attributes:
        id: "<entry>-<n>": the log entry that it would have been part of, and a number within that.
        partition: Where it came from; "push" for a row that was pushed.
        position: Its position there; None for a row that was pushed.
        sent_at_us: When it was sent, in microseconds; None where that is not known.
        received_at_us: When it was refused.
        reason: Why.
        value: The message's bytes, or the pushed row as JSON; None for a message without a value, or if not asked for.
    """

    id: str
    partition: str
    position: int | None
    sent_at_us: int | None
    received_at_us: int
    reason: str
    value: bytes | None


@dataclass(frozen=True)
class Replaying:
    """A replay that was begun.

    Attributes:
        until: The next position of the partition of replayed rows once the log has them; before, it has none of them.
        ids: The letters that are in the log then.
    """

    until: int
    ids: tuple[str, ...]


class SourceDeadLetters(Protocol):
    """The dead letters of one source. Errors: `StoreError`, `StoreFullError`, `CorruptDataError`.

    Whoever writes holds the source (`OnlineStore.exclusive`), so writers take turns.
    """

    def keep(self, entry: int, letters: Sequence[DeadLetter]) -> None:
        """Keep the letters of a log entry to be, durably, in place of those of an earlier try; there may be none."""
        ...

    def entries(self, until: int) -> Sequence[int]:
        """Return which log entries up to one have letters, newest first."""
        ...

    def read(self, entry: int, *, values: bool = True) -> Sequence[DeadLetter]:
        """Return the letters of an entry in order; none if they were forgotten meanwhile."""
        ...

    def forget(self, ids: Collection[str]) -> None:
        """Delete letters; unknown ones are ignored."""
        ...

    def replaying(self) -> Replaying | None:
        """Return the replay that was begun and not ended."""
        ...

    def begin_replay(self, replaying: Replaying) -> None:
        """Note durably that letters are about to be taken in."""
        ...

    def end_replay(self) -> None:
        """Forget what `begin_replay` noted."""
        ...


class DeadLetterStore(Protocol):
    """The dead letters of a project's stream sources."""

    def of(self, source: str) -> SourceDeadLetters:
        """Return those of a source."""
        ...
