"""Lets a worker send traces, when CHORUS_TRACES_PER_S says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from shared.engine.process import MisconfiguredError
from shared.engine.route.tracing import NOT_TRACING, SpanTracing, Tracing
from shared.ports.broker import Broker
from shared.ports.clock import Clock


@contextmanager
def traced(context: str, broker: Broker, clock: Clock, *, traces_per_s: int) -> Iterator[tuple[Broker, Tracing]]:
    """The broker and the tracing for a process of a context; the end of the block sends the last spans.

    Raises:
        MisconfiguredError: there is no OpenTelemetry here.
    """
    if not traces_per_s:
        yield broker, NOT_TRACING
        return
    try:
        from shared.adapters.tracing.otlp import OtlpSpans
    except ImportError as error:
        remedy = "install it with pip install 'chorus[otel]', or set CHORUS_TRACES_PER_S to 0"
        raise MisconfiguredError(f"traces need OpenTelemetry ({error}): {remedy}") from error
    from shared.adapters.tracing.broker import TracedBroker

    spans = OtlpSpans(context)
    try:
        tracing = SpanTracing(context, spans, clock, traces_per_s=traces_per_s)
        yield cast(Broker, TracedBroker(broker, spans, clock)), tracing
    finally:
        spans.close()
