"""One process of a group: reads EVENTS, folds each batch in one transaction with the position, and answers queries.

The position in the group's database is the truth; the consumer follows it. The file lock of `only_one` lets one process
at a time run the group, and the compare-and-set of the position is the fence behind it.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import anyio
import structlog
from anyio.abc import TaskGroup

from shared.config.release import release
from shared.engine.failpoints import reach
from shared.engine.monitor.alarms import Alarms
from shared.engine.monitor.troubles import Troubles
from shared.engine.wakeup import Wakeup
from shared.groups.batch import Batches
from shared.groups.forwarding.forwarder import Forwarder
from shared.groups.publish.buckets import Buckets
from shared.groups.publish.outbox import Outbox
from shared.groups.questions.lag import GroupLagQuestion
from shared.groups.questions.queries import Queries
from shared.groups.quiet import Quiet
from shared.groups.read.progress import Progress
from shared.groups.read.reading import READING, Reading
from shared.groups.succession import Succession
from shared.ports.broker import Broker, BrokerError
from shared.ports.clock import Clock
from shared.ports.forwards import Sender
from shared.ports.store import DatabaseBusyError, FencedError
from shared.ports.views import ViewStore, ViewTransaction
from shared.readside.group import Group, place_of
from shared.wire.lag import group_lag_of

CATCH_UP_FROM: Final = 20_000
"""A group that is this many events behind reads all of EVENTS and skips what it does not hear (read/reading.py)."""
GATHER_S: Final = 0.1
"""How long events gather between two batches, unless a query waits: a batch shares a disk sync, and bucket writes."""
BATCH_AT_MOST: Final = 4_000
"""A batch shares one disk sync and one statement per table; beyond this size nothing is gained (measured)."""
IDLE_S: Final = 0.5
AWAITED_POLL_S: Final = 0.05
"""How often the group looks for further events while queries wait. The interval is the same for any number of them."""
ROUND_RETRY_S: Final = 0.25

T = TypeVar("T")

_log = structlog.get_logger("chorus.group")


class GroupProcess:
    """The group `group` of the read side `context`."""

    def __init__(
        self,
        context: str,
        group: Group,
        store: ViewStore,
        broker: Broker,
        clock: Clock,
        *,
        alarms: Alarms,
        priority_timeout_s: float,
        batch_at_most: int = BATCH_AT_MOST,
        catch_up_from: int = CATCH_UP_FROM,
        sender: Sender | None = None,
    ) -> None:
        self.name = place_of(context, group.name)
        self.group = group.name
        self._store = store
        self._broker = broker
        self._clock = clock
        self._batch_at_most = batch_at_most
        self._wakeup = Wakeup()
        self._stopped = Wakeup()
        self._hurry = Wakeup()
        self._came_round_at = clock.monotonic()
        self._troubles = Troubles(alarms, broker, self.name)
        self._outbox = Outbox(broker, clock, self._troubles)
        self._batches = Batches(context, group)
        self._succession = Succession(store, self._batches, broker, clock)
        self.reading = Reading(
            broker,
            clock,
            self.name,
            priority_timeout_s=priority_timeout_s,
            batch_at_most=batch_at_most,
            catch_up_from=catch_up_from,
            wake=self._wakeup.set,
            troubles=self._troubles,
        )
        heard = [*group.hears, *((context, says.type) for says in group.says)]
        self.progress = Progress(broker, {(source, event.__name__) for source, event in heard}, self._hasten)
        self._quiet = Quiet(broker, clock)
        self.buckets = Buckets(group, store, broker, clock, self._troubles, self.progress)
        self.forwarder = Forwarder(self.name, group.forwards, sender, clock, alarms, self._wakeup.set)
        lag = GroupLagQuestion(context, group.name, broker, clock, self.reading, self.progress, self.forwarder)
        answers = Queries(context, group, store, self.progress).endpoints
        self._endpoints = {**answers, f"api.{context}.{group_lag_of(group.name)}": lag.answer}

    @property
    def stalled_s(self) -> float:
        """Seconds since the loop last began a round, not counting waits for the database."""
        return self._clock.monotonic() - self._came_round_at

    @property
    def is_resting(self) -> bool:
        """Whether all events are folded, forwarded and in the buckets, and no window or second database is due."""
        if self._succession.is_due(self.progress.known):
            return False
        is_current = self.reading.is_live and self.progress.is_current and self._quiet.is_resting
        return is_current and self.buckets.is_resting and self._outbox.is_resting and self.forwarder.is_resting

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[TaskGroup]:
        """Run every task but the loop while the block runs; the end of the block closes the database."""
        try:
            self.progress.moved(await self._patiently(lambda transaction: transaction.known()))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.reading.keep_alive)
                tasks.start_soon(self.buckets.run)
                tasks.start_soon(self._outbox.run)
                self.forwarder.start(tasks)
                stop = await self._broker.serve(self.name, release(), f"Chorus: {self.name}", self._endpoints)
                _log.info("at work", known=self.progress.known.sequence)
                yield tasks
                await stop()
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._store.close()
                await self.forwarder.close()
        _log.info("stopped", folded=self.progress.folded)

    def stop(self) -> None:
        """Take no new messages; `run` returns after the current batch."""
        self._stopped.set()
        self._hasten()

    def _hasten(self) -> None:
        self._wakeup.set()
        self._hurry.set()

    async def run(self) -> None:
        """Fold until `stop`, then let another process have the consumer at once."""
        while not self._stopped.is_set:
            self._came_round_at = self._clock.monotonic()
            self._wakeup.clear()
            try:
                if self._succession.is_due(self.progress.known):
                    await self._take_successor()
                if not self.reading.has_begun:
                    await self._begin_reading()
                await self._fold_next()
                if self.progress.is_current and not self._outbox.is_open:
                    self._quiet.begin(await self._patiently(self._batches.closes_at))
                    self._outbox.open(await self._patiently(lambda transaction: transaction.unpublished()))
                self._troubles.succeeded(READING)
            except BrokerError as error:
                self._troubles.failed(READING, error)
                await self._clock.sleep(ROUND_RETRY_S)
            except DatabaseBusyError as error:
                self._troubles.busy(error)
                await self._clock.sleep(ROUND_RETRY_S)
            except FencedError as error:
                _log.warning("fenced: another process has advanced the position", reason=str(error))
                self.progress.moved(await self._patiently(lambda transaction: transaction.known()))
                await self.reading.stop(hand_over=False)
        with anyio.CancelScope(shield=True):
            await self.forwarder.settle(self._patiently, loads=False)
            try:
                await self.reading.stop(hand_over=True)
            except BrokerError as error:
                _log.debug("pin not handed over", reason=str(error))

    async def _begin_reading(self) -> None:
        """Begin to read after the position. Nothing is published before the stream was read to its end."""
        self._outbox.close()
        self.progress.begin(await self.reading.begin(self.progress.known, self._forget))

    async def _take_successor(self) -> None:
        """Go on with the second database. Reading begins again, so the outbox publishes only what EVENTS lacks."""
        if not await self._succession.take(self.progress.known):
            return
        self.progress.moved(await self._patiently(lambda transaction: transaction.known()))
        _log.info("the second read model is the live one", known=self.progress.known.sequence)
        await self.reading.stop(hand_over=False)
        self.buckets.wake()

    async def _forget(self) -> None:
        await self._patiently(lambda transaction: transaction.forget())

    async def _fold_next(self) -> None:
        await self.forwarder.settle(self._patiently)
        deliveries = self.reading.reader.take(self._batch_at_most) if self.forwarder.has_room else []
        if not deliveries:
            if self.progress.awaited or not self.progress.is_current:
                await self.progress.look_ahead()
            elif self._outbox.is_resting and self._quiet.is_due:
                await self._quiet.close(self.progress, self._batches, self._patiently)
            if not self._wakeup.is_set:
                await self._wakeup.wait(AWAITED_POLL_S if self.progress.awaited else IDLE_S)
            return
        reach("after-take")
        await self.reading.ask_for_more()  # The server sends the next batch while this one is folded.
        known = self.progress.known
        batch = await self._patiently(lambda transaction: self._batches.fold(transaction, deliveries, known))
        reach("after-commit")
        self.progress.folded += batch.folded
        self.progress.set_aside += batch.set_aside
        self._outbox.add(batch.new)
        self._quiet.closes_at = batch.closes_at
        pending = deliveries[-1].pending
        self.progress.moved(batch.known, pending=pending)
        self.buckets.wake()
        self.forwarder.expect_more()
        await self.forwarder.settle(self._patiently)
        if pending == 0:
            await self._gather()

    async def _gather(self) -> None:
        """Let events gather; at the end of a catch-up, change to the consumer that delivers only what it hears."""
        if not await self.reading.go_live() and not self.progress.awaited:
            self._hurry.clear()
            await self._hurry.wait(GATHER_S)

    async def _patiently(self, work: Callable[[ViewTransaction], T]) -> T:
        """Run a transaction, and wait for a database that is locked or has no space."""
        while True:
            try:
                result = await self._store.transact(work)
            except DatabaseBusyError as error:
                self._came_round_at = self._clock.monotonic()
                self._troubles.busy(error)
                await self._clock.sleep(ROUND_RETRY_S)
            else:
                self._troubles.committed()
                return result
