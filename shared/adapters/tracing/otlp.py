"""Sends spans by OTLP over HTTP, in a thread of the OpenTelemetry SDK.

The SDK reads the standard variables: `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_HEADERS`, `…_CERTIFICATE`, `…_TIMEOUT`,
`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_…`. Its tracer is not used: it measures a block of code, while a hop of a saga is
known when its transaction has been committed. The SDK drops spans when its queue is full.
"""

import logging
import os
import threading
from collections.abc import Sequence
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from shared.ports.spans import Span

CLOSES_WITHIN_S: Final = 2.0

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_KINDS = {"client": SpanKind.CLIENT, "consumer": SpanKind.CONSUMER, "producer": SpanKind.PRODUCER}
_SCOPE = InstrumentationScope("chorus")

_log = structlog.get_logger("chorus.traces")


class OtlpSpans:
    """The spans of one process of a context, for the collector that the environment or `endpoint` names."""

    def __init__(self, context: str, *, endpoint: str | None = None) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # `_Exporter` says what is the matter.
        self._resource = Resource.create({"service.name": context, "service.instance.id": f"{context}-{os.getpid()}"})
        self._processor = BatchSpanProcessor(_Exporter(endpoint))

    def add(self, spans: Sequence[Span]) -> None:
        """Queue the spans for the SDK's thread."""
        for span in spans:
            self._processor.on_end(self._readable(span))

    def close(self) -> None:
        """Send what is queued, but do not wait longer than CLOSES_WITHIN_S for a collector that does not answer."""
        sending = threading.Thread(target=self._shut_down, daemon=True)
        sending.start()
        sending.join(CLOSES_WITHIN_S)

    def _shut_down(self) -> None:
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _readable(self, span: Span) -> ReadableSpan:
        trace_id = int(span.trace_id, 16)
        parent = SpanContext(trace_id, int(span.parent_id, 16), True, _SAMPLED) if span.parent_id else None
        return ReadableSpan(
            span.name,
            context=SpanContext(trace_id, int(span.span_id, 16), False, _SAMPLED),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
            start_time=span.began_ns,
            end_time=span.ended_ns,
            instrumentation_scope=_SCOPE,
        )


class _Exporter(SpanExporter):
    """Logs one line when the collector stops taking spans, and one when it takes them again."""

    def __init__(self, endpoint: str | None) -> None:
        self._exporter = OTLPSpanExporter(endpoint=endpoint)
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            remedy = "start the collector, or set OTEL_EXPORTER_OTLP_ENDPOINT; the worker goes on without traces"
            _log.warning("traces are lost: the collector does not take them", remedy=remedy)
        elif self._fails and not fails:
            _log.warning("the collector takes traces again")
        self._fails = fails
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
