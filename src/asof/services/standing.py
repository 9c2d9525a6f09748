"""How far a stream source and the views over it have come: log, lag, watermark, what is on its way, what is stale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.services.freshness import LOST_AFTER_US, exact_instant, is_stale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asof.interfaces.log import LogHead
    from asof.interfaces.online import Generation
    from asof.plan.specs import ViewSpec
    from asof.services.workers import State, WorkerRecord


@dataclass(frozen=True)
class ViewFreshness:
    """How fresh the values of a view are. Instants and durations are in microseconds.

    All but the last three are None for a view that takes no arrivals.

    Attributes:
        watermark_us: The newest event time that was taken in.
        updated_at_us: When arrivals were last taken in.
        checked_at_us: When it was last known that nothing had arrived that it does not hold.
        entries_behind: Entries of its source's log that it does not hold.
        pending_us: Since when arrivals are on their way that it does not hold.
        stuck: Whether they have been for so long that whoever takes them in must have died.
        written_at_us: When its newest generation was switched in.
        objective_us: How old its values may be, or None.
        stale: Whether a read now would say so.
    """

    watermark_us: int | None
    updated_at_us: int | None
    checked_at_us: int | None
    entries_behind: int | None
    pending_us: int | None
    stuck: bool
    written_at_us: int
    objective_us: int | None
    stale: bool


@dataclass(frozen=True)
class WorkerStatus:
    """A stream worker of one source.

    Attributes:
        state: running, stopped (in order), or silent: it died, hangs, or cannot reach the store.
        silent_us: How long ago it told what follows, in microseconds.
        record: What it told.
    """

    state: State
    silent_us: int
    record: WorkerRecord


@dataclass(frozen=True)
class SourceStatus:
    """How far a stream source has come.

    Attributes:
        entries: The number of its log's newest entry.
        rows: How many rows its log holds.
        last_us: When the newest of them arrived, or None.
        lag: Messages that wait, as the workers that run count them; None where none does, or knows.
        lag_s: How long ago the newest message that was taken in had been sent, while others wait.
        workers: The newest first.
        dead_letters: Rows and messages that could not be taken in, and wait to be replayed.
    """

    source: str
    entries: int
    rows: int
    last_us: int | None
    lag: int | None
    lag_s: float | None
    workers: tuple[WorkerStatus, ...]
    dead_letters: int


def view_freshness(view: ViewSpec, generation: Generation, heads: Mapping[str, LogHead], now_us: int) -> ViewFreshness:
    """Return how fresh a view is that the store holds.

    Args:
        view: The view.
        generation: What the store holds of it.
        heads: The ends of logs by source.
        now_us: The clock.
    """
    progress, head = generation.progress, heads.get(view.source.name)
    pending = None if progress is None else progress.pending_us
    return ViewFreshness(
        watermark_us=None if progress is None else progress.newest_us,
        updated_at_us=None if progress is None else progress.updated_at_us,
        checked_at_us=None if progress is None else progress.checked_at_us,
        entries_behind=None if progress is None or head is None else max(0, head.sequence - progress.entry),
        pending_us=pending,
        stuck=pending is not None and now_us - pending > LOST_AFTER_US,
        written_at_us=generation.written_at_us,
        objective_us=view.freshness_us,
        stale=is_stale(view, generation, now_us, exact_instant([generation], now_us, generation.instant_us)),
    )


def source_status(
    source: str, head: LogHead, records: Sequence[WorkerRecord], now_us: int, *, dead_letters: int
) -> SourceStatus:
    """Return how far a source has come; what silent and stopped workers told of lag does not count."""
    workers = tuple(WorkerStatus(one.state(now_us), now_us - one.seen_at_us, one) for one in records)
    known = [one.record for one in workers if one.state == "running" and one.record.lag is not None]
    return SourceStatus(
        source=source,
        entries=head.sequence,
        rows=head.rows,
        last_us=head.last_us if head.sequence else None,
        lag=sum(sum((one.lag or {}).values()) for one in known) if known else None,
        lag_s=max(one.lag_s for one in known) if known else None,
        workers=workers,
        dead_letters=dead_letters,
    )
