"""Says where windows, ttls and schedules do not fit the schedule of the batch source that they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.durations import format_duration
from asof.plan.schedule import cadence, steps_us
from asof.plan.specs import SourceSpec, ViewSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.plan.specs import AnySpec, BatchSpec


def misalignments(spec: AnySpec) -> tuple[str, ...]:
    """Return a sentence per thing about a view or a batch source that is allowed and hardly meant.

    A row that a batch source published is the newest until the next one is there: for the time between two runs, plus
    the delay. A window or ttl that is shorter is empty or expired in between.
    """
    if isinstance(spec, ViewSpec) and spec.source.batch is not None:
        return tuple(_of_view(spec, spec.source, spec.source.batch))
    if isinstance(spec, SourceSpec) and spec.batch is not None:
        return tuple(
            text for one in spec.batch.inputs if one.batch for text in _of_source(spec, spec.batch, one, one.batch)
        )
    return ()


def _of_view(view: ViewSpec, source: SourceSpec, batch: BatchSpec) -> Iterator[str]:
    shortest_us, longest_us = steps_us(batch)
    needs_us = longest_us + source.delay_us
    over = f"over source {source.name!r}, which publishes {_published(source, batch)}"
    windows = {f.aggregate.window_us for f in view.features if f.aggregate and f.aggregate.window_us}
    for window_us in sorted(windows):
        text = f"View {view.name!r} has windows of {format_duration(window_us)} {over}"
        if window_us < needs_us:
            yield f"{text}: until the next rows are there, they are empty part of the time."
        elif batch.cron is None and window_us % shortest_us:
            runs = window_us // shortest_us
            yield f"{text}: they hold now {runs}, now {runs + 1} of its runs."
    if view.ttl_us is not None and view.ttl_us < needs_us:
        yield (
            f"View {view.name!r} has a ttl of {format_duration(view.ttl_us)} {over}: "
            "values expire before the next ones are there."
        )


def _of_source(source: SourceSpec, batch: BatchSpec, read: SourceSpec, read_batch: BatchSpec) -> Iterator[str]:
    text = f"Batch source {source.name!r} runs {cadence(batch)} over {read.name!r}, which publishes "
    (_, longest_us), (read_shortest_us, read_longest_us) = steps_us(batch), steps_us(read_batch)
    even = batch.cron is None and read_batch.cron is None
    if longest_us < read_shortest_us:
        yield f"{text}{_published(read, read_batch)}: most of its runs see nothing new."
        if batch.lookback_us is not None and longest_us + batch.lookback_us < read_longest_us:
            yield f"{text}{_published(read, read_batch)}: its lookback is too short for most runs to see any."
    elif even and longest_us % read_longest_us:
        runs = longest_us // read_longest_us
        yield f"{text}{_published(read, read_batch)}: its intervals hold now {runs}, now {runs + 1} of those."
    together = even and longest_us % read_longest_us == 0 if batch.cron is None else batch.cron == read_batch.cron
    if together and source.delay_us < read.delay_us:
        yield (
            f"{text}{format_duration(read.delay_us)} after an interval's end: its runs, due "
            f"{_delay(source.delay_us)}, do not see the interval that ends with theirs."
        )


def _published(source: SourceSpec, batch: BatchSpec) -> str:
    return cadence(batch) + (f", {format_duration(source.delay_us)} late" if source.delay_us else "")


def _delay(us: int) -> str:
    return f"{format_duration(us)} after it" if us else "at once"
