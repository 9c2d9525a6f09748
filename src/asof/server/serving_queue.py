"""Takes a share of the answers for the serving log: a bounded queue, and a thread that writes it now and then."""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections import deque
from typing import TYPE_CHECKING

from asof.errors import AsofError, InputError
from asof.services.serving_rows import Served, served_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.clock import Clock
    from asof.server.metrics import Metrics
    from asof.server.observe import RequestWatch
    from asof.services.online import OnlineFeatures, ReadPlan
    from asof.services.serving_log import ServingLog

MOST_VALUES = 2_000_000
"""What may wait to be written, in values: keys times features, some tens of megabytes."""
FLUSH_S = 30.0
FLUSH_VALUES = 500_000
_SCALE = 2**32
_MIX = 0x9E3779B1
_log = logging.getLogger("asof.server")


class Rates:
    """Which share of the requests of a service is logged."""

    def __init__(self, general: float = 0.0, services: dict[str, float] | None = None) -> None:
        """Log a share of every service's requests, and another one of some services'."""
        self._general = general
        self._services = services or {}

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Rates | None:
        """Return rates from texts as "0.01" and "fraud=0.1"; None where there are none.

        Raises:
            InputError: a text is no share from 0 to 1.
        """
        general, services = 0.0, {}
        for text in texts:
            service, _, number = text.rpartition("=")
            try:
                rate = float(number)
            except ValueError:
                rate = -1.0
            if not 0 <= rate <= 1:
                raise InputError(
                    f"--serving-log is {text!r}", why="A share is from 0 to 1", fix="Write 0.01, or fraud=0.1."
                )
            if service:
                services[service] = rate
            else:
                general = rate
        return cls(general, services) if texts else None

    def chosen(self, service: str, request_id: str) -> bool:
        """Return whether a request is logged: its id alone decides, the same everywhere."""
        rate = self._services.get(service, self._general)
        if rate >= 1:
            return True
        if rate <= 0:
            return False
        # A checksum spreads ids that are random or count up; the multiplication spreads what of it is regular.
        return zlib.crc32(request_id.encode()) * _MIX % _SCALE < rate * _SCALE


class ServingQueue:
    """Keeps answers until its thread writes them. What does not fit is dropped and counted; no request ever waits."""

    def __init__(
        self,
        log: ServingLog,
        rates: Rates,
        metrics: Metrics,
        clock: Clock,
        *,
        flush_s: float = FLUSH_S,
        most_values: int = MOST_VALUES,
    ) -> None:
        """Write to `log`, by a thread that begins now."""
        self._log = log
        self._rates = rates
        self._metrics = metrics
        self._clock = clock
        self._flush_s = flush_s
        self._most_values = most_values
        self._waiting: deque[Served] = deque()
        self._offered = 0  # values; only requests write it, and
        self._taken = 0  # only the thread writes this
        self._wake = threading.Event()
        self._ends = False
        self._thread = threading.Thread(target=self._work, name="asof-serving-log", daemon=True)
        self._thread.start()

    def offer(self, watch: RequestWatch, plan: ReadPlan, answer: OnlineFeatures) -> None:
        """Take an answer, if its service's rate chooses it and there is room."""
        service = plan.service
        if service is None or not self._rates.chosen(service.name, watch.request_id):
            return
        values = watch.count * len(plan.columns)
        if self._offered - self._taken + values > self._most_values:
            self._metrics.count("asof_serving_log_rows", "dropped", by=watch.count)
            return
        self._waiting.append(
            Served(
                watch.request_id,
                watch.model,
                self._clock.now_us(),
                plan,
                answer,
                watch.keys,
                watch.request,
                watch.count,
            )
        )
        self._offered += values
        if self._offered - self._taken > FLUSH_VALUES:
            self._wake.set()

    def flush(self) -> None:
        """Write what waits now. Of a table that cannot be written the rows are lost, and counted as failed."""
        found: list[Served] = []
        while self._waiting:
            found.append(self._waiting.popleft())
        for service, table in served_tables(found, self._failed):
            try:
                self._log.add(service, table)
            except AsofError as error:
                self._failed(table.num_rows, error)
            else:
                self._metrics.count("asof_serving_log_rows", "written", by=table.num_rows)
        self._taken += sum(served.count * len(served.plan.columns) for served in found)

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._ends = True
        self._wake.set()
        self._thread.join()

    def _failed(self, rows: int, error: Exception) -> None:
        _log.error("%d rows could not be added to the serving log: %s", rows, error)
        self._metrics.count("asof_serving_log_rows", "failed", by=rows)

    def _work(self) -> None:
        due = time.monotonic() + self._flush_s
        while not self._ends:
            self._wake.wait(max(due - time.monotonic(), 0.0))
            self._wake.clear()
            try:
                self.flush()
            except Exception:  # noqa: BLE001 - a defect here must not end the writing for good
                _log.exception("the serving log could not be written")
            due = time.monotonic() + self._flush_s
        self.flush()
