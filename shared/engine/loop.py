"""The worker's one loop: take, decode, react, then in one transaction load, decide, commit; then publish, acknowledge.

Whatever arrives while a transaction runs is the next batch. The publishing of one batch overlaps with the next commit.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import anyio
import structlog

from shared.adapters.sqlite import DatabaseBusyError
from shared.engine.decisions import Decisions
from shared.engine.effects import EffectRunner
from shared.engine.failpoints import reach
from shared.engine.partitions import NOWHERE
from shared.engine.reactions import STREAMS_READ, Input, Reactions
from shared.engine.relay import Relay
from shared.engine.store import Store
from shared.engine.tables import EffectRow, Move, NumberedRow, Position
from shared.engine.tenure import Tenure
from shared.engine.transaction import FencedError, Transaction
from shared.ports import Broker, BrokerRefusedError, BrokerUnavailableError, Clock

MARKS_WAIT_S = 0.2
"""Without new messages, PubAcks are recorded this long after they came."""
OTHERS_ROWS_POLL_S = 0.05
"""How often a process that shares its context looks for rows of its partitions that others wrote."""
IDLE_S = 1.0
BUSY_RETRY_S = 0.1
BROKER_RETRY_S = 0.25

_log = structlog.get_logger("chorus.loop")


class Committed(NamedTuple):
    """What one transaction wrote, for the steps that follow it."""

    rows: Sequence[NumberedRow]
    """Rows to publish from here: ours, and those that other processes wrote for our partitions before ours."""
    asked: Sequence[EffectRow]
    undecided: Sequence[tuple[Input, str]]
    last_number: int


class Loop:
    """Decides the messages of the partitions this process holds; `decided` and `batches` count for the metrics."""

    def __init__(
        self,
        reactions: Reactions,
        store: Store,
        broker: Broker,
        clock: Clock,
        tenure: Tenure,
        relay: Relay,
        effects: EffectRunner,
        *,
        batch_at_most: int,
    ) -> None:
        self.decided = 0
        self.duplicates = 0
        self.batches = 0
        self.beat = clock.monotonic()
        """When the loop last came round; a supervisor judges by it."""
        self._reactions = reactions
        self._store = store
        self._broker = broker
        self._clock = clock
        self._tenure = tenure
        self._partitions = tenure.partitions
        self._relay = relay
        self._effects = effects
        self._batch_at_most = batch_at_most
        self._turn = 0
        self._woken = anyio.Event()
        self._stopping = False

    def wake(self) -> None:
        """There is something to do."""
        self._woken.set()

    def stop(self) -> None:
        """Take no new work; `run` returns after the batch in hand."""
        self._stopping = True
        self.wake()

    async def run(self) -> None:
        """Decide until stopped."""
        while not self._stopping:
            self.beat = self._clock.monotonic()
            self._woken = anyio.Event()
            try:
                await self._tenure.attend()
            except (BrokerUnavailableError, BrokerRefusedError) as error:
                _log.warning("broker away", reason=str(error))
                await self._clock.sleep(BROKER_RETRY_S)
            inputs = await self.take()
            if inputs:
                await self._batch(inputs)
            elif not self._woken.is_set():
                await self._idle()

    async def finish(self) -> None:
        """After `run`: wait until what was committed is published, record the PubAcks, and hand the partitions over."""
        while self._relay.publishing:
            await self._clock.sleep(0.005)
        await self._record_marks()
        await self._tenure.begin_anew(self._partitions)

    async def take(self) -> list[Input]:
        """What has been delivered and what the outside has answered, up to a batch, in stream order per partition."""
        inputs, self._effects.outcomes = self._effects.outcomes, []
        if self._relay.full:
            return inputs
        self._turn += 1
        numbers = sorted(self._partitions, key=lambda number: (number + self._turn) % len(self._partitions))
        for partition in (self._partitions[number] for number in numbers):
            if not partition.held:
                continue
            for stream in STREAMS_READ:
                for delivery in await partition.take(stream, self._batch_at_most - len(inputs)):
                    inputs.append(self._reactions.decode(stream, partition.number, delivery))
        if inputs:
            reach("after-take")
        return inputs

    async def _batch(self, inputs: Sequence[Input]) -> None:
        for input_ in inputs:
            self._reactions.react(input_)
        moves = self._moves(inputs)
        marks, self._relay.marks = self._relay.marks, []
        attempts, self._effects.attempts = self._effects.attempts, {}
        held = self._tenure.held
        while True:
            try:
                committed = await self._store.transact(
                    lambda transaction: self.commit(transaction, inputs, moves, marks, attempts, held)
                )
                break
            except DatabaseBusyError as error:
                _log.warning("database busy, batch tried again", inputs=len(inputs), reason=str(error))
                self.beat = self._clock.monotonic()
                await self._clock.sleep(BUSY_RETRY_S)
            except FencedError as error:
                self._relay.marks = marks + self._relay.marks
                self._effects.attempts = attempts | self._effects.attempts
                self._effects.outcomes = [i for i in inputs if i.effect is not None] + self._effects.outcomes
                _log.warning("fenced: another process decided these", inputs=len(inputs), reason=str(error))
                await self._tenure.begin_anew({i.partition for i in inputs if i.delivery is not None})
                return
        reach("after-commit")
        for stream, number, _, seq, message_id in moves:
            self._partitions[number].positions[stream] = Position(seq, message_id)
        self.publish(committed)
        await self.acknowledge(inputs)
        self.batches += 1
        self.decided += len(inputs)

    def commit(
        self,
        transaction: Transaction,
        inputs: Sequence[Input],
        moves: Sequence[Move],
        marks: Sequence[tuple[int, int]],
        attempts: Mapping[str, tuple[int, str]],
        held: Sequence[int],
    ) -> Committed:
        """The one transaction: positions by compare-and-set first, then load, decide, and write all that came of it."""
        transaction.move(moves)
        decisions = Decisions(self._reactions, transaction, self._clock.now())
        loaded = decisions.load(inputs)
        reach("after-load")
        decisions.decide(loaded)
        transaction.remember(decisions.inbox)
        numbered = transaction.append(decisions.rows)
        transaction.snapshot(decisions.snapshots)
        asked = [numbered[index] for index in decisions.asks]
        transaction.ask([(n, row.event_id, _key(row.subject), row.partition) for n, row in asked])
        if decisions.settled:
            transaction.settle(decisions.settled)
        transaction.park(decisions.parked)
        transaction.mark_published(marks)
        if attempts:
            transaction.note_attempts([(count, error, event_id) for event_id, (count, error) in attempts.items()])
        reach("inside-transaction")
        self.duplicates += decisions.duplicates
        others: list[NumberedRow] = []
        if numbered and numbered[0].n != self._tenure.last_number + 1:
            others = transaction.unpublished(held, after=self._tenure.last_number, before=numbered[0].n)
        return Committed(
            [*others, *(entry for entry in numbered if entry.row.partition in held)],
            [_effect_row(entry) for entry in asked if entry.row.partition in held],
            decisions.undecided,
            numbered[-1].n if numbered else self._tenure.last_number,
        )

    def publish(self, committed: Committed) -> None:
        """Hand the new rows to the relay and the new effects to the runner; neither is waited for."""
        self._tenure.last_number = committed.last_number
        self._relay.add(committed.rows)
        self._effects.add(committed.asked)
        for input_, reason in committed.undecided:
            _log.error("outcome cannot be decided", effect=input_.type, saga=input_.correlation_id, reason=reason)
            if input_.effect is not None:
                self._effects.again_later(input_.effect)

    async def acknowledge(self, inputs: Sequence[Input]) -> None:
        """Tell the server that commands and timers are decided; a lost ack only means another, harmless delivery."""
        replies = [
            input_.delivery.reply for input_ in inputs if input_.delivery is not None and input_.stream != "EVENTS"
        ]
        if replies:
            try:
                await self._broker.acknowledge(replies)
            except BrokerUnavailableError as error:
                _log.info("acks not sent", count=len(replies), reason=str(error))

    def _moves(self, inputs: Sequence[Input]) -> list[Move]:
        moves: dict[tuple[str, int], Move] = {}
        for input_ in inputs:
            if input_.delivery is None:
                continue
            place = (input_.stream, input_.partition)
            at = self._partitions[input_.partition].positions.get(input_.stream, NOWHERE)
            move = moves.get(place) or Move(*place, at.seq, at.seq, at.message_id)
            if input_.delivery.sequence > move.seq:
                move = move._replace(seq=input_.delivery.sequence, message_id=input_.message_id)
            moves[place] = move
        return list(moves.values())

    async def _idle(self) -> None:
        """Wait for work; meanwhile record PubAcks, and look for what other processes left for us."""
        shared = self._tenure.shared
        if shared or self._effects.overflowed:
            await self._tenure.fetch_from_others()
        marks = len(self._relay.marks)
        with anyio.move_on_after(OTHERS_ROWS_POLL_S if shared else MARKS_WAIT_S if marks else IDLE_S):
            await self._woken.wait()
            return
        if marks or self._effects.attempts:
            await self._record_marks()

    async def _record_marks(self) -> None:
        marks, self._relay.marks = self._relay.marks, []
        attempts, self._effects.attempts = self._effects.attempts, {}
        try:
            await self._store.transact(lambda transaction: _record(transaction, marks, attempts))
        except DatabaseBusyError as error:
            self._relay.marks = marks + self._relay.marks
            self._effects.attempts = attempts | self._effects.attempts
            _log.warning("database busy", reason=str(error))


def _record(
    transaction: Transaction, marks: Sequence[tuple[int, int]], attempts: Mapping[str, tuple[int, str]]
) -> None:
    transaction.mark_published(marks)
    transaction.note_attempts([(count, error, event_id) for event_id, (count, error) in attempts.items()])


def _effect_row(entry: NumberedRow) -> EffectRow:
    row = entry.row
    return EffectRow(entry.n, row.event_id, _key(row.subject), row.partition, 0, row.type, row.headers, row.body)


def _key(subject: str) -> str:
    return subject.rsplit(".", 1)[1]
