"""Answers `api.<context>.list`: the aggregates of one kind, from the database, in pages."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from shared.config.spelling import did_you_mean
from shared.context import Answer, Context, Request
from shared.engine.questions.replies import refusal, unreadable
from shared.ports.clock import Clock
from shared.ports.store import DatabaseBusyError, DatabaseError, Store
from shared.ports.store_reader import AggregateQuery, ListedRow, StoreReader
from shared.wire.listing import AggregateList, AskList, Listed
from shared.wire.messages import rfc3339

_decoder = msgspec.json.Decoder(AskList)
_encoder = msgspec.json.Encoder()


COUNTS_LAST_TIMES = 20
"""Counting all aggregates takes 0.3 s for 100,000 of them, so the counts stand for this many times as long."""


class ListingQuestion:
    """One process of the context gets the request and answers for all of its partitions."""

    def __init__(self, context: Context, store: Store, clock: Clock) -> None:
        self._context = context.name
        self._names = [aggregate.name for aggregate in context.aggregates]
        self._store = store
        self._clock = clock
        self._counts: dict[str, tuple[float, Mapping[str, int]]] = {}
        """By aggregate, until when its counts stand, and the counts."""

    async def answer(self, request: Request) -> Answer:
        """Answer with a page of aggregates."""
        example = f'{{"aggregate": "{self._names[0]}"}}'
        try:
            asked = _decoder.decode(request.body)
            before = rfc3339(_time(asked.before)) if asked.before else ""
        except (msgspec.DecodeError, ValueError) as error:
            return refusal(example, str(error))
        name = asked.aggregate or self._names[0]
        if name not in self._names:
            return refusal(example, f"there is no aggregate {name!r}{did_you_mean(name, self._names)}")
        try:
            listed = await self._store.read_aside(lambda reader: self._read(reader, name, asked, before))
        except (DatabaseBusyError, DatabaseError) as error:
            return unreadable(error)
        return Answer(_encoder.encode(listed))

    def _read(self, reader: StoreReader, name: str, asked: AskList, before: str) -> AggregateList:
        query = AggregateQuery(
            name=name,
            limit=asked.limit + 1,
            status=asked.status,
            fields=asked.fields,
            keys=asked.keys,
            unless=asked.unless,
            before=before,
            oldest_first=asked.oldest_first,
            after=asked.after,
        )
        rows = reader.list_aggregates(query)
        return AggregateList(
            context=self._context,
            aggregate=name,
            at=rfc3339(self._clock.now()),
            counts=self._count(reader, name) if asked.counted else {},
            items=tuple(_listed(name, row) for row in rows[: asked.limit]),
            next=rows[asked.limit - 1].n if len(rows) > asked.limit else 0,
        )

    def _count(self, reader: StoreReader, name: str) -> Mapping[str, int]:
        began = self._clock.monotonic()
        stands_until, counts = self._counts.get(name, (began, {}))
        if stands_until > began:
            return counts
        counts = reader.statuses(name)
        took_s = self._clock.monotonic() - began
        self._counts[name] = began + took_s + COUNTS_LAST_TIMES * took_s, counts
        return counts


def _listed(name: str, row: ListedRow) -> Listed:
    return Listed(
        id=row.id,
        key=row.id.removeprefix(f"{name}-").partition(".")[0],
        status=row.status,
        version=row.version,
        began_at=row.began_at,
        last_event=row.last_event,
        last_at=row.last_at,
    )


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"before: {text[:40]!r} has no time zone; end it with Z")
    return at
