"""The spans of requests: they continue the caller's trace, and have the store's reads and the phases below them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer
    from starlette.types import Scope

    from asof.server.observe import RequestWatch

_HEADERS = (b"traceparent", b"tracestate")
_propagator = TraceContextTextMapPropagator()


class RequestSpans:
    """Begins and ends the span of every request; the tracer's sampler decides which are recorded."""

    def __init__(self, tracer: Tracer) -> None:
        """Make spans with `tracer`."""
        self._tracer = tracer

    def begin(self, watch: RequestWatch, scope: Scope) -> None:
        """Begin a request's span, and make it the one that others are below."""
        carrier = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _HEADERS}
        parent = _propagator.extract(carrier) if carrier else context.Context()
        watch.span = self._tracer.start_span(scope["method"], parent, trace.SpanKind.SERVER)
        context.attach(trace.set_span_in_context(watch.span))  # the task of a request ends with it, and its context

    def end(self, watch: RequestWatch, method: str, route: str, status: int) -> None:
        """End the span of a request that was answered."""
        span = watch.span
        if span is None or not span.is_recording():
            return
        below = trace.set_span_in_context(span)
        offset_s = time.time() - time.perf_counter()

        def part(name: str, since_s: float, until_s: float) -> None:
            child = self._tracer.start_span(name, below, start_time=int((since_s + offset_s) * 1e9))
            child.end(int((until_s + offset_s) * 1e9))

        for since_s, until_s in watch.reads:
            part("asof.store.read", since_s, until_s)
        if watch.encoded:
            part("asof.decode", watch.received, watch.decoded)
            part("asof.read", watch.decoded, watch.computed)
            part("asof.encode", watch.computed, watch.encoded)
        span.update_name(f"{method} {route}")
        span.set_attribute("http.request.method", method)
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("asof.request_id", watch.request_id)
        if watch.plan is not None:
            span.set_attribute("asof.keys", watch.count)
            if watch.plan.service is not None:
                span.set_attribute("asof.service", watch.plan.service.key)
        if status >= 500:
            span.set_status(trace.StatusCode.ERROR)
        span.end()
