"""Intervals of batch sources as arithmetic, and the order in which batch sources feed each other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from asof import dtypes
from asof.errors import DefinitionError
from asof.plan.functions import function_spec
from asof.plan.schedule import schedule_of
from asof.plan.specs import BatchSpec, Column, meaning_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asof.definitions.batch import BatchSource
    from asof.plan.specs import SourceSpec


@dataclass(frozen=True, order=True)
class Interval:
    """`[start_us, end_us)`, microseconds since the epoch; its run's rows have `end_us` as event time."""

    start_us: int
    end_us: int


def batch_spec(source: BatchSource, inputs: tuple[SourceSpec, ...]) -> BatchSpec:
    """Return what a batch source runs, over the specs of its inputs.

    Raises:
        DefinitionError: its function cannot be referred to.
        SchemaError: a declared column has a dtype that does not exist.
    """
    for _, dtype in source.outputs:
        dtypes.column_type(dtype)
    used_by = f"Batch source {source.name!r}"
    return BatchSpec(
        inputs=inputs,
        sql=source.sql,
        function=None if source.function is None else function_spec(source.function, used_by),
        outputs=tuple(Column(name=name, dtype=dtype) for name, dtype in source.outputs),
        every_us=source.every_us,
        cron=source.cron,
        lookback_us=source.lookback_us,
    )


def batch_of(source: SourceSpec) -> BatchSpec:
    """Return what a source runs.

    Raises:
        DefinitionError: it is no batch source.
    """
    if source.batch is None:
        raise DefinitionError(
            f"Source {source.name!r} is read where it is, nothing is run for it", fix="Name a batch source or view."
        )
    return source.batch


def intervals(batch: BatchSpec, start_us: int, end_us: int) -> list[Interval]:
    """Return the intervals that touch `[start_us, end_us)` and end by `end_us`, in order."""
    schedule = schedule_of(batch)
    return [Interval(*bounds) for bounds in pairwise(schedule.between(schedule.floor(start_us), end_us))]


def due_until_us(source: SourceSpec, now_us: int) -> int:
    """Return the end of the newest interval whose rows may be there at `now_us`."""
    return schedule_of(batch_of(source)).floor(now_us - source.delay_us)


def due_next_us(source: SourceSpec, now_us: int) -> int:
    """Return the first instant after `now_us` at which another interval's rows may be there."""
    return schedule_of(batch_of(source)).after(now_us - source.delay_us) + source.delay_us


def newest_due(source: SourceSpec, now_us: int) -> Interval:
    """Return the newest interval whose rows may be there at `now_us`."""
    end_us = due_until_us(source, now_us)
    return Interval(schedule_of(batch_of(source)).floor(end_us - 1), end_us)


def needed(source: SourceSpec, interval: Interval, read: SourceSpec) -> list[Interval]:
    """Return the intervals of an input that a run of one interval of a batch source expects to be there.

    Those are the ones that touch it or its lookback, and the newest that is due when it runs, which may end before
    it begins. Without a lookback no one knows how far back it looks, and no more than the interval is expected.

    Args:
        source: What runs.
        interval: Its interval.
        read: The input, a batch source.
    """
    newest = newest_due(read, interval.end_us + source.delay_us)
    touched_us = schedule_of(batch_of(read)).floor(interval.start_us - (batch_of(source).lookback_us or 0))
    return intervals(batch_of(read), min(touched_us, newest.start_us), newest.end_us)


def seen(source: SourceSpec, interval: Interval, read: SourceSpec) -> Interval | None:
    """Return the event times of an input that a run of one interval sees, as `[start, end)`; None for all.

    A row of a batch source tells of the interval that its event time ends, so of such an input the same span of
    intervals is seen: `(start - lookback, end]` in event times.
    """
    lookback_us = batch_of(source).lookback_us
    if lookback_us is None:
        return None
    shift_us = 0 if read.batch is None else 1
    return Interval(interval.start_us - lookback_us + shift_us, interval.end_us + shift_us)


def in_order(sources: Iterable[SourceSpec]) -> list[SourceSpec]:
    """Return the batch sources among these and their inputs, each meaning once, inputs before what reads them."""
    found: dict[str, SourceSpec] = {}
    for source in sources:
        for one in _closure(source):
            known = found.setdefault(meaning_hash(one), one)
            if not known.columns:  # as an input has none
                found[meaning_hash(one)] = one
    return list(found.values())


def _closure(source: SourceSpec) -> Iterator[SourceSpec]:
    if source.batch is not None:
        for one in source.batch.inputs:
            yield from _closure(one)
        yield source
