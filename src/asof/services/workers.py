"""What stream workers tell of themselves through the online store, so that any process can see how they do."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import msgspec
import pyarrow as pa

from asof.errors import AsofError
from asof.interfaces.online import Progress, Update, ViewKey
from asof.services.caught_up import Peer
from asof.services.stream import StreamProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asof.clock import Clock
    from asof.interfaces import OnlineStore
WORKERS = "#workers"
"""Follows a source's name in the name of the pseudo view that keeps its workers' records."""

SILENT_AFTER_US = 10_000_000
"""A worker that told nothing for longer has died, hangs, or cannot reach the store: what it told is history."""

_EVERY_S = 2.0
_KEEP_US = 86_400_000_000
_MOST_RECORDS = 100
_KEY = b"records"

State = Literal["running", "stopped", "silent"]


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker last told of one source.

    Attributes:
        member: Host, process id and a part by chance.
        started_at_us: When it began.
        seen_at_us: When it told this.
        polled_at_us: When it last asked the broker for messages; None before the first time.
        stopped: Whether it ended in order then.
        taken: Rows that it has put into the log since it began.
        repeated: Messages that were there already.
        refused: Messages that cannot be taken in.
        rows_per_s: How many rows it took in per second lately.
        lag: Per partition that it reads, how many messages wait; None while that is not known.
        lag_s: How long ago the newest message that it took in had been sent, while others wait; else 0.
        p50_s: Half of the rows took at most so long from being sent to being servable, as the bound of a bucket.
        p99_s: As many as 99 of 100 did.
        checked_at_us: All that had come by then into the partitions that it reads is in the log; None: not known.
        behind: Views that cannot take rows in, and why.
        problem: What keeps it from going on, or None.
    """

    member: str
    started_at_us: int
    seen_at_us: int
    polled_at_us: int | None = None
    stopped: bool = False
    taken: int = 0
    repeated: int = 0
    refused: int = 0
    rows_per_s: float = 0.0
    lag: dict[str, int] | None = None
    lag_s: float = 0.0
    p50_s: float | None = None
    p99_s: float | None = None
    checked_at_us: int | None = None
    behind: dict[str, str] = {}
    problem: str | None = None

    def state(self, now_us: int) -> State:
        """Return whether it runs, ended in order, or fell silent."""
        if self.stopped:
            return "stopped"
        return "silent" if now_us - self.seen_at_us > SILENT_AFTER_US else "running"


_decode = msgspec.json.Decoder(list[WorkerRecord]).decode


class WorkerBoard:
    """The records of all workers of a project, per source."""

    def __init__(self, store: OnlineStore, project: str) -> None:
        """Keep them in the online store, which every worker and every reader reaches."""
        self._store = store
        self._project = project

    def records(self, source: str) -> list[WorkerRecord]:
        """Return what the workers of a source told, the newest first.

        Raises:
            StoreError: the store cannot be read.
        """
        return self._read(source)[1]

    def peers(self, source: str, member: str, now_us: int) -> list[Peer]:
        """Return the other workers of a source that run.

        Raises:
            StoreError: the store cannot be read.
        """
        others = [one for one in self.records(source) if one.member != member and one.state(now_us) == "running"]
        return [Peer(frozenset(one.lag or ()), one.checked_at_us) for one in others]

    def tell(self, source: str, record: WorkerRecord) -> None:
        """Put a record in place of the member's last one; those of members long gone are dropped.

        Raises:
            StoreError, StoreFullError, ConflictError: the store has the last one still.
        """
        with self._store.exclusive(self._project, source + WORKERS):
            number, known = self._read(source)
            if number is None:
                with self._store.write(self._place(source)) as writer:
                    number = writer.commit(0, record.seen_at_us, "", Progress(0)).number
            others = [
                one
                for one in known
                if one.member != record.member and not one.stopped and record.seen_at_us - one.seen_at_us <= _KEEP_US
            ]
            text = msgspec.json.encode([record, *others][:_MOST_RECORDS])
            keys, values = pa.array([_KEY], pa.binary()), pa.array([text], pa.binary())
            self._store.update([Update(self._place(source), number, 0, keys, values, 0, Progress(0))])

    def _read(self, source: str) -> tuple[int | None, list[WorkerRecord]]:
        (found,) = self._store.read([(self._place(source), [_KEY])])
        text = found.values[0]
        return None if found.generation is None else found.generation.number, [] if text is None else _decode(text)

    def _place(self, source: str) -> ViewKey:
        return ViewKey(self._project, source + WORKERS, 0)


def new_member() -> str:
    """Return a name for a worker that no other has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"


@contextmanager
def published(
    board: WorkerBoard, clock: Clock, member: str, sources: Sequence[str]
) -> Iterator[Callable[[StreamProgress], None]]:
    """Give a function that takes a worker's progress, and tell it to others every two seconds within the block.

    A thread does so, and also while a batch takes long. At the end the worker is told to have stopped, and by which
    error. A store that cannot be written is no reason to stop: the record grows old then, which its readers see.
    """
    telling = _Telling(board, clock, member, sources)
    telling.tell(stopped=False)
    thread = threading.Thread(target=telling.run, name="worker-record", daemon=True)
    thread.start()
    try:
        yield telling.note
    except AsofError as error:
        telling.fail(error)
        raise
    finally:
        telling.ended.set()
        thread.join()
        telling.tell(stopped=True)


class _Telling:
    def __init__(self, board: WorkerBoard, clock: Clock, member: str, sources: Sequence[str]) -> None:
        self.ended = threading.Event()
        self._board = board
        self._clock = clock
        self._member = member
        self._started_at_us = clock.now_us()
        self._known = {source: StreamProgress(source) for source in sources}
        self._taken: dict[str, tuple[float, int]] = {}

    def note(self, progress: StreamProgress) -> None:
        self._known[progress.source] = progress

    def fail(self, error: AsofError) -> None:
        self._known = {source: replace(one, problem=error) for source, one in self._known.items()}

    def run(self) -> None:
        while not self.ended.wait(_EVERY_S):
            self.tell(stopped=False)

    def tell(self, *, stopped: bool) -> None:
        for progress in list(self._known.values()):
            self._tell(progress, stopped=stopped)

    def _tell(self, one: StreamProgress, *, stopped: bool) -> None:
        now_s = time.monotonic()
        before_s, before = self._taken.get(one.source, (now_s, one.taken))
        self._taken[one.source] = now_s, one.taken
        record = WorkerRecord(
            member=self._member,
            started_at_us=self._started_at_us,
            seen_at_us=self._clock.now_us(),
            polled_at_us=one.polled_at_us,
            stopped=stopped,
            taken=one.taken,
            repeated=one.repeated,
            refused=one.refused,
            rows_per_s=round((one.taken - before) / (now_s - before_s), 1) if now_s > before_s else 0.0,
            lag=None if one.lags is None else dict(one.lags),
            lag_s=round(one.lag_s, 3),
            p50_s=one.sent_to_servable.quantile(0.5),
            p99_s=one.sent_to_servable.quantile(0.99),
            checked_at_us=one.checked_at_us,
            behind={view: str(error) for view, error in one.behind.items()},
            problem=None if one.problem is None else str(one.problem),
        )
        with suppress(AsofError):
            self._board.tell(one.source, record)
