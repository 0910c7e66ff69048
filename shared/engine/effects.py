"""Calls the outside: per key in order, a bounded number at once, again and again with the same key until it is known.

What was done or refused comes back as a command of the context, which the loop decides like any other.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import stamina
import structlog
from anyio.abc import TaskGroup

from shared.context import Command, Effect, Event, UnknownOutcomeError
from shared.engine.decide.routing import Input, Routing
from shared.engine.failpoints import reach
from shared.ports.broker import Broker, BrokerError
from shared.ports.clock import Clock
from shared.ports.rows import EffectRow
from shared.wire.messages import NEVER

HELD_AT_MOST = 10_000
"""More than these wait in the database, and are fetched when there is room."""
BACKOFF_FIRST_S = 0.1
BACKOFF_LAST_S = 30.0

_log = structlog.get_logger("chorus.effects")


class EffectRunner:
    """One per process. `outcomes` are for the loop to decide; `attempts` for it to record."""

    def __init__(self, reactions: Routing, broker: Broker, clock: Clock, *, wake: Callable[[], None]) -> None:
        self.outcomes: list[Input] = []
        self.attempts: dict[str, tuple[int, str]] = {}
        self.overflowed = False
        """Some effects are only in the database; `last` is the journal number of the last one that is held here."""
        self.last = 0
        self._reactions = reactions
        self._broker = broker
        self._clock = clock
        self._wake = wake
        self._queues: dict[str, deque[EffectRow]] = {}
        self._held = 0
        self._ids: set[str] = set()
        self._places = {kind.__name__: asyncio.Semaphore(effect.at_once) for kind, effect in reactions.effects.items()}
        self._by_name: Mapping[str, Effect] = {kind.__name__: effect for kind, effect in reactions.effects.items()}
        self._tasks: TaskGroup | None = None

    @property
    def room(self) -> int:
        """How many more may be held."""
        return HELD_AT_MOST - self._held

    @property
    def backlog(self) -> int:
        """How many have no outcome yet."""
        return self._held

    def start(self, tasks: TaskGroup) -> None:
        """Run calls in this task group."""
        self._tasks = tasks

    def add(self, rows: Sequence[EffectRow]) -> None:
        """Run these after the earlier ones of their keys."""
        assert self._tasks is not None
        for row in rows:
            if self._held >= HELD_AT_MOST:
                self.overflowed = True
                return
            self.last = max(self.last, row.n)
            if row.event_id in self._ids:
                continue
            self._ids.add(row.event_id)
            self._held += 1
            queue = self._queues.get(row.key)
            if queue is None:
                self._queues[row.key] = deque((row,))
                self._tasks.start_soon(self._run_key, row.key)
            else:
                queue.append(row)

    def again_later(self, row: EffectRow) -> None:
        """Call once more in a while: the outcome came, but our code could not decide it."""
        assert self._tasks is not None

        async def wait_and_add() -> None:
            await self._clock.sleep(BACKOFF_LAST_S)
            self.add([row])

        self._tasks.start_soon(wait_and_add)

    def drop(self, partition: int) -> None:
        """Leave a partition's effects to the process that holds it now; calls under way end by themselves."""
        for queue in self._queues.values():
            for row in [row for row in queue if row.partition == partition]:
                queue.remove(row)
                self._let_go(row)

    def _let_go(self, row: EffectRow) -> None:
        self._held -= 1
        self._ids.discard(row.event_id)

    async def _run_key(self, key: str) -> None:
        queue = self._queues[key]
        while queue:
            row = queue[0]
            outcome = await self._run(row)
            if queue and queue[0] is row:
                queue.popleft()
                self._let_go(row)
            self.outcomes.append(outcome)
            self._wake()
        del self._queues[key]

    async def _run(self, row: EffectRow) -> Input:
        effect = self._by_name[row.type]
        event = self._reactions.event(row.type, row.body, row.key, NEVER)
        call = _Call(self._broker, self._clock, row, effect.timeout_s)
        try:
            command = await self._call(effect, event, call)
        except Exception:
            command = await self._call_until_known(effect, event, call)
        return self._reactions.outcome(row, command)

    async def _call_until_known(self, effect: Effect, event: Event, call: "_Call") -> Command:
        await self._clock.sleep(BACKOFF_FIRST_S)
        async for attempt in stamina.retry_context(
            on=Exception,
            attempts=None,
            timeout=None,
            wait_initial=BACKOFF_FIRST_S * 2,
            wait_max=BACKOFF_LAST_S,
            wait_jitter=BACKOFF_FIRST_S,
        ):
            with attempt:
                return await self._call(effect, event, call)
        raise AssertionError("there is no last attempt")

    async def _call(self, effect: Effect, event: Event, call: "_Call") -> Command:
        call.attempt += 1
        name = effect.asked_by.__name__
        try:
            async with self._places[name]:
                async with asyncio.timeout(effect.timeout_s):
                    reach("before-call")
                    outcome = await effect.call(event, call)
                    reach("after-call")
                    return outcome
        except Exception as error:
            self.attempts[call.idempotency_key] = (call.attempt, f"{type(error).__name__}: {error}"[:500])
            log = _log.debug if call.attempt & (call.attempt - 1) else _log.warning  # At 1, 2, 4, 8, …
            log("outcome unknown", effect=name, id=call.idempotency_key, attempt=call.attempt, error=repr(error))
            raise


class _Call:
    """What an effect may use while it calls."""

    def __init__(self, broker: Broker, clock: Clock, row: EffectRow, timeout_s: float) -> None:
        self.idempotency_key = row.event_id
        self.attempt = row.attempts
        self._broker = broker
        self._clock = clock
        self._timeout_s = timeout_s

    @property
    def now(self) -> datetime:
        """The time, aware and UTC; virtual in simulations."""
        return self._clock.now()

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        """A NATS request; raises UnknownOutcomeError when no answer came in time."""
        try:
            return await self._broker.request(subject, body, headers, self._timeout_s)
        except BrokerError as error:
            raise UnknownOutcomeError(str(error)) from error
