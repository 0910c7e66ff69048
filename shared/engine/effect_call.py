"""One call to the outside: the tools that an effect has while it calls, and the attempts so far."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import anyio
import structlog

from shared.context import Effect, UnknownOutcomeError
from shared.engine.failpoints import reach
from shared.engine.retry import Backoff, Delays
from shared.engine.route.incoming import Incoming
from shared.engine.route.routing import Routing
from shared.ports.broker import Broker, BrokerError
from shared.ports.clock import Clock
from shared.ports.rows import EffectRow
from shared.wire.messages import CAUSATION_DEPTH, CORRELATION_ID
from shared.wire.trace_context import TRACEPARENT

UNKNOWN_OUTCOME_DELAYS: Final = Delays(first_s=0.1, last_s=30.0, extended_by_s=0.1)

_log = structlog.get_logger("chorus.effects")


class NoEffectError(Exception):
    """This release declares no effect for an event that an earlier release has published."""


class Attempts(NamedTuple):
    """The attempts at one call so far. `next_at` is None while an attempt is under way or waits for its turn."""

    made: int
    asks: str
    """The subject of the last NATS request; empty when there was none."""
    last_error: str
    next_at: datetime | None


class EffectCall:
    """The tools of an effect while it calls the outside; `effect` is None where this release does not know it."""

    def __init__(
        self,
        effect: Effect | None,
        row: EffectRow,
        routing: Routing,
        broker: Broker,
        clock: Clock,
        answered: Callable[[Effect | None, Mapping[str, str]], None],
    ) -> None:
        self.idempotency_key = row.event_id
        self.saga = row.headers[CORRELATION_ID]
        self.attempt = row.attempts
        self.began_at = clock.monotonic()
        self._effect = effect
        self._timeout_s = 0.0 if effect is None else effect.timeout_s
        self._row = row
        self._routing = routing
        self._broker = broker
        self._clock = clock
        self._answered = answered
        self._backoff = Backoff(UNKNOWN_OUTCOME_DELAYS)
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
            of_the_saga[TRACEPARENT] = self._routing.tracing.of_request(traceparent, self._row.event_id, self.attempt)
        try:
            answer = await self._broker.request(subject, body, {**of_the_saga, **headers}, self._timeout_s)
        except BrokerError as error:
            raise UnknownOutcomeError(str(error)) from error
        self._answered(self._effect, answer[0])
        return answer

    async def make(self) -> Incoming:
        """Make one attempt and return its outcome; raises the error, which is logged, when the outcome is unknown."""
        self.attempt += 1
        try:
            if self._effect is None:
                raise NoEffectError(f"this release has no effect for {self._row.type}; run one that does")
            event = self._routing.asking_event(self._row)
            with self._routing.tracing.attempt(self._row, self.attempt):
                with anyio.move_on_after(self._timeout_s):
                    reach("before-call")
                    outcome = await self._effect.call(event, self)
                    reach("after-call")
                    return self._routing.outcome(self._row, outcome)
                raise TimeoutError
        except Exception as error:
            self._last_error = described(error)
            log = _log.debug if self.attempt & (self.attempt - 1) else _log.warning  # Warns at 1, 2, 4, 8, …
            log(
                "outcome unknown",
                saga=self.saga,
                message=self.idempotency_key,
                effect=self._row.type,
                attempt=self.attempt,
                error=repr(error),
            )
            raise

    async def wait(self) -> None:
        """Wait before the next attempt; the last one failed."""
        delay_s = self._backoff.next_s()
        self._next_at = self._clock.now() + timedelta(seconds=delay_s)
        await self._clock.sleep(delay_s)
        self._next_at = None


def described(error: Exception) -> str:
    """The kind and the text of an error, cut to 500 characters."""
    return f"{type(error).__name__}: {error}"[:500]
