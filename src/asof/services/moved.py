"""Marks of stores that were moved or are copies, and the refusal to write what nobody would read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof.errors import MovedError
from asof.interfaces.online import ViewKey

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from asof.interfaces import OfflinePlace
    from asof.interfaces.log import LogHead, OfflineLog, SourceLog
    from asof.interfaces.online import OnlineStore

MARK = "#moved"
"""The name of the pseudo view that marks an online store."""
_KEY = b"mark"
MARK_FILE = "moved.txt"
"""The file that marks an offline store."""


def online_mark(store: OnlineStore, project: str) -> str | None:
    """Return how the project's part of an online store is marked."""
    [found] = store.read([(ViewKey(project, MARK, 0), [_KEY])])
    text = found.values[0]
    return None if text is None else text.decode()


def set_online_mark(store: OnlineStore, project: str, mark: str | None) -> None:
    """Mark the project's part of an online store, or take the mark away."""
    place = ViewKey(project, MARK, 0)
    if mark is None:
        store.drop(place)
        return
    with store.write(place) as writer:
        writer.put(pa.array([_KEY], pa.binary()), pa.array([mark.encode()], pa.binary()))
        writer.commit(0, 0, "")


def offline_mark(place: OfflinePlace) -> str | None:
    """Return how an offline store is marked."""
    root = place.files("")
    item = root.find(MARK_FILE)
    try:
        return None if item is None else b"".join(root.chunks(item)).decode()
    except FileNotFoundError:  # it was taken away meanwhile
        return None


def set_offline_mark(place: OfflinePlace, mark: str | None) -> None:
    """Mark an offline store, durably, or take the mark away."""
    root = place.files("")
    if mark is None:
        root.delete([MARK_FILE])
    else:
        root.replace(MARK_FILE, lambda path: path.write_text(mark, encoding="utf-8"))


def refuse_marked(store: OnlineStore, project: str, known: Collection[ViewKey]) -> None:
    """Refuse to write to a store that is marked.

    Args:
        known: The view versions that the store holds, asked a moment ago.

    Raises:
        MovedError: it is.
    """
    if ViewKey(project, MARK, 0) in known:
        mark = online_mark(store, project)
        if mark is not None:
            raise refusal("The online store", mark)


def refusal(what: str, mark: str) -> MovedError:
    """Return the error of whoever would write to something that is marked."""
    return MovedError(
        f"{what} takes no changes: it {mark}",
        fix="Write where it is now into asof.toml, or into the environment, and start again.",
    )


class GuardedLog:
    """An `OfflineLog` for whoever writes: once they were moved, its logs neither end anywhere nor take anything."""

    def __init__(self, log: OfflineLog, mark: Callable[[], str | None]) -> None:
        """Ask `mark` each time."""
        self._log = log
        self._mark = mark

    def of(self, source: str) -> SourceLog:
        """Return the log of a source."""
        return _GuardedSourceLog(self._log.of(source), self._mark)


class _GuardedSourceLog:
    def __init__(self, log: SourceLog, mark: Callable[[], str | None]) -> None:
        self._log = log
        self._mark = mark

    def head(self) -> LogHead:
        self._refuse_moved()
        return self._log.head()

    def append(self, after: LogHead, rows: pa.Table, positions: Mapping[str, int], at_us: int) -> LogHead:
        self._refuse_moved()
        return self._log.append(after, rows, positions, at_us)

    def read(self, after: int, until: int) -> Iterator[tuple[int, pa.Table]]:
        return self._log.read(after, until)

    def compact(self) -> int:
        return self._log.compact()

    def erase(self, gone: Callable[[pa.Table], pa.ChunkedArray]) -> None:
        self._refuse_moved()
        self._log.erase(gone)

    def _refuse_moved(self) -> None:
        mark = self._mark()
        if mark is not None:
            raise refusal("The offline store", mark)
