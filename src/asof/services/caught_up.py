"""Up to which instant the log holds all that was sent to a topic: of one worker's partitions, and of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


@dataclass(frozen=True)
class Peer:
    """Another worker that runs.

    Attributes:
        partitions: Those that it reads.
        checked_at_us: All that had come into them by then is in the log; None while that is not known.
    """

    partitions: frozenset[str]
    checked_at_us: int | None


class CaughtUp:
    """Follows the ends of one worker's partitions.

    Under steady traffic there is always a message that waits; so an end is remembered with the instant at which it was
    seen, and once the log has come that far it holds all of before that instant.

    Attributes:
        checked_at_us: All that had come into the worker's partitions by then is in the log; None: not known.
        partitions: The worker's.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.checked_at_us: int | None = None
        self.partitions: frozenset[str] = frozenset()
        self._goal: tuple[int, Mapping[str, int]] | None = None

    def look(self, now_us: int, ends: Mapping[str, int], known: Mapping[str, int]) -> None:
        """Compare where the partitions end with where the log is.

        Args:
            now_us: The clock, asked before the ends.
            ends: Of every partition that the worker reads.
            known: Per partition the next position to read.
        """
        if ends.keys() != self.partitions:  # others read them until now
            self.checked_at_us, self._goal, self.partitions = None, None, frozenset(ends)
        if not ends:
            return
        if _reached(ends, known):
            self.checked_at_us, self._goal = now_us, None
        elif self._goal is None or _reached(self._goal[1], known):
            self.checked_at_us = self.checked_at_us if self._goal is None else self._goal[0]
            self._goal = now_us, dict(ends)

    def together(self, peers: Sequence[Peer], partitions: Collection[str]) -> int | None:
        """Return by when all that had come into any partition is in the log; None while that is not known.

        Args:
            peers: The other workers that run.
            partitions: All that the log knows of; one that nobody reads may hold anything.
        """
        reading = [Peer(self.partitions, self.checked_at_us), *(peer for peer in peers if peer.partitions)]
        if set(partitions) - {part for peer in reading for part in peer.partitions}:
            return None
        instants = [peer.checked_at_us for peer in reading]
        known = [one for one in instants if one is not None]
        return min(known) if len(known) == len(instants) else None


def _reached(ends: Mapping[str, int], known: Mapping[str, int]) -> bool:
    return all(known.get(partition, 0) >= end for partition, end in ends.items())
