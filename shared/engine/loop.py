"""The worker's one loop: take, decode, react, then in one transaction load, decide, commit; then publish, acknowledge.

Whatever arrives while a transaction runs is the next batch. The publishing of one batch overlaps with the next commit.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import structlog

from shared.engine.decide.commit import Batch, Committed, Progress, commit, record
from shared.engine.decide.routing import Input, Routing
from shared.engine.effects import EffectRunner
from shared.engine.failpoints import reach
from shared.engine.intake.partition import NOWHERE
from shared.engine.monitor.stall import Stall
from shared.engine.monitor.troubles import Troubles
from shared.engine.ownership import PartitionOwnership
from shared.engine.publish.relay import Relay
from shared.engine.verdicts import Verdicts
from shared.engine.wakeup import Wakeup
from shared.ports.broker import Broker, BrokerError, BrokerUnavailableError
from shared.ports.clock import Clock
from shared.ports.rows import Move, Position
from shared.ports.store import DatabaseBusyError, FencedError, Store
from shared.wire import streams

MARKS_WAIT_S = 0.2
"""Without new messages, PubAcks are recorded this long after they came."""
OTHERS_ROWS_POLL_S = 0.05
"""How often a process that shares its context looks for rows of its partitions that others wrote."""
IDLE_S = 1.0
BUSY_RETRY_S = 0.1
BROKER_RETRY_S = 0.25

_log = structlog.get_logger("chorus.loop")


class Loop:
    """Decides the messages of the partitions this process holds, and counts what it does for the metrics."""

    def __init__(
        self,
        reactions: Routing,
        store: Store,
        broker: Broker,
        clock: Clock,
        ownership: PartitionOwnership,
        relay: Relay,
        effects: EffectRunner,
        *,
        troubles: Troubles,
        batch_at_most: int,
    ) -> None:
        self.decided = 0
        self.duplicates = 0
        self.parked = 0
        self.batches = 0
        self.stall = Stall(clock, store)
        self._reactions = reactions
        self._store = store
        self._broker = broker
        self._clock = clock
        self._ownership = ownership
        self._partitions = ownership.partitions
        self._relay = relay
        self._effects = effects
        self._troubles = troubles
        self._batch_at_most = batch_at_most
        self._verdicts = Verdicts(store, relay.blocked, clock)
        self._turn = 0
        self._woken = Wakeup()
        self._linger_s = reactions.context.linger_s
        self._stopped = Wakeup()
        self._idling = False

    @property
    def resting(self) -> bool:
        """Whether it has nothing in hand, and nobody has called."""
        return self._idling and not self._woken.is_set

    def wake(self) -> None:
        """There is something to do."""
        self._woken.set()

    def stop(self) -> None:
        """Take no new work; `run` returns after the batch in hand."""
        self._stopped.set()
        self.wake()

    async def run(self) -> None:
        """Decide until stopped."""
        while not self._stopped.is_set:
            self.stall.end()
            self._woken.clear()
            try:
                with self.stall.excused():
                    await self._ownership.rebalance()
            except BrokerError:  # Its partition has raised an alarm.
                await self._clock.sleep(BROKER_RETRY_S)
            except DatabaseBusyError as error:
                await self._wait_for_database(error)
                continue
            if inputs := await self.take():
                await self._batch(inputs)
                if self._linger_s:
                    await self._stopped.wait(self._linger_s)
            elif not self._woken.is_set:
                self._idling = True
                await self._idle()
                self._idling = False

    async def finish(self) -> None:
        """After `run`: wait until what was committed is published, record the PubAcks, and hand the partitions over."""
        while self._relay.publishing:
            await self._clock.sleep(0.005)
        await self._record_progress()
        await self._ownership.release(self._partitions)

    async def take(self) -> list[Input]:
        """What has been delivered and what the outside has answered, up to a batch, in stream order per partition."""
        parked = [] if self._relay.full else await self._parked()
        # What the outside has answered about a partition that we have lost, its holder asks again under the same key.
        answered = [outcome for outcome in self._effects.outcomes if self._partitions[outcome.partition].held]
        inputs, self._effects.outcomes = [*answered, *parked], []
        if self._relay.full:
            return inputs
        self._turn += 1
        numbers = sorted(self._partitions, key=lambda number: (number + self._turn) % len(self._partitions))
        for partition in (self._partitions[number] for number in numbers):
            if not partition.held:
                continue
            for stream in streams.READ:
                for delivery in await partition.take(stream, self._batch_at_most - len(inputs)):
                    inputs.append(self._reactions.decode(stream, partition.number, delivery))
        if inputs:
            reach("after-take")
        return inputs

    async def _parked(self) -> list[Input]:
        """Parked messages on which an operator has given a verdict, before anything newer of their keys."""
        try:
            waiting = await self._verdicts.given(self._ownership.held, limit=self._batch_at_most)
        except DatabaseBusyError as error:
            await self._wait_for_database(error)
            return []
        return [self._reactions.decode_parked(message) for message in waiting]

    async def _batch(self, inputs: Sequence[Input]) -> None:
        for input_ in inputs:
            self._reactions.react(input_)
        progress, ownership = self._progress(), self._ownership
        moves = self._moves(inputs)
        batch = Batch(inputs, moves, progress, ownership.held, ownership.last_number, self._clock.now())
        while True:
            try:
                committed = await self._store.transact(partial(commit, reactions=self._reactions, batch=batch))
                break
            except DatabaseBusyError as error:
                await self._wait_for_database(error)
                if self._stopped.is_set:
                    return  # Nothing of it was committed, so it comes again to the next process.
            except FencedError as error:
                _log.warning("fenced: another process decided these", inputs=len(inputs), reason=str(error))
                self._take_back(progress)
                self._effects.outcomes = [i for i in inputs if i.effect is not None] + self._effects.outcomes
                await ownership.release({i.partition for i in inputs if i.delivery is not None})
                return
        self._troubles.written()
        reach("after-commit")
        for stream, number, _, seq, message_id in moves:
            self._partitions[number].positions[stream] = Position(seq, message_id)
        self.publish(committed)
        await self.acknowledge(inputs)
        self.batches += 1
        self.decided += len(inputs)
        self.duplicates += committed.duplicates
        self.parked = committed.parked

    def publish(self, committed: Committed) -> None:
        """Hand the new rows to the relay and the new effects to the runner; neither is waited for."""
        self._ownership.last_number = committed.last_number
        self._relay.add(committed.rows)
        self._effects.add(committed.asked)
        for input_, reason in committed.undecided:
            _log.error("outcome cannot be decided", effect=input_.type, saga=input_.correlation_id, reason=reason)
            if input_.effect is not None:
                self._effects.again_later(input_.effect)

    async def acknowledge(self, inputs: Sequence[Input]) -> None:
        """Tell the server that commands and timers are decided; a lost ack only means another, harmless delivery."""
        replies = [i.delivery.reply for i in inputs if i.delivery and i.delivery.reply and i.stream != streams.EVENTS]
        if replies:
            with suppress(BrokerUnavailableError):
                await self._broker.acknowledge(replies)

    def _moves(self, inputs: Sequence[Input]) -> list[Move]:
        last: dict[tuple[str, int], tuple[int, str]] = {}
        for input_ in inputs:
            if input_.delivery is not None and input_.parked is None:
                place = (input_.stream, input_.partition)
                if place not in last or input_.delivery.sequence > last[place][0]:
                    last[place] = (input_.delivery.sequence, input_.message_id)
        moves = []
        for (stream, number), newest in last.items():
            at = self._partitions[number].positions.get(stream, NOWHERE)
            moves.append(Move(stream, number, at.seq, *max(newest, at)))
        return moves

    async def _idle(self) -> None:
        """Wait for work; meanwhile record PubAcks, and look for what other processes left for us."""
        shared = self._ownership.shared
        if shared or self._effects.overflowed:
            try:
                await self._ownership.fetch_from_others()
            except DatabaseBusyError as error:
                await self._wait_for_database(error)
        wait_s = OTHERS_ROWS_POLL_S if shared else MARKS_WAIT_S if self._relay.unrecorded else IDLE_S
        rung = await self._woken.wait(wait_s)
        if not rung and (self._relay.unrecorded or self._effects.attempts or self._troubles.database_busy):
            await self._record_progress()

    async def _record_progress(self) -> None:
        progress = self._progress()
        try:
            await self._store.transact(partial(record, progress=progress))
            self._troubles.written()
        except DatabaseBusyError as error:
            self._take_back(progress)
            await self._wait_for_database(error)

    async def _wait_for_database(self, error: DatabaseBusyError) -> None:
        self._troubles.busy(error)
        self.stall.end()
        await self._clock.sleep(BUSY_RETRY_S)

    def _progress(self) -> Progress:
        marks, refusals = self._relay.take_progress()
        progress = Progress(marks, self._effects.attempts, refusals)
        self._effects.attempts = {}
        return progress

    def _take_back(self, progress: Progress) -> None:
        self._relay.take_back(progress.marks, progress.refusals)
        self._effects.attempts = {**progress.attempts, **self._effects.attempts}
