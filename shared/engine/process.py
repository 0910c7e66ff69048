"""Assembles one process of a context from its parts: loop, relay, effects and partitions.

A worker runs one `ContextProcess`. A simulation runs many of them in one process, on a broker and a clock in memory.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio
import structlog
from anyio.abc import TaskGroup

from shared.config.release import release
from shared.context import Context
from shared.derived.topology import consumer_name, streams_of
from shared.engine.api import api_of
from shared.engine.effects import EffectRunner
from shared.engine.guarded import guarded
from shared.engine.intake.partition import Partition
from shared.engine.known_answers import KnownAnswers
from shared.engine.loop import BUSY_RETRY_S, Loop
from shared.engine.monitor.alarms import Alarms
from shared.engine.monitor.troubles import Troubles
from shared.engine.ownership import PartitionOwnership
from shared.engine.publish.relay import Relay
from shared.engine.questions.endpoints import Questions
from shared.engine.recover.backfill import backfill_parked
from shared.engine.recover.catch_up import catch_up
from shared.engine.recover.provenance import Provenance
from shared.engine.recover.reconcile import Reconciler
from shared.engine.recover.snapshots import ensure_snapshots
from shared.engine.requests import Requests
from shared.engine.route.routing import Routing
from shared.engine.route.tracing import NOT_TRACING, Tracing
from shared.ports.broker import Broker, BrokerError, BrokerRefusedError
from shared.ports.clock import Clock
from shared.ports.store import DatabaseBusyError, Store

CATCHING_UP = "reading earlier events for new policies"
"""The name of this trouble in alarms."""

_log = structlog.get_logger("chorus.process")


class MisconfiguredError(Exception):
    """The process cannot run with this configuration; the text names the remedy."""


class ContextProcess:
    """One process of a context. `numbers` are the partitions that it may own, of `partitions` in all."""

    def __init__(
        self,
        context: Context,
        store: Store,
        broker: Broker,
        clock: Clock,
        *,
        numbers: Sequence[int],
        partitions: int,
        priority_timeout_s: float,
        batch_at_most: int,
        records_inputs: bool = False,
        tracing: Tracing = NOT_TRACING,
    ) -> None:
        self.context = context
        self.store = store
        self.partitions = partitions
        self._broker = broker
        self._clock = clock
        self._numbers = numbers
        self.alarms = Alarms(clock)
        self.troubles = Troubles(self.alarms, broker, context.name)
        routing = self._routing = Routing(
            context, partitions=partitions, records_inputs=records_inputs, tracing=tracing
        )
        linger_s = {aggregate.name: aggregate.linger_s for aggregate in context.aggregates if aggregate.linger_s}
        self.relay = Relay(broker, clock, linger_s=linger_s, troubles=self.troubles)
        self._answers = KnownAnswers(context, store, broker, self.alarms)
        self.effects = EffectRunner(routing, broker, clock, wake=self._wake, heard=self._answers.heard)
        self.requests = Requests(routing, store, clock, wake=self._wake)
        self.ownership = PartitionOwnership(
            [
                Partition(
                    number,
                    partitions,
                    context.name,
                    streams_of(context),
                    broker,
                    clock,
                    priority_timeout_s=priority_timeout_s,
                    wake=self._wake,
                    troubles=self.troubles,
                )
                for number in numbers
            ],
            store,
            self.relay,
            self.effects,
            Reconciler(store, broker, Provenance(routing)),
            clock,
            partitions_in_all=partitions,
            wake=self._wake,
            troubles=self.troubles,
        )
        self.troubles.stream_is_missing = self.ownership.compare_again
        self.loop = Loop(
            routing,
            store,
            broker,
            clock,
            self.ownership,
            self.relay,
            self.effects,
            self.requests,
            troubles=self.troubles,
            batch_at_most=batch_at_most,
        )
        self.questions = Questions(
            context,
            store,
            broker,
            clock,
            self.ownership,
            self.relay,
            self.effects,
            self.loop,
            self.alarms,
            partitions=partitions,
        )

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[TaskGroup]:
        """Run every task but the loop while the block runs; the block calls `loop.run()`.

        The end of the block cancels the tasks and closes the database. Call `drain` first to leave nothing half done.
        """
        try:
            with self.loop.stall.paused():
                await self._be_ready_to_decide()
            async with anyio.create_task_group() as tasks:
                self.effects.start(tasks)
                self._answers.start(tasks)
                tasks.start_soon(self.relay.run)
                tasks.start_soon(self.ownership.keep_alive)
                name = self.context.name
                self._stop_answering = await self._broker.serve(
                    name,
                    release(),
                    f"Chorus: {name}",
                    guarded(
                        {
                            **api_of(self.context, self._broker),
                            **self.requests.endpoints,
                            **self.questions.endpoints,
                        }
                    ),
                    broadcast=guarded(self.questions.broadcast),
                )
                _log.info("at work", partitions=list(self._numbers))
                yield tasks
                tasks.cancel_scope.cancel()
        finally:
            self.requests.close()
            with anyio.CancelScope(shield=True):
                await self.store.close()
                if self.context.close is not None:
                    await self.context.close()
        _log.info("stopped", decided=self.loop.counters.decided, batches=self.loop.counters.batches)

    async def drain(self, timeout_s: float) -> None:
        """After `loop.run()`: publish what was committed and hand the partitions over, within this time."""
        _log.info("draining", unpublished=self.relay.backlog, effects=self.effects.backlog)
        self.requests.close()
        with anyio.move_on_after(timeout_s):
            await self._stop_answering()
            await self.loop.finish()

    async def _be_ready_to_decide(self) -> None:
        """Fold missing snapshots, backfill parking events, and hear the events that new policies missed."""
        while True:
            try:
                if self._routing.records_inputs:
                    await self._make_room_for_inputs()
                folded = await ensure_snapshots(self.store, self.context)
                backfilled = await self._count_and_backfill_parked()
                heard = await catch_up(self.store, self._broker, self._clock, self._routing)
                self.troubles.committed()
                self.troubles.succeeded(CATCHING_UP)
                break
            except DatabaseBusyError as error:
                self.troubles.busy(error)
            except BrokerError as error:
                self.troubles.failed(CATCHING_UP, error)
            await self._clock.sleep(BUSY_RETRY_S)
        if folded:
            _log.warning("snapshots folded again from the journal", aggregates=folded)
        if backfilled:
            _log.warning("publishing the parking events that an older release did not publish", messages=backfilled)
        if heard:
            _log.warning("decided earlier events for new policies", events=heard)

    async def _make_room_for_inputs(self) -> None:
        """Look first: a process that starts while another one has the write lock must not wait for it."""
        if not await self.store.read(lambda transaction: transaction.keeps_inputs()):
            await self.store.transact(lambda transaction: transaction.keep_inputs())

    async def _count_and_backfill_parked(self) -> int:
        """Count the parked messages, and append the parking events that are missing; returns how many were."""
        self.loop.counters.parked = await self.store.read(lambda transaction: sum(transaction.parked.counts().values()))
        if not self.loop.counters.parked:
            return 0
        return await self.store.transact(partial(backfill_parked, routing=self._routing, now=self._clock.now()))

    def _wake(self) -> None:
        self.loop.wake()


async def check_streams(context: Context, broker: Broker, partitions: int, numbers: Sequence[int]) -> None:
    """Raise MisconfiguredError when `streams apply` is needed before the context can read its streams."""
    for number in numbers:
        if not 0 <= number < partitions:
            raise MisconfiguredError(
                f"partition {number} does not exist: streams.yaml declares {partitions}, numbered from 0"
            )
    for stream in streams_of(context):
        try:
            info = await broker.stream_info(stream)
            for number in numbers:
                await broker.consumer_info(stream, consumer_name(context.name, number))
        except BrokerRefusedError as error:
            raise MisconfiguredError(f"{error.subject or stream}: {error.text}; run chorus streams apply") from error
        found = info.metadata.get("chorus.partitions")
        if found != str(partitions):
            raise MisconfiguredError(
                f"{stream} has {found or 'no'} partitions but streams.yaml declares {partitions};"
                " run chorus streams plan"
            )
