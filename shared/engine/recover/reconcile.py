"""Compares the database of a context with the broker's streams, before any consumer is reset to a position.

A server that lost data gives the same sequences to other messages. So a position is valid only if the stream is the
one that the database knows, and if the messages at our position and at our last publication have the ids that it knows.
Otherwise the broker lost or replaced data. The context then reads the stream from its start, where dedup absorbs what
was decided, and publishes the rows that the stream lacks. Conversely, an event of ours in EVENTS that the journal lacks
means that the database lost data.
"""

from collections.abc import Sequence

import structlog

from shared.engine.recover.provenance import Provenance
from shared.engine.route.event_form import has_fired
from shared.engine.route.headers import id_in
from shared.ports.broker import Broker, Stored, StreamInfo
from shared.ports.rows import StrangerRow
from shared.ports.store import DatabaseError, Store, Transaction
from shared.wire.messages import CORRELATION_ID, fallback_id, rfc3339
from shared.wire.streams import EVENTS, TIMERS

SUBJECTS = {EVENTS: "evt.", TIMERS: "timer."}
"""The prefix of the subjects under which a context publishes into each stream."""

KINDS = {EVENTS: ("evt",), TIMERS: ("timer", "due")}
"""The kinds of subjects of a context's messages in each stream: a timer that fired is stored under `due`."""

READ_AT_ONCE = 1_000

_log = structlog.get_logger("chorus.reconcile")


