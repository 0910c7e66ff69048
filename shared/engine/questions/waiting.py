"""Answers `api.<context>.waiting`: everything in the context that waits, from the database, in pages."""

import msgspec

from shared.context import Answer, Request
from shared.engine.questions.replies import refusal, unreadable
from shared.ports.clock import Clock, moment
from shared.ports.store import DatabaseBusyError, DatabaseError, Store
from shared.ports.store_reader import StoreReader, WaitingRow
from shared.wire.messages import rfc3339
from shared.wire.waiting import KINDS, AskWaiting, Kind, Waiting, WaitingItem

EXAMPLE = '{} or {"kind": "call", "after": 0}'

_decoder = msgspec.json.Decoder(AskWaiting)
_encoder = msgspec.json.Encoder()


class WaitingQuestion:
    """One process of the context gets the request and answers for all of its partitions."""

    def __init__(self, context: str, store: Store, clock: Clock) -> None:
        self._context = context
        self._store = store
        self._clock = clock

    async def answer(self, request: Request) -> Answer:
        """Answer with a page of each kind that was asked for."""
        try:
            asked = _decoder.decode(request.body)
        except msgspec.DecodeError as error:
            return refusal(EXAMPLE, str(error))
        if asked.after and asked.kind is None:
            return refusal(EXAMPLE, "`after` needs a `kind`")
        try:
            return Answer(_encoder.encode(await self._store.read_aside(lambda reader: self._read(reader, asked))))
        except (DatabaseBusyError, DatabaseError) as error:
            return unreadable(error)

    def _read(self, reader: StoreReader, asked: AskWaiting) -> Waiting:
        items: list[WaitingItem] = []
        following: dict[Kind, int] = {}
        for kind in KINDS if asked.kind is None else (asked.kind,):
            rows = reader.list_waiting(kind, after=asked.after, limit=asked.limit + 1)
            items += [_item(kind, row) for row in rows[: asked.limit]]
            if len(rows) > asked.limit:
                following[kind] = rows[asked.limit - 1].number
        return Waiting(
            context=self._context,
            at=rfc3339(self._clock.now()),
            counts=reader.count_waiting(),
            items=tuple(items),
            next=following,
        )


def _item(kind: Kind, row: WaitingRow) -> WaitingItem:
    since = rfc3339(moment(row.since)) if isinstance(row.since, int) else row.since
    return WaitingItem(
        kind=kind,
        number=row.number,
        key=row.key,
        id=row.id,
        type=row.type,
        since=since,
        attempts=row.attempts,
        text=row.text,
    )
