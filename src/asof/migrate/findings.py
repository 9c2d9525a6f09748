"""What an import could not carry over, or carried over with another meaning: where, what, why, what to do instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, order=True)
class Place:
    """A line of the repository.

    Attributes:
        file: Relative to the repository.
        line: From 1.
    """

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, order=True)
class Finding:
    """One thing to look at.

    Attributes:
        kind: "dropped" is not in the new project; "differs" is, with another meaning or name.
    """

    file: str
    line: int
    kind: Literal["dropped", "differs"]
    what: str
    why: str
    instead: str


@dataclass
class Findings:
    """Collects findings, each once."""

    found: set[Finding] = field(default_factory=set)

    def dropped(self, place: Place, what: str, why: str, instead: str) -> None:
        """Record what the new project does not have."""
        self.found.add(Finding(place.file, place.line, "dropped", what, why, instead))

    def differs(self, place: Place, what: str, why: str, instead: str) -> None:
        """Record what means or is called something else in the new project."""
        self.found.add(Finding(place.file, place.line, "differs", what, why, instead))

    def sorted(self) -> tuple[Finding, ...]:
        """Return all findings by place."""
        return tuple(sorted(self.found))


class NotCarriedError(Exception):
    """An object cannot be carried over; whoever translates it records why.

    Attributes:
        place: Where the cause is; None: where the object is.
    """

    def __init__(self, place: Place | None, why: str, instead: str) -> None:
        self.place = place
        self.why = why
        self.instead = instead
        super().__init__(why)
