"""What is noted about one request on its way: its id, its phases, what it read; and who is told when it is answered."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

import msgspec

from asof.logs import REQUEST_ID
from asof.server.feature_counts import FeatureCounts
from asof.services.watch import WATCH, ReadWatch

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence

    from starlette.types import Scope

    from asof.server.metrics import Metrics
    from asof.server.serving_queue import ServingQueue
    from asof.server.spans import RequestSpans
    from asof.services.online import OnlineFeatures, ReadPlan

KEY = "asof.watch"
"""Where the request's watch is in its ASGI scope."""
REQUEST_ID_HEADER = b"x-request-id"
MODEL = b"x-asof-model"
MODEL_LENGTH = 128
_VALID_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


class RequestWatch(ReadWatch):
    """Notes of one request; instants are on the clock of `time.perf_counter`, 0 where that was never reached.

    Attributes:
        request_id: The client's, where it sent a usable one.
        model: Which model asks, as the client says.
        received: When the body was there.
        decoded: When it was understood.
        computed: When the answer was there.
        encoded: When its bytes were.
        plan: What was read.
        answer: What came of it.
        keys: Per join key one value per entity; and
        request: per request input.
        count: How many entities were asked for.
    """

    # Defaults are the class's, so that beginning sets little.
    received = decoded = computed = encoded = 0.0
    plan: ReadPlan | None = None
    answer: OnlineFeatures | None = None
    keys: Mapping[str, Sequence[Any]] = {}
    request: Mapping[str, Sequence[Any]] | None = None
    count = 0
    span: Any = None

    def __init__(self, request_id: str, model: str | None) -> None:
        """Begin."""
        self.reads = []
        self.request_id = request_id
        self.model = model

    def read(
        self,
        plan: ReadPlan,
        answer: OnlineFeatures,
        keys: Mapping[str, Sequence[Any]],
        request: Mapping[str, Sequence[Any]] | None,
        count: int,
    ) -> None:
        """Note what was read; it is computed now."""
        self.computed = time.perf_counter()
        self.plan, self.answer, self.keys, self.request, self.count = plan, answer, keys, request, count


class Observer:
    """Begins the notes of every request, and passes them on when it is answered: nothing of that delays the answer."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        access_log: logging.Logger | None = None,
        serving_log: ServingQueue | None = None,
        spans: RequestSpans | None = None,
    ) -> None:
        """Tell `metrics`, and whatever else is given."""
        self._prefix = secrets.token_hex(8)  # of the ids that this process makes
        self._number = itertools.count()
        self._metrics = metrics
        self._features = FeatureCounts(metrics)
        self._access_log = access_log
        self._serving_log = serving_log
        self._spans = spans

    def begin(self, scope: Scope) -> RequestWatch:
        """Return the notes of a request; they are in its scope and its context, too."""
        request_id = model = None
        headers = dict(scope["headers"])
        if (value := headers.get(REQUEST_ID_HEADER)) is not None and _VALID_ID.fullmatch(value):
            request_id = value.decode("ascii")
        if (value := headers.get(MODEL)) is not None:
            model = value.decode("utf-8", "replace")[:MODEL_LENGTH]
        watch = RequestWatch(request_id or f"{self._prefix}{next(self._number):016x}", model)
        scope[KEY] = watch
        WATCH.set(watch)
        REQUEST_ID.set(watch.request_id)
        if self._spans is not None:
            self._spans.begin(watch, scope)
        return watch

    def done(self, watch: RequestWatch, scope: Scope, route: str, status: int, started: float) -> None:
        """Pass on the notes of a request that is answered."""
        ended = time.perf_counter()
        metrics = self._metrics
        metrics.answered(route, status, ended - started)
        store_s = 0.0
        for since, until in watch.reads:
            store_s += until - since
            metrics.stored(until - since)
        plan, answer = watch.plan, watch.answer
        if plan is not None and answer is not None:
            service = "" if plan.service is None else plan.service.name
            encoded = watch.encoded or watch.computed
            metrics.read(
                service,
                watch.count,
                (
                    watch.decoded - watch.received,
                    store_s,
                    watch.computed - watch.decoded - store_s,
                    encoded - watch.computed,
                    encoded - watch.received,
                ),
            )
            self._features.look(service, answer, watch.count, ended)
            if self._serving_log is not None:
                self._serving_log.offer(watch, plan, answer)
        if self._spans is not None:
            self._spans.end(watch, scope["method"], route, status)
        if self._access_log is not None:
            self._access_log.info(_line(watch, scope, status, ended - started))
        # The server's own objects keep the scope until garbage is collected; the answer need not wait for that.
        watch.answer, watch.keys, watch.request = None, {}, None

    def close(self) -> None:
        """Write what waits to be written."""
        if self._serving_log is not None:
            self._serving_log.close()


def _line(watch: RequestWatch, scope: Scope, status: int, seconds: float) -> str:
    line: dict[str, Any] = {
        "time": time.time(),
        "level": "info",
        "logger": "asof.access",
        "request_id": watch.request_id,
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "seconds": round(seconds, 6),
        "client": scope["client"][0] if scope["client"] else None,
    }
    if watch.plan is not None:
        line |= {"service": watch.plan.service and watch.plan.service.key, "keys": watch.count, "model": watch.model}
    if watch.span is not None:
        line["trace_id"] = f"{watch.span.get_span_context().trace_id:032x}"
    return msgspec.json.encode(line).decode()