class Reconciler:
    """Reconciles the streams of one context."""

    def __init__(self, store: Store, broker: Broker, provenance: Provenance) -> None:
        self._store = store
        self._broker = broker
        self._provenance = provenance
        self._context = provenance.context
        self._seen: tuple[str, int] | None = None
        """When EVENTS was created, and its last sequence, as `has_changed` saw them last."""

    async def check(self, partition: int, streams: Sequence[str]) -> bool:
        """Return whether the streams are as the database knows them; reconcile each one that is not.

        Raises:
            DatabaseError: the database is an older copy: the stream has events of ours that it does not know.
        """
        born: dict[str, str] = {}
        troubled: dict[str, str] = {}
        for stream in dict.fromkeys((*streams, EVENTS)):
            info = await self._broker.stream_info(stream)
            born[stream] = info.created
            if trouble := await self._trouble(stream, partition, info):
                troubled[stream] = trouble
        if EVENTS not in troubled:
            await self._check_newer_events()
        elif TIMERS in born:  # Timers may be lost as well, and their sequences used again.
            troubled.setdefault(TIMERS, "events were lost")
        for stream, trouble in troubled.items():
            _log.error("the broker lost or replaced data; reconciling", stream=stream, trouble=trouble)
            await self._reset(stream, born[stream])
        return not troubled

    async def has_changed(self) -> bool:
        """Whether EVENTS was replaced or has lost its end since the last call.

        For a context without a consumer on EVENTS: no reader would notice.
        """
        info = await self._broker.stream_info(EVENTS)
        before, self._seen = self._seen, (info.created, info.last_sequence)
        return before is not None and (before[0] != info.created or before[1] > info.last_sequence)

    async def correct(self, stream: str) -> int:
        """Correct the journal's sequences by the stream; returns how many rows the stream lacks.

        Raises:
            DatabaseError: the stream has events of ours that the database does not know.
        """
        if stream == EVENTS:
            there = await self._check_known(first=1)
        else:
            there = await sequences_by_id(self._broker, stream, self._context)
        subjects, timers = SUBJECTS[stream], stream == TIMERS
        return await self._store.transact(
            lambda transaction: transaction.published.correct(subjects, there, timers=timers)
        )

    async def _reset(self, stream: str, born: str) -> None:
        def forget(transaction: Transaction) -> None:
            if stream == EVENTS:
                transaction.refused.delete_found_strangers()
            transaction.set_meta(f"created {stream}", born)
            transaction.delete_positions(stream)

        await self._store.transact(forget)
        to_publish = await self.correct(stream) if stream in SUBJECTS else 0
        _log.error("reconciled", stream=stream, to_publish=to_publish)

    async def _trouble(self, stream: str, partition: int, info: StreamInfo) -> str | None:
        """The problem with a stream, or None."""

        def remembered(transaction: Transaction) -> tuple[str | None, tuple[str, int] | None, tuple[str, int] | None]:
            position = transaction.positions().get((stream, partition))
            return (
                transaction.meta(f"created {stream}"),
                None if position is None or position.seq == 0 else (position.message_id, position.seq),
                transaction.published.last(SUBJECTS[stream]) if stream in SUBJECTS else None,
            )

        created, position, published = await self._store.read(remembered)
        if created is None:
            await self._store.transact(lambda transaction: transaction.set_meta(f"created {stream}", info.created))
            return None
        if created != info.created:
            return f"it was created again on {info.created}; the database knows the one of {created}"
        for what, known in (("position", position), ("last publication", published)):
            if known is not None and (difference := await self._difference(stream, info, *known)):
                return f"our {what}: {difference}"
        return None

    async def _difference(self, stream: str, info: StreamInfo, message_id: str, sequence: int) -> str | None:
        if sequence > info.last_sequence:
            return f"{sequence} is past its end, {info.last_sequence}"
        if sequence < info.first_sequence or stream not in (EVENTS, TIMERS):
            return None  # A message that has left the stream cannot be compared.
        stored = await self._broker.get(stream, sequence)
        if stored is None:
            return f"sequence {sequence} is empty" if stream == EVENTS else None
        found = id_in(stream, stored.headers) or fallback_id(stream, sequence, stored.at)
        return None if found == message_id else f"{found} is at {sequence} instead of {message_id}"

    async def _check_newer_events(self) -> None:
        published = await self._store.read(lambda transaction: transaction.published.last(SUBJECTS[EVENTS]))
        await self._check_known(first=1 if published is None else published[1] + 1)

    async def _check_known(self, *, first: int) -> dict[str, int]:
        """Record messages of strangers, and detect events that this database has lost.

        Checks every message under this context's subjects from a sequence on, also several with one id. Returns the
        sequence of the first message of each id.

        Raises:
            DatabaseError: the stream has an event of ours that the database does not know.
        """
        there: dict[str, int] = {}
        batch: list[Stored] = []
        async for stored in self._broker.read(EVENTS, f"evt.{self._context}.>", first=first):
            there.setdefault(stored.event_id, stored.sequence)
            batch.append(stored)
            if len(batch) == READ_AT_ONCE:
                await self._check(batch)
                batch = []
        await self._check(batch)
        return there

    async def _check(self, batch: Sequence[Stored]) -> None:
        if not batch:
            return
        unexplained = await self._store.read(lambda transaction: transaction.published.unexplained(batch))
        for stored in unexplained:
            await self._record_stranger(stored)

    async def _record_stranger(self, stored: Stored) -> None:
        message_id = stored.event_id
        reason = self._provenance.why_not(stored)
        if reason is None:
            raise DatabaseError(
                f"EVENTS has {message_id}, which this database does not know: it is new or an older copy, and would"
                f" decide again what has been decided; stop the workers and run chorus rebuild {self._context} --force."
                f" If somebody else published it, run chorus parked void {message_id} --why '…' instead"
            )
        row = StrangerRow(message_id, stored.sequence, stored.subject, reason, rfc3339(stored.at), "", "")
        await self._store.transact(lambda transaction: transaction.refused.record_strangers([row]))
        saga = stored.headers.get(CORRELATION_ID, "")
        _log.error(
            "a stranger's message is set aside", saga=saga, message=message_id, subject=stored.subject, reason=reason
        )


async def sequences_by_id(broker: Broker, stream: str, context: str) -> dict[str, int]:
    """The sequences of a context's messages in a stream, by id; the first message with an id counts.

    A timer counts only while it is the last message of its subject: after any later one, the server does not fire it.
    One that is due counts only if its own timer has fired.
    """
    there: dict[str, int] = {}
    armed: dict[str, str] = {}
    for kind in KINDS[stream]:
        async for stored in broker.read(stream, f"{kind}.{context}.>"):
            message_id = id_in(stream, stored.headers)
            if kind == "due" and not has_fired(stored.subject, stored.headers):
                continue
            if kind == "timer":
                there.pop(armed.pop(stored.subject, ""), None)
                armed[stored.subject] = message_id or ""
            if message_id:
                there.setdefault(message_id, stored.sequence)
    return there
