"""The contract of an online store: packed values by entity key, generation by generation, read in one round trip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    import pyarrow as pa

    Requests = Sequence[tuple["ViewKey", Sequence[bytes | None]]]
    Read = Callable[[Requests], list["ViewRead"]]

_T = TypeVar("_T")


@dataclass(frozen=True)
class ViewKey:
    """A version of a view within a project: what has storage of its own."""

    project: str
    view: str
    version: int


@dataclass(frozen=True)
class Generation:
    """One complete materialization of a view version.

    Attributes:
        number: Rises by one with every generation of the view version.
        instant_us: What the values show is what was known then; reads before it are refused.
        keys: How many entities it holds.
        written_at_us: When it was switched in.
        meaning: The meaning hash of the view version that wrote it.
    """

    number: int
    instant_us: int
    keys: int
    written_at_us: int
    meaning: str


@dataclass(frozen=True)
class ViewRead:
    """The answer for one view: its generation (None: never materialized) and one value per key (None: not there)."""

    generation: Generation | None
    values: Sequence[bytes | None]


class GenerationWriter(Protocol):
    """Writes one generation beside the current one; a context manager that discards unless committed."""

    def put(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
        """Write pairs; a null value is skipped. Keys must be unique within the generation, in any order."""
        ...

    def commit(self, instant_us: int, written_at_us: int, meaning: str) -> Generation:
        """Switch the generation in atomically and free the one it replaces.

        Raises:
            ConflictError: a generation of a later instant was switched in meanwhile; nothing changes.
        """
        ...

    def __enter__(self) -> GenerationWriter:
        """Start."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Discard what was not committed."""
        ...


class OnlineStore(Protocol):
    """Holds generations of view versions. Errors: `StoreError`, `StoreFullError`, `CorruptDataError`."""

    def write(self, view: ViewKey) -> GenerationWriter:
        """Begin a generation; leftovers of writers that died are removed."""
        ...

    def read(self, requests: Sequence[tuple[ViewKey, Sequence[bytes | None]]]) -> list[ViewRead]:
        """Return the values of all requests as of one instant of the store, keys in order; a None key has no value."""
        ...

    def generations(self, project: str) -> dict[ViewKey, Generation]:
        """Return the current generation of every view version of a project."""
        ...

    def drop(self, view: ViewKey) -> None:
        """Delete a view version's storage; unknown ones are ignored."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


@runtime_checkable
class SnapshotStore(Protocol):
    """What an online store has besides where several reads can see one instant of it."""

    def in_snapshot(self, work: Callable[[Read], _T]) -> _T:
        """Return what `work` returns of a `read` whose calls all see one instant; it may be called more than once."""
        ...
