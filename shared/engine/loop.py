"""The worker's one loop: take messages, decide and commit them in one transaction, publish, acknowledge.

Messages that arrive while a transaction runs become the next batch. The relay publishes one batch while the loop
commits the next.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import structlog

from shared.engine.decide.commit import Batch, Committed, Progress, commit, moves_of, record
from shared.engine.effects import EffectRunner
from shared.engine.failpoints import reach
from shared.engine.intake.partition import BEGINNING
from shared.engine.monitor.counters import Counters
from shared.engine.monitor.stall import Stall
from shared.engine.monitor.troubles import Troubles
from shared.engine.ownership import PartitionOwnership
from shared.engine.publish.relay import Relay
from shared.engine.requests import Requests
from shared.engine.route.incoming import Asker, Incoming, replies_to
from shared.engine.route.routing import Routing
from shared.engine.verdicts import Verdicts
from shared.engine.wakeup import Wakeup
from shared.ports.broker import Broker, BrokerError, BrokerUnavailableError
from shared.ports.clock import Clock
from shared.ports.rows import EffectRow, Position
from shared.ports.store import DatabaseBusyError, FencedError, Store
from shared.wire.messages import CORRELATION_ID

RECORD_AFTER_S = 0.2
"""PubAcks that no batch's commit records wait this long; those of rows that were refused before, IDLE_S."""
OTHERS_ROWS_POLL_S = 0.05
"""How often a process looks for rows that other processes of its context wrote for its partitions."""
IDLE_S = 1.0
BUSY_RETRY_S = 0.1
BROKER_RETRY_S = 0.25
DRAIN_POLL_S = 0.005

_log = structlog.get_logger("chorus.loop")


