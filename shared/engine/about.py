"""Answers `api.<context>.about`: the state of one key here, from memory and from the database.

Every process of the context gets the request, and the owner of the key's partition answers. The answer is bounded, and
neither waits for a transaction nor makes one wait. When the database cannot be read, the answer has what memory has.
"""

import os
import socket
from datetime import datetime
from functools import partial

import msgspec

from shared.context import Answer, Context, Request
from shared.engine.effects import EffectRunner
from shared.engine.intake.partition import BEGINNING, Partition
from shared.engine.ownership import PartitionOwnership
from shared.ports.broker import Broker, BrokerError
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
    ReadingPosition,
    UnpublishedEvent,
)
from shared.wire.messages import OCCURRED_AT, SCHEDULE, MalformedKeyError, check_key, partition_of, rfc3339

_decoder = msgspec.json.Decoder(AskAbout)
_encoder = msgspec.json.Encoder()


class Knowledge:
    """Collects the knowledge of this process."""

    def __init__(
        self,
        context: Context,
        store: Store,
        broker: Broker,
        clock: Clock,
        ownership: PartitionOwnership,
        effects: EffectRunner,
        *,
        partitions: int,
    ) -> None:
        self._context = context
        self._process = f"{socket.gethostname()}-{os.getpid()}"
        self._store = store
        self._broker = broker
        self._clock = clock
        self._ownership = ownership
        self._effects = effects
        self._partitions = partitions
        self._names = [aggregate.name for aggregate in context.aggregates]
        self._timers = [timer.name for timer in context.timers]

    async def answer(self, request: Request) -> Answer | None:
        """Answer a request, or leave it to the owner of the key's partition."""
        try:
            key = check_key(_decoder.decode(request.body).key)
        except (msgspec.DecodeError, MalformedKeyError) as error:
            # Every process gets the request, so the one that owns the first partition refuses it.
            return _refused(str(error)) if self._owns(0) else None
        number = partition_of(key, self._partitions)
        if not self._owns(number):
            return None
        return Answer(_encoder.encode(await self.about(key, self._ownership.partitions[number])))

    async def about(self, key: str, partition: Partition) -> About:
        """Collect the state, calls, deadlines and troubles of a key of our partition."""
        calls = self._calls(key)
        rows, unreadable = KeyRows((), (), (), ()), ""
        read = partial(_read, key=key, partition=partition.number, names=self._names, timers=self._timers)
        try:
            rows = await self._store.look(read)
        except (DatabaseBusyError, DatabaseError) as error:
            unreadable = str(error)
        aggregates = [_aggregate(row) for row in rows.aggregates]
        deadlines = [_deadline(row) for row in rows.timers]
        parked = [self._parked(message) for message in rows.parked]
        unpublished = [self._unpublished(row) for row in rows.unpublished]
        counts = {
            "aggregates": len(aggregates),
            "calls": len(calls),
            "deadlines": len(deadlines),
            "parked": len(parked),
            "unpublished": len(unpublished),
        }
        return About(
            context=self._context.name,
            key=key,
            process=self._process,
            partition=partition.number,
            at=rfc3339(self._clock.now()),
            aggregates=tuple(aggregates[:ITEMS_AT_MOST]),
            calls=tuple(calls[:ITEMS_AT_MOST]),
            deadlines=tuple(deadlines[:ITEMS_AT_MOST]),
            parked=tuple(parked[:ITEMS_AT_MOST]),
            unpublished=tuple(unpublished[:ITEMS_AT_MOST]),
            positions=await self._positions(partition),
            more=tuple(kind for kind, count in counts.items() if count > ITEMS_AT_MOST),
            unreadable=unreadable,
        )

    def _owns(self, number: int) -> bool:
        partition = self._ownership.partitions.get(number)
        return partition is not None and partition.is_owned

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
            behind: int | None = None
            try:
                info = await self._broker.consumer_info(stream, reader.consumer)
                behind = info.pending + reader.buffered
            except BrokerError:
                pass  # The tool that asks sees by itself that the broker does not answer.
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


def _deadline(row: JournalRow) -> ArmedDeadline:
    return ArmedDeadline(timer=row.type, id=row.event_id, due_at=row.headers[SCHEDULE].removeprefix("@at "))


def _text(at: datetime | None) -> str:
    return "" if at is None else rfc3339(at)


def _refused(problem: str) -> Answer:
    return Answer(error=("400", f'ask like {{"key": "k-42"}}: {problem}'[:200].replace("\n", " ")))
