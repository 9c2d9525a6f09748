"""What a stream worker has done, for Prometheus: served by the worker itself, on this machine only."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from asof.errors import ConfigError
from asof.services.latency import BOUNDS_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from asof.services.latency import Latency
    from asof.services.stream import StreamProgress

HOST = "127.0.0.1"


class StreamMetrics:
    """A collector for `prometheus_client` over the newest progress of every source."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[str, StreamProgress] = {}

    def note(self, progress: StreamProgress) -> None:
        """Keep what a worker tells."""
        self._known[progress.source] = progress

    def collect(self) -> Iterator[Metric]:
        """Give one metric after the other."""
        known = list(self._known.values())
        rows = CounterMetricFamily(
            "asof_stream_rows", "Messages read, by what became of them.", labels=["source", "outcome"]
        )
        batches = CounterMetricFamily("asof_stream_batches", "Batches taken in.", labels=["source"])
        lag = GaugeMetricFamily("asof_stream_lag_messages", "Messages that wait.", labels=["source", "partition"])
        lag_s = GaugeMetricFamily(
            "asof_stream_lag_seconds",
            "How long ago the newest message that was taken in had been sent, while others wait.",
            labels=["source"],
        )
        polled = GaugeMetricFamily(
            "asof_stream_polled_timestamp_seconds", "When messages were last asked for.", labels=["source"]
        )
        behind = GaugeMetricFamily("asof_stream_views_behind", "Views that cannot take rows in.", labels=["source"])
        problem = GaugeMetricFamily("asof_stream_problem", "Whether the worker cannot go on.", labels=["source"])
        event = HistogramMetricFamily(
            "asof_stream_event_to_servable_seconds",
            "From the event time of a row until reads showed it.",
            labels=["source"],
        )
        sent = HistogramMetricFamily(
            "asof_stream_sent_to_servable_seconds",
            "From the sending of a message until reads showed its row.",
            labels=["source"],
        )
        for one in known:
            for outcome, count in (("taken", one.taken), ("repeated", one.repeated), ("refused", one.refused)):
                rows.add_metric([one.source, outcome], count)
            batches.add_metric([one.source], one.batches)
            for partition, waiting in (one.lags or {}).items():
                lag.add_metric([one.source, partition], waiting)
            if one.lags is not None:
                lag_s.add_metric([one.source], one.lag_s)
            if one.polled_at_us is not None:
                polled.add_metric([one.source], one.polled_at_us / 1e6)
            behind.add_metric([one.source], len(one.behind))
            problem.add_metric([one.source], int(one.problem is not None))
            event.add_metric([one.source], _buckets(one.event_to_servable), one.event_to_servable.sum_s)
            sent.add_metric([one.source], _buckets(one.sent_to_servable), one.sent_to_servable.sum_s)
        yield from (rows, batches, lag, lag_s, polled, behind, problem, event, sent)


@contextmanager
def serving_metrics(port: int, host: str = HOST) -> Iterator[tuple[StreamMetrics, int]]:
    """Answer scrapes on a port of this machine within the block; give the metrics and the port.

    Args:
        port: 0 lets the system choose.
        host: The address to listen on.

    Raises:
        ConfigError: the port is taken.
    """
    metrics, registry = StreamMetrics(), CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigError(
            f"Metrics cannot be served on {host}:{port}",
            why=str(error),
            fix="Choose another --metrics-port, and with --metrics-host an address of this machine.",
        ) from error
    try:
        yield metrics, server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _buckets(latency: Latency) -> list[tuple[str, float]]:
    bounds = [*(str(bound) for bound in BOUNDS_S), "+Inf"]
    return [(bound, float(count)) for bound, count in zip(bounds, accumulate(latency.counts), strict=True)]
