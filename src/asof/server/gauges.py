"""What `asof status` shows, as gauges for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from asof.services.overview import Status, ViewStatus
    from asof.services.standing import SourceStatus, ViewFreshness

_US = 1_000_000

_VIEWS: dict[str, tuple[str, Callable[[ViewFreshness], int | float | None]]] = {
    "asof_view_watermark_timestamp_seconds": (
        "Newest event time that a view has taken in.",
        lambda one: _seconds(one.watermark_us),
    ),
    "asof_view_updated_timestamp_seconds": (
        "When a view last took arrivals in.",
        lambda one: _seconds(one.updated_at_us),
    ),
    "asof_view_checked_timestamp_seconds": (
        "When a view was last known to hold all that had arrived.",
        lambda one: _seconds(one.checked_at_us),
    ),
    "asof_view_written_timestamp_seconds": (
        "When the newest generation of a view was switched in.",
        lambda one: _seconds(one.written_at_us),
    ),
    "asof_view_entries_behind": ("Entries of the log that a view does not hold.", lambda one: one.entries_behind),
    "asof_view_objective_seconds": ("How old values of a view may be.", lambda one: _seconds(one.objective_us)),
    "asof_view_stale": ("Whether a read of a view says that it is stale.", lambda one: int(one.stale)),
}

_SOURCES: dict[str, tuple[str, Callable[[SourceStatus], int | float | None]]] = {
    "asof_source_log_entries": ("Number of the newest entry of a source's log.", lambda one: one.entries),
    "asof_source_log_rows": ("Rows in a source's log.", lambda one: one.rows),
    "asof_source_arrived_timestamp_seconds": (
        "When the newest row of a source arrived.",
        lambda one: _seconds(one.last_us),
    ),
    "asof_source_dead_letters": ("Rows and messages that could not be taken in.", lambda one: one.dead_letters),
    "asof_source_lag_messages": ("Messages that wait, as running workers count them.", lambda one: one.lag),
    "asof_source_lag_seconds": (
        "How long ago the newest message that was taken in had been sent, while others wait.",
        lambda one: one.lag_s,
    ),
}


class StatusCollector:
    """A collector for `prometheus_client` that asks for the status at every scrape."""

    def __init__(self, status: Status, now_us: int) -> None:
        """Show a status as of an instant."""
        self._status = status
        self._now_us = now_us

    def collect(self) -> Iterator[Metric]:
        """Give one gauge after the other; what is not known has no sample."""
        views = [(view, view.freshness) for view in self._status.views if view.freshness is not None]
        for name, (about, value) in _VIEWS.items():
            yield _gauge(name, about, ("view", "version"), [(_names(view), value(one)) for view, one in views])
        ages = [(_names(view), self._age(one.watermark_us)) for view, one in views]
        yield _gauge("asof_view_watermark_age_seconds", "The clock minus the watermark.", ("view", "version"), ages)
        waits = [(_names(v), self._age(one.pending_us) or 0.0) for v, one in views if one.entries_behind is not None]
        about = "For how long arrivals have been on their way to a view; 0 while there are none."
        yield _gauge("asof_view_pending_seconds", about, ("view", "version"), waits)
        for name, (about, count) in _SOURCES.items():
            yield _gauge(name, about, ("source",), [((one.source,), count(one)) for one in self._status.sources])
        workers = [
            ((one.source, state), float(sum(worker.state == state for worker in one.workers)))
            for one in self._status.sources
            for state in ("running", "stopped", "silent")
        ]
        yield _gauge("asof_source_workers", "Workers of a source, by state.", ("source", "state"), workers)

    def _age(self, since_us: int | None) -> float | None:
        return None if since_us is None else (self._now_us - since_us) / _US


def _names(view: ViewStatus) -> tuple[str, str]:
    return view.view, str(view.version)


def _gauge(
    name: str, about: str, labels: tuple[str, ...], samples: Sequence[tuple[tuple[str, ...], float | None]]
) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, number)
    return family


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / _US
