"""Counts and times requests for Prometheus, summed over the workers of a server."""

from __future__ import annotations

import os
import platform
import threading
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from asof import __version__
from asof.server.cells import DIRECTORY, Cells
from asof.server.metric_names import METRICS, PHASES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from asof.server.cells import Found
    from asof.server.gauges import StatusCollector
    from asof.server.metric_names import Described

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ANSWERS = 512


class Metrics:
    """The process's metrics. With several workers, they share files in the directory that `DIRECTORY` names."""

    def __init__(self) -> None:
        """Start at zero, or where a worker that died left off."""
        self._cells = Cells(os.environ.get(DIRECTORY))
        self._view = self._cells.view
        self._lock = threading.Lock()
        self._histograms: list[_Histogram] = []
        self._answers = 0
        self._routes: dict[tuple[str, int], tuple[int, _Histogram]] = {}
        self._services: dict[str, tuple[_Histogram, ...]] = {}
        self._one: dict[tuple[str, ...], int] = {}
        self._store = self._histogram("asof_store_read_seconds")
        for outcome in ("written", "dropped", "failed"):
            self.count("asof_serving_log_rows", outcome, by=0)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        known = self._routes.get((route, status))
        if known is None:
            known = self._routes[route, status] = (
                self._reserve("asof_http_requests", route, str(status)),
                self._histogram("asof_http_request_duration_seconds", route),
            )
        self._view[known[0]] += 1.0
        known[1].values.append(seconds)
        self._answers += 1
        if self._answers >= _ANSWERS:
            self.fold()

    def refused(self, code: str) -> None:
        """Count one error."""
        self.count("asof_errors", code)

    def read(self, service: str, keys: int, phases: tuple[float, ...]) -> None:
        """Count one online read: its service ("" for a list of features), its keys, and seconds as in `PHASES`."""
        known = self._services.get(service)
        if known is None:
            known = self._services[service] = (
                self._histogram("asof_online_request_keys", service),
                *(self._histogram("asof_online_phase_seconds", service, phase) for phase in PHASES),
            )
        known[0].values.append(keys)
        for histogram, seconds in zip(known[1:], phases, strict=True):
            histogram.values.append(seconds)

    def stored(self, seconds: float) -> None:
        """Count one read of the online store."""
        self._store.values.append(seconds)

    def fold(self) -> None:
        """Put what was observed since the last time into the buckets, where all workers see it.

        All at once is many times cheaper than one by one. A worker that is killed loses what it had not put there.
        """
        self._answers = 0
        with self._lock:
            for histogram in list(self._histograms):
                histogram.fold(self._view)

    def count(self, metric: str, *labels: str, by: float = 1.0) -> None:
        """Add to a counter, or to a gauge that is the sum of the workers'.

        Label values come from definitions and code, never from requests: their number has to have a bound.
        """
        key = (metric, *labels)
        at = self._one.get(key)
        if at is None:
            at = self._one[key] = self._reserve(metric, *labels)
        self._view[at] += by

    def pushed(self, source: str, taken: int, repeated: int, refused: int) -> None:
        """Count the rows of one push, by what became of them."""
        for outcome, rows in (("taken", taken), ("repeated", repeated), ("refused", refused)):
            self.count("asof_pushed_rows", source, outcome, by=rows)

    def serving(self, revision: int) -> None:
        """Note the revision in use."""
        self._view[self._reserve("asof_registry_revision")] = revision

    def text(self, status: StatusCollector | None = None) -> bytes:
        """Return everything in Prometheus's text format, all workers included, and the project's status."""
        self.fold()
        shown = CollectorRegistry()
        shown.register(_Collected(self._cells.all()))
        if status is not None:
            shown.register(status)
        return generate_latest(shown)

    def _reserve(self, metric: str, *labels: str) -> int:
        return self._cells.reserve(metric, labels, METRICS[metric].cells)

    def _histogram(self, metric: str, *labels: str) -> _Histogram:
        at = self._reserve(metric, *labels)
        found = next((one for one in self._histograms if one.at == at), None)
        if found is None:
            found = _Histogram(at, METRICS[metric].bounds)
            self._histograms.append(found)
        return found


class _Histogram:
    """The buckets of one combination of label values, and what was observed and is not in them yet."""

    __slots__ = ("at", "bounds", "values")

    def __init__(self, at: int, bounds: tuple[float, ...]) -> None:
        self.at = at
        self.bounds = bounds
        self.values: list[float] = []

    def fold(self, view: memoryview[float]) -> None:
        count = len(self.values)
        if not count:
            return
        values = self.values[:count]
        del self.values[:count]  # what was appended meanwhile stays
        at, bounds = self.at, self.bounds
        found = np.bincount(np.searchsorted(bounds, values), minlength=len(bounds) + 1)
        for bucket in np.flatnonzero(found).tolist():
            view[at + bucket] += float(found[bucket])
        view[at + len(bounds) + 1] += sum(values)


class _Collected:
    """A collector for `prometheus_client` over what the workers counted."""

    def __init__(self, workers: list[Found]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        totals: dict[str, dict[tuple[str, ...], list[float]]] = {}
        for worker in self._workers:
            for (metric, labels), numbers in worker.numbers.items():
                if METRICS[metric].by_worker:
                    if worker.pid is None:
                        continue
                    labels = (*labels, str(worker.slot))
                found = totals.setdefault(metric, {})
                before = found.get(labels)
                found[labels] = numbers if before is None else [a + b for a, b in zip(before, numbers, strict=True)]
        for name, described in METRICS.items():
            yield _family(name, described, totals.get(name, {}))
        build = GaugeMetricFamily("asof_build_info", "What runs; always 1.", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        running = [worker for worker in self._workers if worker.pid is not None]
        workers = GaugeMetricFamily("asof_workers", "Processes that serve.")
        workers.add_metric([], len(running))
        yield workers
        yield from _processes(running)


def _family(name: str, described: Described, samples: dict[tuple[str, ...], list[float]]) -> Metric:
    labels = (*described.labels, "worker") if described.by_worker else described.labels
    if described.kind == "histogram":
        histogram = HistogramMetricFamily(name, described.about, labels=labels)
        bounds = [*(str(bound) for bound in described.bounds), "+Inf"]
        for values, numbers in samples.items():
            histogram.add_metric(values, list(zip(bounds, accumulate(numbers[:-1]), strict=True)), numbers[-1])
        return histogram
    kind = CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily
    family = kind(name, described.about, labels=labels)
    for values, numbers in samples.items():
        family.add_metric(values, numbers[0])
    return family


def _processes(running: list[Found]) -> Iterable[Metric]:
    """Return processor time, memory and files of every worker, under the names that all of Prometheus's clients use."""
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for worker in running:
        pid = worker.pid or os.getpid()
        for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
            kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
            family = families.setdefault(metric.name, kind(metric.name, metric.documentation, labels=["worker"]))
            for sample in metric.samples:
                family.add_metric([str(worker.slot)], sample.value)
    return families.values()
