"""Sorts the rows of one key into those that a value rests on and those that it does not, each with one cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from asof.interfaces.scanner import (
    AVAILABLE_AT,
    DELETED,
    EVENT_ID,
    EVENT_TIME,
    FIRST,
    ORDER,
    REJECTED,
    RETRACTED_AT,
    WHERE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Cause = Literal[
    "inside",
    "quarantined",
    "retraction",
    "duplicate",
    "filtered_by_view",
    "in_the_future",
    "not_yet_available",
    "retracted",
    "before_the_window",
    "filtered_by_aggregate",
    "null_input",
    "older",
    "tombstone",
    "expired",
]


@dataclass(frozen=True, slots=True)
class TracedRow:
    """A source row of the key, times in microseconds; None where the row is quarantined.

    Attributes:
        order: Its place in ingest order, from 1.
        known_us: When it became available.
        retracted_us: When a retraction of its event id became available, None for never.
        value: The feature's input; True where rows are counted.
        where: Whether the view's `where` is true; `own_where` is the aggregate's.
        first: Whether it is the row that counts for its event id.
        group: The secondary key; True where there is none.
    """

    order: int
    event_us: int | None
    known_us: int | None
    retracted_us: int | None
    event_id: str | None
    value: Any
    rejected: str | None
    deleted: bool
    first: bool
    where: bool
    own_where: bool
    group: Any = True

    @property
    def age_order(self) -> tuple[int, int, int]:
        """What decides which of two rows of a state is newer."""
        return self.event_us or 0, self.known_us or 0, self.order


def traced(rows: Iterable[Mapping[str, Any]], column: str | None, by: str | None = None) -> list[TracedRow]:
    """Return the rows of `Scanner.trace`, with the value of one of its columns and the group of another."""
    return [
        TracedRow(
            order=row[ORDER],
            event_us=row[EVENT_TIME],
            known_us=row[AVAILABLE_AT],
            retracted_us=row[RETRACTED_AT],
            event_id=row[EVENT_ID],
            value=True if column is None else row[column],
            group=True if by is None else row[by],
            rejected=row[REJECTED],
            deleted=row[DELETED],
            first=row[FIRST],
            where=row[WHERE],
            own_where=column is None or row[column + WHERE],
        )
        for row in rows
    ]


def event_causes(rows: Sequence[TracedRow], t_us: int, start_us: int | None) -> list[Cause]:
    """Return the cause of every row of an event view at `t_us`; `start_us` is the window's start, None for lifetime."""
    return [_before_windows(row) or _of_event(row, t_us, start_us) for row in rows]


def state_causes(rows: Sequence[TracedRow], t_us: int, ttl_us: int | None) -> list[Cause]:
    """Return the cause of every row of a state view at `t_us`: the one that wins is inside, unless gone or old."""
    causes = [_before_states(row, t_us) for row in rows]
    visible = [row for row, cause in zip(rows, causes, strict=True) if cause is None]
    if visible:
        newest = max(visible, key=lambda row: row.age_order)
        causes[rows.index(newest)] = _of_newest(newest, t_us, ttl_us)
    return [cause or "older" for cause in causes]


def _before_windows(row: TracedRow) -> Cause | None:
    if row.rejected is not None:
        return "quarantined"
    if row.deleted:
        return "retraction"
    if not row.first:
        return "duplicate"
    return None if row.where else "filtered_by_view"


def _of_event(row: TracedRow, t_us: int, start_us: int | None) -> Cause:
    event_us = row.event_us or 0
    if event_us >= t_us:
        return "in_the_future"
    if (row.known_us or 0) > t_us:
        return "not_yet_available"
    if row.retracted_us is not None and row.retracted_us <= t_us:
        return "retracted"
    if start_us is not None and event_us < start_us:
        return "before_the_window"
    if not row.own_where:
        return "filtered_by_aggregate"
    return "null_input" if row.value is None or row.group is None else "inside"


def _before_states(row: TracedRow, t_us: int) -> Cause | None:
    if row.rejected is not None:
        return "quarantined"
    if not row.where:
        return "filtered_by_view"
    if (row.event_us or 0) > t_us:
        return "in_the_future"
    return "not_yet_available" if (row.known_us or 0) > t_us else None


def _of_newest(row: TracedRow, t_us: int, ttl_us: int | None) -> Cause:
    if row.deleted:
        return "tombstone"
    return "expired" if ttl_us is not None and t_us - (row.event_us or 0) > ttl_us else "inside"