class Loop:
    """Decides the messages of the partitions that this process owns, and counts them for the metrics."""

    def __init__(
        self,
        routing: Routing,
        store: Store,
        broker: Broker,
        clock: Clock,
        ownership: PartitionOwnership,
        relay: Relay,
        effects: EffectRunner,
        requests: Requests,
        *,
        troubles: Troubles,
        batch_at_most: int,
    ) -> None:
        self.counters = Counters()
        self.stall = Stall(clock, store)
        self._routing = routing
        self._store = store
        self._broker = broker
        self._clock = clock
        self._ownership = ownership
        self._partitions = ownership.partitions
        self._relay = relay
        self._effects = effects
        self._requests = requests
        self._was_quiet = False
        self._troubles = troubles
        self._batch_at_most = batch_at_most
        self._verdicts = Verdicts(store, relay.blocked, clock)
        self._turn = 0
        self._wakeup = Wakeup()
        self._gather_s = routing.context.gather_s
        self._stopped = Wakeup()
        self._is_idle = False

    @property
    def is_resting(self) -> bool:
        """Whether the loop waits for work, and nothing has woken it."""
        return self._is_idle and not self._wakeup.is_set

    def wake(self) -> None:
        """Tell the loop that there is something to do."""
        self._wakeup.set()

    def stop(self) -> None:
        """Take no new messages; `run` returns after the current batch."""
        self._stopped.set()
        self.wake()

    async def run(self) -> None:
        """Decide until `stop`."""
        while not self._stopped.is_set:
            self.stall.end()
            self._wakeup.clear()
            try:
                if self._ownership.wants_rebalance:
                    with self.stall.paused():
                        await self._ownership.rebalance()
            except BrokerError:  # Its partition has raised an alarm.
                await self._clock.sleep(BROKER_RETRY_S)
            except DatabaseBusyError as error:
                await self._wait_for_database(error)
                continue
            if messages := await self._next_batch():
                await self._decide(messages)
                if self._gather_s:
                    await self._stopped.wait(self._gather_s)
            elif not self._wakeup.is_set:
                await self._idle()

    async def finish(self) -> None:
        """After `run`: publish what was committed, record the PubAcks, and hand the partitions over."""
        while self._relay.is_publishing:
            await self._clock.sleep(DRAIN_POLL_S)
        await self._record_progress()
        await self._ownership.release(self._partitions)

    async def _next_batch(self) -> list[Incoming]:
        """The next batch: outcomes of effects, requests, parked messages to retry, then deliveries in stream order."""
        messages = self._effects.drain_outcomes(self._ownership.owned)
        if self._relay.is_full:  # Backpressure.
            if self._relay.blocked.is_full:  # Only an operator can make room, which may take hours.
                self._requests.answer_unavailable((), "too many rows of this context are refused")
            await self._carry_out_verdicts(limit=0)  # A verdict on a refused row may make room.
            return messages
        messages += self._requests.take(self._batch_at_most - len(messages) if self._ownership.may_answer else 0)
        messages += await self._carry_out_verdicts(limit=self._batch_at_most)
        self._turn += 1  # So that no partition always comes first.
        numbers = sorted(self._partitions, key=lambda number: (number + self._turn) % len(self._partitions))
        for partition in (self._partitions[number] for number in numbers if self._partitions[number].is_owned):
            for stream in partition.delivered:
                for delivery in await partition.take(stream, self._batch_at_most - len(messages)):
                    messages.append(self._routing.delivered(stream, partition.number, delivery))
        if messages:
            reach("after-take")
        return messages

    async def _carry_out_verdicts(self, *, limit: int) -> list[Incoming]:
        """Retry refused rows; return parked messages to retry or skip, which come before newer ones of their keys."""
        try:
            waiting = await self._verdicts.carry_out(self._ownership.owned, limit=limit)
        except DatabaseBusyError as error:
            await self._wait_for_database(error)
            return []
        return [self._routing.parked(message) for message in waiting]

    async def _decide(self, messages: Sequence[Incoming]) -> None:
        """Commit a batch, then publish and acknowledge it. Uncommitted messages are delivered again."""
        progress, ownership = self._drain_progress(), self._ownership
        moves = moves_of(messages, lambda stream, number: self._partitions[number].positions.get(stream, BEGINNING))
        batch = Batch(messages, moves, progress, ownership.owned, ownership.last_number, self._clock.now())
        while True:
            began = self._clock.monotonic()
            try:
                committed = await self._store.transact(partial(commit, routing=self._routing, batch=batch))
                break
            except DatabaseBusyError as error:
                await self._wait_for_database(error)
                messages = self._requests.answer_unavailable(messages, str(error))
                batch = batch._replace(messages=messages)
                if self._stopped.is_set or not messages:
                    self._restore_progress(progress)
                    return
            except FencedError as error:
                await self._yield_to_new_owner(messages, progress, error)
                return
        self.counters.commit_times.add(self._clock.monotonic() - began)
        self._troubles.committed()
        reach("after-commit")
        for stream, number, _, seq, message_id in moves:
            self._partitions[number].positions[stream] = Position(seq, message_id)
        self._routing.tracing.decided(messages, committed.rows, batch.now)
        self._publish(committed)
        self._requests.answer(committed.answers)
        await self._acknowledge(messages)
        self.counters.count(messages, self._clock.now(), committed.duplicates, committed.parked, committed.strangers)

    async def _yield_to_new_owner(self, messages: Sequence[Incoming], progress: Progress, error: FencedError) -> None:
        """Another process has decided these messages: drop the batch and release its partitions."""
        self.counters.fenced += 1
        _log.warning("fenced: another process has decided these messages", messages=len(messages), reason=str(error))
        self._restore_progress(progress)
        self._effects.restore_outcomes(m for m in messages if isinstance(m.source, EffectRow))
        self._requests.restore(messages)
        await self._ownership.release({m.partition for m in messages if not isinstance(m.source, EffectRow | Asker)})

    def _publish(self, committed: Committed) -> None:
        """Hand new rows to the relay and new effects to the runner, without waiting for either."""
        self._ownership.last_number = committed.last_number
        self._relay.add(committed.rows)
        self._effects.add(committed.effects)
        for effect, reason in committed.undecided:
            saga, message = effect.headers[CORRELATION_ID], effect.event_id
            _log.error("outcome cannot be decided", saga=saga, message=message, effect=effect.type, reason=reason)
            self._effects.repeat_later(effect)

    async def _acknowledge(self, messages: Sequence[Incoming]) -> None:
        """Acknowledge commands and timers. A lost ack only means another delivery, which dedup absorbs."""
        if replies := replies_to(messages):
            with suppress(BrokerUnavailableError):
                await self._broker.acknowledge(replies)

    async def _idle(self) -> None:
        """Wait for work. Meanwhile record PubAcks, and look for rows that other processes wrote for us."""
        is_shared = self._ownership.is_shared
        # A process that lost its partitions a moment ago, or that never owned one, may have written rows for ours too.
        if is_shared or self._was_quiet:
            try:
                await self._ownership.load_rows_of_others()
            except DatabaseBusyError as error:
                await self._wait_for_database(error)
        has_news_soon = self._relay.has_news or self._relay.is_publishing
        wait_s = OTHERS_ROWS_POLL_S if is_shared else RECORD_AFTER_S if has_news_soon else IDLE_S
        self._is_idle = True
        is_woken = await self._wakeup.wait(wait_s)
        self._is_idle, self._was_quiet = False, not is_woken
        if not is_woken and (self._relay.has_news or self._effects.has_attempts or self._troubles.database_busy):
            await self._record_progress()

    async def _record_progress(self) -> None:
        progress = self._drain_progress()
        try:
            await self._store.transact(partial(record, progress=progress))
            self._troubles.committed()
        except DatabaseBusyError as error:
            self._restore_progress(progress)
            await self._wait_for_database(error)

    async def _wait_for_database(self, error: DatabaseBusyError) -> None:
        self._troubles.busy(error)
        self._requests.answer_unavailable((), str(error))
        self.stall.end()
        await self._clock.sleep(BUSY_RETRY_S)

    def _drain_progress(self) -> Progress:
        return Progress(
            self._relay.drain_acknowledged(), self._effects.drain_attempts(), self._relay.blocked.drain_refusals()
        )

    def _restore_progress(self, progress: Progress) -> None:
        self._relay.restore_acknowledged(progress.acknowledged)
        self._relay.blocked.restore_refusals(progress.refused)
        self._effects.restore_attempts(progress.attempts)
