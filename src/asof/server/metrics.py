"""Counts and times requests for Prometheus, summed over the workers of a server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from asof.server.gauges import StatusCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_BUCKETS_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The process's metrics. With several workers, they share files in the directory that `DIRECTORY` names."""

    def __init__(self) -> None:
        """Start at zero."""
        self._registry = CollectorRegistry()
        requests = Counter(
            "asof_requests", "Requests answered, by route and status.", ["route", "status"], registry=self._registry
        )
        self._requests = requests
        self._errors = Counter("asof_errors", "Requests refused, by error code.", ["code"], registry=self._registry)
        self._seconds = Histogram(
            "asof_request_seconds",
            "Time from the request's last byte to the answer's.",
            ["route"],
            registry=self._registry,
            buckets=_BUCKETS_S,
        )
        self._keys = Counter("asof_keys", "Entities that online features were asked for.", registry=self._registry)
        self._pushed = Counter(
            "asof_pushed_rows",
            "Rows pushed, by source and outcome: taken, repeated or refused.",
            ["source", "outcome"],
            registry=self._registry,
        )
        self._revision = Gauge(
            "asof_registry_revision",
            "The registry revision being served.",
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        known = self._known.get((route, status))
        if known is None:
            known = self._known[route, status] = (
                self._requests.labels(route, str(status)),
                self._seconds.labels(route),
            )
        known[0].inc()
        known[1].observe(seconds)

    def refused(self, code: str) -> None:
        """Count one error."""
        self._errors.labels(code).inc()

    def read(self, keys: int) -> None:
        """Count the keys of one online read."""
        self._keys.inc(keys)

    def pushed(self, source: str, taken: int, repeated: int, refused: int) -> None:
        """Count the rows of one push, by what became of them."""
        for outcome, rows in (("taken", taken), ("repeated", repeated), ("refused", refused)):
            self._pushed.labels(source, outcome).inc(rows)

    def serving(self, revision: int) -> None:
        """Note the revision in use."""
        self._revision.set(revision)

    def text(self, status: StatusCollector | None = None) -> bytes:
        """Return everything in Prometheus's text format, all workers included, and the project's status."""
        gauges = b""
        if status is not None:
            shown = CollectorRegistry()
            shown.register(status)
            gauges = generate_latest(shown)
        if DIRECTORY not in os.environ:
            return generate_latest(self._registry) + gauges
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together) + gauges
