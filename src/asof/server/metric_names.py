"""The metrics that a server counts itself: their names, kinds, labels and buckets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PHASES = ("decode", "store", "kernel", "encode", "total")
_SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SHORT = (0.00001, 0.000025, 0.00005, 0.0001, *_SECONDS)
_KEYS = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0)


@dataclass(frozen=True)
class Described:
    """One metric.

    Attributes:
        by_worker: Whether every worker has its own value, under a label `worker`; else they are added up.
        bounds: Upper bounds of a histogram's buckets, inclusive; one more bucket has the rest.
    """

    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: tuple[str, ...] = ()
    by_worker: bool = False
    bounds: tuple[float, ...] = ()

    @property
    def cells(self) -> int:
        """How many numbers one combination of label values takes: of a histogram its buckets and the sum."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1


METRICS = {
    "asof_http_requests": Described("counter", "Requests answered, by route and status.", ("route", "status")),
    "asof_errors": Described("counter", "Requests refused, by error code.", ("code",)),
    "asof_http_request_duration_seconds": Described(
        "histogram", "Time from the request's head to the answer's last byte.", ("route",), bounds=_SECONDS
    ),
    "asof_online_phase_seconds": Described(
        "histogram",
        "Time of online reads by service and phase: decode the request, read the store, compute, encode; total.",
        ("service", "phase"),
        bounds=_SHORT,
    ),
    "asof_online_request_keys": Described(
        "histogram", "Entities that one online read asks for.", ("service",), bounds=_KEYS
    ),
    "asof_store_read_seconds": Described("histogram", "Time of one read of the online store.", bounds=_SHORT),
    "asof_feature_values": Described(
        "counter",
        "Values served, by status, of answers that were looked at: all while there are few, a random sample of many.",
        ("service", "feature", "status"),
    ),
    "asof_feature_defaulted": Described(
        "counter", "Values of the same answers that a default stood in for.", ("service", "feature")
    ),
    "asof_pushed_rows": Described(
        "counter", "Rows pushed, by source and outcome: taken, repeated or refused.", ("source", "outcome")
    ),
    "asof_serving_log_rows": Described(
        "counter", "Rows for the serving log, by outcome: written, dropped or failed.", ("outcome",)
    ),
    "asof_registry_revision": Described("gauge", "The registry revision being served.", by_worker=True),
}
"""By name, of counters without the `_total` at their end."""
