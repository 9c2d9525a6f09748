"""The contract of a registry: a versioned store of specs whose every change is a numbered revision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from asof.plan.registered import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Action",
    "Change",
    "Kind",
    "Registry",
    "RegistrySnapshot",
    "Revision",
    "Run",
    "SharedRegistry",
    "StoredObject",
]

Action = Literal["create", "new_version", "metadata", "remove", "restore", "prune"]


@dataclass(frozen=True)
class StoredObject:
    """One version of one object.

    Attributes:
        body: The spec as JSON.
        meaning: Its meaning hash.
        revision: The revision that wrote this body.
        hidden: Removed from the definitions; still readable by its pinned name until pruned.
    """

    kind: Kind
    name: str
    version: int
    body: bytes
    meaning: str
    revision: int
    hidden: bool = False


@dataclass(frozen=True)
class Change:
    """One object's change within an apply.

    Attributes:
        action: create and new_version add a version; metadata replaces the body of one; remove hides it; restore
            shows it again, with a new body; prune deletes it for good, and its number is never used again.
        body: The spec as JSON; None for remove and prune.
        meaning: Its meaning hash; None for remove and prune.
    """

    action: Action
    kind: Kind
    name: str
    version: int
    body: bytes | None = None
    meaning: str | None = None


@dataclass(frozen=True)
class Revision:
    """One apply: its number, when, who, and what it changed, in words."""

    number: int
    at_us: int
    who: str
    summary: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class RegistrySnapshot:
    """Every stored object as of one revision.

    Attributes:
        revision: 0 for an empty registry.
        objects: By (kind, name, version), hidden ones included.
        last_versions: The highest version number ever given to (kind, name), pruned ones included.
    """

    revision: int
    objects: Mapping[tuple[Kind, str, int], StoredObject]
    last_versions: Mapping[tuple[Kind, str], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run of one interval of a batch source.

    Attributes:
        meaning: The source's meaning hash.
        start_us: The interval's start; all instants are microseconds since the epoch.
        end_us: The interval's end.
        started_us: When the run began.
        seconds: How long it took, attempts together.
        rows: Rows published; 0 where it failed.
        error: Why it failed, or an empty text.
        inputs: Per input its name and what of it was read, in words.
    """

    source: str
    meaning: str
    start_us: int
    end_us: int
    started_us: int
    seconds: float
    rows: int
    error: str = ""
    inputs: tuple[tuple[str, str], ...] = ()


class Registry(Protocol):
    """Stores specs of one project. Errors: `StoreError`, `ConflictError`, `CorruptDataError`."""

    def revision(self) -> int:
        """Return the newest revision's number, cheaply; 0 for an empty registry."""
        ...

    def snapshot(self) -> RegistrySnapshot:
        """Return everything as of the newest revision, from one transaction."""
        ...

    def commit(self, expected: int, changes: Sequence[Change], *, who: str, at_us: int, summary: str) -> Revision:
        """Write all changes as one revision, in one transaction.

        Raises:
            ConflictError: the newest revision is no longer `expected`; nothing is written.
        """
        ...

    def revisions(self, limit: int) -> list[Revision]:
        """Return the newest revisions, newest first, their changes without bodies."""
        ...

    def record_runs(self, runs: Sequence[Run]) -> None:
        """Append runs to the run ledger, in one transaction; whatever kills this process afterwards, they stay."""
        ...

    def runs(self, source: str | None, limit: int) -> list[Run]:
        """Return the runs that were recorded last, last first; of one batch source, or of all."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


@runtime_checkable
class SharedRegistry(Protocol):
    """What a registry has besides where several projects can reach it by one URL."""

    def belong_to(self, project: str) -> None:
        """Refuse the registry of another project; the first commit from then on makes it this one's.

        Raises:
            ConfigError: it is another project's.
        """
        ...
