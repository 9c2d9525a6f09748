"""The contract of an online store: packed values by entity key, generation by generation, read in one round trip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    import pyarrow as pa

    from asof.circuit import Circuit

    Pairs = tuple[pa.BinaryArray, pa.BinaryArray]
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
class Progress:
    """How far the values of a view that takes arrivals have come.

    Attributes:
        entry: The newest entry of its source's log that they hold; they hold all before it, too.
        updated_at_us: When arrivals were last taken in; None before the first.
        checked_at_us: When it was last known that nothing had arrived that they do not hold.
        newest_us: The newest event time taken in.
        pending_us: Since when arrivals are on their way that they do not hold: reads from then on cannot be exact.
        due_us: When the first row of the source's history becomes known that they do not hold, because it was not known
            yet when they were built.
    """

    entry: int
    updated_at_us: int | None = None
    checked_at_us: int | None = None
    newest_us: int | None = None
    pending_us: int | None = None
    due_us: int | None = None


@dataclass(frozen=True)
class Generation:
    """One complete materialization of a view version.

    Attributes:
        number: Rises by one with every generation of the view version.
        instant_us: What the values show is what was known then; reads before it are refused.
        keys: How many entities it holds.
        written_at_us: When it was switched in.
        meaning: The meaning hash of the view version that wrote it.
        progress: Of a view over a stream source; None for others, whose values only a new generation changes.
    """

    number: int
    instant_us: int
    keys: int
    written_at_us: int
    meaning: str
    progress: Progress | None = None


@dataclass(frozen=True)
class Update:
    """What arrivals change in the current generation of one view.

    Attributes:
        generation: Its number, and
        entry: how far it had come, when the change was worked out.
        keys: Keys, unique, in any order.
        values: Their new values; null forgets the key.
        instant_us: Reads before it will be refused.
        progress: Takes the place of what it had.
    """

    view: ViewKey
    generation: int
    entry: int
    keys: pa.BinaryArray
    values: pa.BinaryArray
    instant_us: int
    progress: Progress


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

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what was put of these keys so far, keys in order."""
        ...

    def replace(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
        """Write pairs over those that were put; keys are unique within the call, a null value forgets its key."""
        ...

    def commit(self, instant_us: int, written_at_us: int, meaning: str, progress: Progress | None = None) -> Generation:
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
    """Holds generations of view versions. Errors: `StoreError`, `StoreFullError`, `CorruptDataError`.

    A store whose reads never wait for a network says so by an attribute `in_process`, which is true. One whose reads do
    gives up where `asof.deadline` says that nobody waits any more.
    """

    def write(self, view: ViewKey) -> GenerationWriter:
        """Begin a generation; leftovers of writers that died are removed."""
        ...

    def read(self, requests: Sequence[tuple[ViewKey, Sequence[bytes | None]]]) -> list[ViewRead]:
        """Return the values of all requests as of one instant of the store, keys in order; a None key has no value."""
        ...

    def exclusive(self, project: str, source: str) -> AbstractContextManager[None]:
        """Wait until nobody else, in any process, holds this, and hold it within the block, or until the process dies.

        Whoever takes arrivals of a source in, or switches in a generation of a view over it, holds it.

        Raises:
            StoreError: somebody held it for too long.
        """
        ...

    def announce(self, views: Sequence[ViewKey], at_us: int) -> None:
        """Note in the progress of these views that arrivals are on their way since then.

        Where that is noted already, the earlier moment stays. Views without progress are left out.
        """
        ...

    def update(self, updates: Sequence[Update]) -> None:
        """Write all updates in one step, durably.

        Raises:
            ConflictError: a view has another generation by now, or has come further; nothing is written.
        """
        ...

    def generations(self, project: str) -> dict[ViewKey, Generation]:
        """Return the current generation of every view version of a project."""
        ...

    def scan(self, view: ViewKey) -> Iterator[Pairs]:
        """Yield all keys of the current generation with their values, some thousands at a time, each key once.

        In any order, and not as of one instant: what is updated meanwhile comes as it was or as it is, and keys that
        are added or forgotten may come or not. A view version without a generation has none.

        Raises:
            ConflictError: another generation was switched in, or the view was dropped, meanwhile; begin again.
        """
        ...

    def drop(self, view: ViewKey) -> None:
        """Delete a view version's storage; unknown ones are ignored."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


@runtime_checkable
class RemoteStore(Protocol):
    """What an online store has besides where its reads may fail because nobody answers."""

    @property
    def circuit(self) -> Circuit:
        """What keeps reads from waiting, one after the other, for a store that does not answer."""
        ...


@runtime_checkable
class SnapshotStore(Protocol):
    """What an online store has besides where several reads can see one instant of it."""

    def in_snapshot(self, work: Callable[[Read], _T]) -> _T:
        """Return what `work` returns of a `read` whose calls all see one instant; it may be called more than once."""
        ...


@runtime_checkable
class ScrubbedStore(Protocol):
    """What an online store has besides where bytes stay in its own files after they were deleted."""

    def scrub(self) -> None:
        """Overwrite what was deleted; what readers of older snapshots may still see stays."""
        ...


class Conversation(Protocol):
    """A connection to an online store, asked one question after the other by a thread that never waits for it.

    Whatever it raises, the same question may be put to the store itself; after a `StoreError` it is of no use any more.
    """

    def fileno(self) -> int:
        """Return the file that becomes readable when there is something to `take`."""
        ...

    def ask(self, requests: Requests) -> None:
        """Send a question, as `OnlineStore.read` takes it, of one project; the one before it is answered."""
        ...

    def take(self) -> list[ViewRead] | None:
        """Return the answer, as of one instant of the store, or None while it is not here whole."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


@runtime_checkable
class ConversingStore(Protocol):
    """What an online store has besides where it can be asked without waiting."""

    def converse(self) -> Conversation | None:
        """Connect, which may take time; None where this store, as it is set up, cannot."""
        ...


def is_in_process(store: OnlineStore) -> bool:
    """Return whether a store's reads never wait for a network, so that they may run where nothing else goes on."""
    return bool(getattr(store, "in_process", False))
