"""A broker that makes a span of every traced message that it publishes."""

from collections.abc import Sequence
from typing import Any

from shared.ports.broker import Broker, BrokerError, Outgoing, Published
from shared.ports.clock import Clock, since_1970_ns
from shared.ports.spans import Span, Spans
from shared.wire.messages import CAUSATION_ID, CORRELATION_ID, MSG_ID, SCHEDULE
from shared.wire.streams import STREAM_OF
from shared.wire.trace_context import TRACEPARENT, decision_span, parse_traceparent


class TracedBroker:
    """Hands every call on to the broker that it wraps."""

    def __init__(self, broker: Broker, spans: Spans, clock: Clock) -> None:
        self._broker = broker
        self._spans = spans
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def publish_each(self, messages: Sequence[Outgoing]) -> list[Published | BrokerError]:
        """Publish, with a span for each message that has a PubAck."""
        began_ns = self._now_ns()
        answers = await self._broker.publish_each(messages)
        self._published(
            [m for m, answer in zip(messages, answers, strict=True) if isinstance(answer, Published)], began_ns
        )
        return answers

    async def publish_batch(self, messages: Sequence[Outgoing]) -> int:
        """Publish, with a span for each message of the batch."""
        began_ns = self._now_ns()
        last = await self._broker.publish_batch(messages)
        self._published(messages, began_ns)
        return last

    def _published(self, messages: Sequence[Outgoing], began_ns: int) -> None:
        traced = [message for message in messages if TRACEPARENT in message.headers]
        if traced:
            ended_ns = self._now_ns()
            self._spans.add([span for message in traced for span in _publication(message, began_ns, ended_ns)])

    def _now_ns(self) -> int:
        return since_1970_ns(self._clock.now())


def _publication(message: Outgoing, began_ns: int, ended_ns: int) -> list[Span]:
    """The span of an event. A timer has none: when it is due, it comes of the event that armed it."""
    headers = message.headers
    given = parse_traceparent(headers[TRACEPARENT])
    if given is None or not given.is_sampled or SCHEDULE in headers:
        return []
    kind, context, message_type, _ = message.subject.split(".", 3)
    return [
        Span(
            given.trace_id,
            given.span_id,
            decision_span(context, headers[CAUSATION_ID]),
            f"publish {message_type}",
            "producer",
            began_ns,
            ended_ns,
            {
                "messaging.system": "nats",
                "messaging.operation.type": "send",
                "messaging.destination.name": STREAM_OF[kind],
                "messaging.message.id": headers[MSG_ID],
                "messaging.message.conversation_id": headers[CORRELATION_ID],
            },
        )
    ]
