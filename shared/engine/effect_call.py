"""One call to the outside: the tools that an effect has while it calls, and the attempts so far."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.context import UnknownOutcomeError
from shared.engine.route.tracing import Tracing
from shared.ports.broker import Broker, BrokerError
from shared.ports.clock import Clock
from shared.ports.rows import EffectRow
from shared.wire.messages import CAUSATION_DEPTH, CORRELATION_ID
from shared.wire.trace_context import TRACEPARENT


class Attempts(NamedTuple):
    """The attempts at one call so far. `next_at` is None while an attempt is under way or waits for its turn."""

    made: int
    asks: str
    """The subject of the last NATS request; empty when there was none."""
    last_error: str
    next_at: datetime | None


class EffectCall:
    """The tools of an effect while it calls the outside."""

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        row: EffectRow,
        timeout_s: float,
        tracing: Tracing,
        answered: Callable[[Mapping[str, str]], None],
    ) -> None:
        self.idempotency_key = row.event_id
        self.saga = row.headers[CORRELATION_ID]
        self.attempt = row.attempts
        self._broker = broker
        self._clock = clock
        self._timeout_s = timeout_s
        self._row = row
        self._tracing = tracing
        self._answered = answered
        self._asks = ""
        self._last_error = ""
        self._next_at: datetime | None = None

    @property
    def now(self) -> datetime:
        """The time, aware and UTC; virtual in simulations."""
        return self._clock.now()

    @property
    def attempts(self) -> Attempts:
        """The attempts so far."""
        return Attempts(self.attempt, self._asks, self._last_error, self._next_at)

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        """Send a NATS request; raises UnknownOutcomeError when no answer comes in time."""
        self._asks = subject
        of_row = self._row.headers
        of_the_saga = {name: of_row[name] for name in (CORRELATION_ID, CAUSATION_DEPTH)}
        if traceparent := of_row.get(TRACEPARENT):
            of_the_saga[TRACEPARENT] = self._tracing.of_request(traceparent, self._row.event_id, self.attempt)
        try:
            answer = await self._broker.request(subject, body, {**of_the_saga, **headers}, self._timeout_s)
        except BrokerError as error:
            raise UnknownOutcomeError(str(error)) from error
        self._answered(answer[0])
        return answer

    async def wait_after(self, error: Exception, delay_s: float) -> None:
        """Wait before the next attempt; this one failed."""
        self._last_error = described(error)
        self._next_at = self._clock.now() + timedelta(seconds=delay_s)
        await self._clock.sleep(delay_s)
        self._next_at = None


def described(error: Exception) -> str:
    """The kind and the text of an error, cut to 500 characters."""
    return f"{type(error).__name__}: {error}"[:500]
