"""Spans for OpenTelemetry: none, and no cost, until somebody turns them on."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from asof.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

ENVIRONMENT = "ASOF_TRACES"
"""The share of traces to record, from 0 to 1, for this process and those that it starts."""
_OFF: AbstractContextManager[Any] = nullcontext()
_tracer: Tracer | None = None


def use(provider: TracerProvider | None) -> None:
    """Give spans to a tracer provider of OpenTelemetry from now on; None turns them off."""
    global _tracer  # noqa: PLW0603 - one switch for the process, read wherever work is done
    _tracer = None if provider is None else provider.get_tracer("asof")


def tracer() -> Tracer | None:
    """Return what makes spans, or None while they are off."""
    return _tracer


def span(name: str, **attributes: str | int | float) -> AbstractContextManager[Any]:
    """Return a block that is a span, within the one around it; attributes are named `asof.<name>`."""
    if _tracer is None:
        return _OFF
    named = {f"asof.{key}": value for key, value in attributes.items()}
    return _tracer.start_as_current_span(name, attributes=named)


def start_from_environment() -> None:
    """Export spans by OTLP over HTTP, if `ENVIRONMENT` names a share above 0; where to is in OpenTelemetry's variables.

    A trace that a caller began is recorded if the caller records it.

    Raises:
        ConfigError: the share is none, or OpenTelemetry is not installed.
    """
    text = os.environ.get(ENVIRONMENT, "")
    if not text or _tracer is not None:
        return
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f"The share of traces is {text!r}", fix="Give a number from 0 to 1, as --traces 0.01.")
    if share == 0:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider as Provider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise ConfigError(
            "Traces need OpenTelemetry", why=str(error), fix="Install it with:  pip install 'asof[otel]'"
        ) from error
    name = os.environ.get("OTEL_SERVICE_NAME", "asof")
    provider = Provider(sampler=ParentBased(TraceIdRatioBased(share)), resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    use(provider)
