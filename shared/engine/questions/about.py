"""Answers `api.<context>.about`: the state of one key here, from memory and from the database.

Every process of the context gets the request, and the owner of the key's partition answers. The answer is bounded, and
neither waits for a transaction nor makes one wait. When the database cannot be read, the answer has what memory has.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import msgspec

from shared.context import Answer, Context, Request
from shared.engine.effects import EffectRunner
from shared.engine.intake.partition import BEGINNING, Partition
from shared.engine.monitor.alarms import Alarm, Alarms
from shared.engine.ownership import PartitionOwnership
from shared.engine.questions.deadlines import would_act
from shared.engine.questions.lag import messages_behind
from shared.engine.questions.replies import process_name, refusal
from shared.ports.broker import Broker
from shared.ports.clock import Clock, moment
from shared.ports.rows import JournalRow
from shared.ports.store import DatabaseBusyError, DatabaseError, Store
from shared.ports.store_reader import AggregateRow, KeptMessage, KeyRows, StoreReader, UnpublishedRow
from shared.wire.about import (
    ITEMS_AT_MOST,
    STATE_BYTES_AT_MOST,
    About,
    AggregateNow,
    ArmedDeadline,
    AskAbout,
    OpenCall,
    ParkedMessage,
    RaisedAlarm,
    ReadingPosition,
    UnpublishedEvent,
)
from shared.wire.messages import OCCURRED_AT, SCHEDULE, MalformedKeyError, check_key, partition_of, rfc3339

EXAMPLE = '{"key": "k-42"}'

_decoder = msgspec.json.Decoder(AskAbout)
_encoder = msgspec.json.Encoder()


class AboutQuestion:
    """Every process of the context gets the request, and the owner of the key's partition answers."""

    def __init__(
        self,
        context: Context,
        store: Store,
        broker: Broker,
        clock: Clock,
        ownership: PartitionOwnership,
        effects: EffectRunner,
        alarms: Alarms,
        *,
        partitions: int,
    ) -> None:
        self._context = context
        self._store = store
        self._broker = broker
        self._clock = clock
        self._ownership = ownership
        self._effects = effects
        self._alarms = alarms
        self._partitions = partitions
        self._names = [aggregate.name for aggregate in context.aggregates]
        self._timers = {timer.name: timer for timer in context.timers}

    async def answer(self, request: Request) -> Answer | None:
        """Answer a request, or leave it to the owner of the key's partition."""
        try:
            key = check_key(_decoder.decode(request.body).key)
        except (msgspec.DecodeError, MalformedKeyError) as error:
            # Every process gets the request, so the one that owns the first partition refuses it.
            return refusal(EXAMPLE, str(error)) if self._ownership.owns(0) else None
        number = partition_of(key, self._partitions)
        if not self._ownership.owns(number):
            return None
        return Answer(_encoder.encode(await self.about(key, self._ownership.partitions[number])))

    async def about(self, key: str, partition: Partition) -> About:
        """Collect the state, calls, deadlines and troubles of a key of our partition."""
        calls = self._calls(key)
        rows, unreadable = KeyRows((), (), (), ()), ""
        read = partial(_read, key=key, partition=partition.number, names=self._names, timers=[*self._timers])
        try:
            rows = await self._store.read_aside(read)
        except (DatabaseBusyError, DatabaseError) as error:
            unreadable = str(error)
        aggregates = [_aggregate(row) for row in rows.aggregates]
        deadlines = [self._deadline(row, rows.aggregates) for row in rows.timers]
        alarms = [_alarm(alarm) for alarm in self._alarms.raised]
        parked = [self._parked(message) for message in rows.parked]
        unpublished = [self._unpublished(row) for row in rows.unpublished]
        counts = {
            "aggregates": len(aggregates),
            "calls": len(calls),
            "deadlines": len(deadlines),
            "parked": len(parked),
            "unpublished": len(unpublished),
            "alarms": len(alarms),
        }
        return About(
            context=self._context.name,
            key=key,
            process=process_name(),
            partition=partition.number,
            at=rfc3339(self._clock.now()),
            aggregates=tuple(aggregates[:ITEMS_AT_MOST]),
            calls=tuple(calls[:ITEMS_AT_MOST]),
            deadlines=tuple(deadlines[:ITEMS_AT_MOST]),
            parked=tuple(parked[:ITEMS_AT_MOST]),
            unpublished=tuple(unpublished[:ITEMS_AT_MOST]),
            positions=await self._positions(partition),
            alarms=tuple(alarms[:ITEMS_AT_MOST]),
            more=tuple(kind for kind, count in counts.items() if count > ITEMS_AT_MOST),
            unreadable=unreadable,
        )

    def _calls(self, key: str) -> list[OpenCall]:
        calls: list[OpenCall] = []
        for row, attempts in self._effects.open_calls(key):
            calls.append(
                OpenCall(
                    event=row.type,
                    id=row.event_id,
                    since=row.headers[OCCURRED_AT],
                    asks=attempts.asks,
                    attempts=attempts.made,
                    last_error=attempts.last_error,
                    next_try_at=_text(attempts.next_at),
                    behind=calls[0].id if calls else "",
                )
            )
        return calls

    def _deadline(self, row: JournalRow, aggregates: Sequence[AggregateRow]) -> ArmedDeadline:
        timer = self._timers[row.type]
        states = {aggregate.id: aggregate.state for aggregate in aggregates}
        due_at = row.headers[SCHEDULE].removeprefix("@at ")
        is_idle = not would_act(self._context, timer, row, states, due_at)
        return ArmedDeadline(timer=row.type, id=row.event_id, due_at=due_at, is_idle=is_idle)

    def _parked(self, message: KeptMessage) -> ParkedMessage:
        return ParkedMessage(
            number=f"{self._context.name}/{message.number}",
            id=message.row.message_id,
            subject=message.row.subject,
            stored_at=rfc3339(moment(message.row.at_ns)),
            reason=message.row.reason,
            verdict=message.verdict,
        )

    def _unpublished(self, found: UnpublishedRow) -> UnpublishedEvent:
        return UnpublishedEvent(
            number=f"{self._context.name}/r{found.n}",
            id=found.row.event_id,
            type=found.row.type,
            since=found.row.headers.get(OCCURRED_AT, ""),
            refused=found.refused,
        )

    async def _positions(self, partition: Partition) -> tuple[ReadingPosition, ...]:
        positions = []
        for stream, reader in partition.readers.items():
            behind = await messages_behind(self._broker, reader)
            sequence = partition.positions.get(stream, BEGINNING).seq
            positions.append(ReadingPosition(stream=stream, sequence=sequence, behind=behind))
        return tuple(positions)


def _read(reader: StoreReader, *, key: str, partition: int, names: list[str], timers: list[str]) -> KeyRows:
    return reader.about(key, partition, names, timers, limit=ITEMS_AT_MOST + 1)


def _aggregate(row: AggregateRow) -> AggregateNow:
    state = row.state.encode()
    return AggregateNow(
        id=row.id,
        version=row.version,
        state=msgspec.Raw(state if len(state) <= STATE_BYTES_AT_MOST else b"null"),
        last_event=row.last_event,
        at=row.at,
    )


def _alarm(alarm: Alarm) -> RaisedAlarm:
    since = rfc3339(alarm.since)
    return RaisedAlarm(kind=alarm.kind, subject=alarm.subject, reason=alarm.reason, remedy=alarm.remedy, since=since)


def _text(at: datetime | None) -> str:
    return "" if at is None else rfc3339(at)
