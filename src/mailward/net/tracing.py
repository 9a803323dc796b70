"""Spans for OpenTelemetry, where `[tracing] endpoint` says so. Where it does not, nothing of it is imported, and a span
is one comparison.

    with tracing.span("report.store", {"mailward.door": "smtp"}):
        ...

Attributes never hold tokens or content. Spans go to the collector as OTLP over HTTP, in batches, by a thread of the
library's; what a collector that is away does not take is dropped.
"""

import logging
from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

import mailward
from mailward.config import SettingsError
from mailward.config.observing import Tracing
from mailward.net import log

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

T = TypeVar("T")
Attribute = str | int | float | bool
_NOTHING: AbstractContextManager[None] = nullcontext()
_tracer: "Tracer | None" = None


def start(process: str, settings: Tracing) -> None:
    """For this process, from now on. Raises SettingsError where the library is missing."""
    global _tracer  # noqa: PLW0603 - one a process
    if not settings.endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise SettingsError(
            "settings: tracing.endpoint needs OpenTelemetry: pip install 'mailward[otel]'"
        ) from error
    # of a collector that is away: once a minute
    logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter").addFilter(log.Seldom())
    named = {"service.name": f"mailward-{process}", "service.version": mailward.__version__}
    provider = TracerProvider(
        resource=Resource.create(named), sampler=ParentBased(TraceIdRatioBased(settings.ratio))
    )
    exporter = OTLPSpanExporter(endpoint=f"{settings.endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("mailward", mailward.__version__)


def is_on() -> bool:
    return _tracer is not None


def span(name: str, attributes: Mapping[str, Attribute] | None = None) -> AbstractContextManager[object]:
    """Around one piece of work; what is begun inside it is its child. An exception that leaves it is noted."""
    if _tracer is None:
        return _NOTHING
    return _tracer.start_as_current_span(name, attributes=attributes)


def span_of(
    name: str, traceparent: str, attributes: Mapping[str, Attribute] | None = None
) -> AbstractContextManager[object]:
    """The same, below the caller's span, which the caller told (W3C Trace Context); empty: it is the first."""
    if _tracer is None:
        return _NOTHING
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": traceparent} if traceparent else {}
    context = TraceContextTextMapPropagator().extract(carrier, context=Context())
    return _tracer.start_as_current_span(name, context=context, attributes=attributes)


async def traced(name: str, work: Awaitable[T]) -> T:
    with span(name):
        return await work


def note(key: str, value: Attribute) -> None:
    """About the span that is under way."""
    if _tracer is not None:
        from opentelemetry.trace import get_current_span

        get_current_span().set_attribute(key, value)
