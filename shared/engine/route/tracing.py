"""Traces a saga from hop to hop: which trace a message carries on, and the spans of decisions and calls.

A message is traced while it carries a sampled `traceparent`. A command or request of a client that carries none may
begin a trace. An event, or a request of another context, never does: whether it is traced was decided at its first
cause.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Final, Protocol

from shared.engine.route.incoming import Incoming
from shared.ports.clock import Clock, since_1970_ns
from shared.ports.rows import EffectRow, NumberedRow
from shared.ports.spans import Span, Spans
from shared.wire.messages import CAUSATION_ID, TIMER_ID
from shared.wire.trace_context import (
    TRACEPARENT,
    TraceContext,
    attempt_span,
    decision_span,
    parse_traceparent,
    publication_span,
)

_UNTRACED: Final = nullcontext()


class Tracing(Protocol):
    """The traces of one process of a context."""

    def begin(self, message_id: str, /) -> str:
        """The `traceparent` of a command or request that carries none; empty when it is not traced."""
        ...

    def of_row(self, traceparent: str, event_id: str, /) -> str:
        """The `traceparent` of a row whose cause carries this one; empty when that is malformed."""
        ...

    def of_request(self, traceparent: str, event_id: str, attempt: int, /) -> str:
        """The `traceparent` of a request to the outside; the event that asked for it carries this one."""
        ...

    def decided(self, messages: Sequence[Incoming], rows: Sequence[NumberedRow], began: datetime, /) -> None:
        """A batch was committed: these messages led to these rows."""
        ...

    def attempt(self, row: EffectRow, attempt: int, /) -> AbstractContextManager[None]:
        """The block makes one attempt at a call."""
        ...


class NoTracing:
    """Begins no trace and makes no span; only hands on the traces that clients and other processes have begun."""

    def begin(self, _message_id: str, /) -> str:
        """Empty: the message is not traced."""
        return ""

    def of_row(self, traceparent: str, _event_id: str, /) -> str:
        """The same, if it is well-formed."""
        return traceparent if parse_traceparent(traceparent) else ""

    def of_request(self, traceparent: str, _event_id: str, _attempt: int, /) -> str:
        """Unchanged: the request carries the trace of its event."""
        return traceparent

    def decided(self, _messages: Sequence[Incoming], _rows: Sequence[NumberedRow], _began: datetime, /) -> None:
        """Do nothing."""

    def attempt(self, _row: EffectRow, _attempt: int, /) -> AbstractContextManager[None]:
        """Do nothing around the block."""
        return _UNTRACED


class SpanTracing:
    """Makes spans for one process of a context, and begins at most `traces_per_s` traces a second."""

    def __init__(self, context: str, spans: Spans, clock: Clock, *, traces_per_s: int) -> None:
        self._context = context
        self._spans = spans
        self._clock = clock
        self._traces_per_s = traces_per_s
        self._left = max(1.0, traces_per_s)
        self._filled_at = clock.monotonic()

    def begin(self, message_id: str, /) -> str:
        """The `traceparent` of a new trace, or nothing when too many have begun."""
        now = self._clock.monotonic()
        self._left = min(max(1.0, self._traces_per_s), self._left + (now - self._filled_at) * self._traces_per_s)
        self._filled_at = now
        if self._left < 1.0:
            return ""
        self._left -= 1.0
        return str(TraceContext(secrets.token_hex(16), decision_span(self._context, message_id)))

    def of_row(self, traceparent: str, event_id: str, /) -> str:
        """The row carries the span that publishes it."""
        given = parse_traceparent(traceparent)
        if given is None:
            return ""
        return str(given.at(publication_span(event_id))) if given.is_sampled else traceparent

    def of_request(self, traceparent: str, event_id: str, attempt: int, /) -> str:
        """The request carries the span of the attempt."""
        given = parse_traceparent(traceparent)
        return str(given.at(attempt_span(event_id, attempt))) if given is not None and given.is_sampled else traceparent

    def decided(self, messages: Sequence[Incoming], rows: Sequence[NumberedRow], began: datetime, /) -> None:
        """A span for each message that led to an event. A duplicate has none, because it leads to nothing."""
        traced = {message.message_id: message for message in messages if message.traceparent}
        if not traced:
            return
        events: dict[str, list[str]] = {}
        for _, row in rows:
            cause = row.headers[CAUSATION_ID]
            if cause in traced and TIMER_ID not in row.headers:
                events.setdefault(cause, []).append(row.type)
        ended = self._clock.now()
        self._spans.add(
            [
                self._decision(message, given, came, began, ended)
                for cause, came in events.items()
                for message in (traced[cause],)
                if (given := parse_traceparent(message.traceparent)) is not None and given.is_sampled
            ]
        )

    @contextmanager
    def attempt(self, row: EffectRow, attempt: int, /) -> Iterator[None]:
        """A span for the block, with the error that it raises."""
        given = parse_traceparent(row.headers.get(TRACEPARENT, ""))
        if given is None or not given.is_sampled:
            yield
            return
        began, error = self._clock.now(), ""
        try:
            yield
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"[:500]
            raise
        finally:
            self._spans.add(
                [
                    Span(
                        given.trace_id,
                        attempt_span(row.event_id, attempt),
                        given.span_id,
                        f"call {row.type}",
                        "client",
                        since_1970_ns(began),
                        since_1970_ns(self._clock.now()),
                        {"messaging.message.id": row.event_id, "chorus.key": row.key, "chorus.attempt": attempt},
                        error,
                    )
                ]
            )

    def _decision(
        self, message: Incoming, given: TraceContext, events: Sequence[str], began: datetime, ended: datetime
    ) -> Span:
        own = decision_span(self._context, message.message_id)
        return Span(
            given.trace_id,
            own,
            "" if given.span_id == own else given.span_id,
            f"decide {message.type}",
            "consumer",
            since_1970_ns(began),
            since_1970_ns(ended),
            {
                "messaging.system": "nats",
                "messaging.operation.type": "process",
                "messaging.destination.name": message.stream,
                "messaging.message.id": message.message_id,
                "messaging.message.conversation_id": message.correlation_id,
                "chorus.events": " ".join(events),
            },
        )


NOT_TRACING: Final = NoTracing()
