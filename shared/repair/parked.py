"""Finds what waits for an operator: parked messages, refused rows, undelivered events. Records the verdicts."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from shared.ports.clock import moment
from shared.ports.databases import Databases
from shared.ports.forwards import ParkedForward
from shared.ports.rows import JournalRow, ParkedRow
from shared.ports.store import Transaction
from shared.ports.store_reader import StoreReader
from shared.repair.unresolved import Item, Parked, Refused, Undelivered, Unresolved

T = TypeVar("T")


def parked_in(databases: Databases, contexts: Iterable[str]) -> list[Parked]:
    """The parked messages of these contexts on this machine, oldest first; a context without a database has none."""
    return _oldest_first(databases, contexts, _read_parked)


def refused_in(databases: Databases, contexts: Iterable[str]) -> list[Refused]:
    """The refused journal rows of these contexts on this machine, oldest first."""
    return _oldest_first(databases, contexts, _read_refused)


def undelivered_in(databases: Databases, contexts: Iterable[str]) -> list[Undelivered]:
    """The events that groups of these read sides on this machine cannot deliver, oldest first."""
    found = [_undelivered(one) for context in contexts for one in databases.parked_forwards(context)]
    return sorted(found, key=lambda one: (one.at, one.row))


async def retry(databases: Databases, chosen: Sequence[Unresolved], *, who: str) -> int:
    """Let the workers decide the messages, or publish the rows, once more; return how many were still there."""
    return await _record_verdict(databases, chosen, "retry", who=who, why="")


async def skip(databases: Databases, message: Parked | Undelivered, *, who: str, why: str) -> int:
    """Let the workers leave this message out for good and go on with the messages behind it."""
    return await _record_verdict(databases, [message], "skip", who=who, why=why)


async def transact(databases: Databases, context: str, work: Callable[[Transaction], T]) -> T:
    """Run one transaction on the database of a context; its workers may run or be stopped."""
    store = await databases.open(context)
    try:
        return await store.transact(work)
    finally:
        await store.close()


async def _record_verdict(
    databases: Databases, chosen: Sequence[Unresolved], verdict: str, *, who: str, why: str
) -> int:
    recorded = 0
    for place in dict.fromkeys(one.context for one in chosen if isinstance(one, Undelivered)):
        numbers = [one.row for one in chosen if isinstance(one, Undelivered) and one.context == place]
        recorded += await databases.judge_forwards(place, numbers, verdict, who=who, why=why)
    for context in dict.fromkeys(one.context for one in chosen if not isinstance(one, Undelivered)):
        of_context = [one for one in chosen if one.context == context]
        parked = [one.row for one in of_context if isinstance(one, Parked)]
        refused = [one.row for one in of_context if isinstance(one, Refused)]
        give = partial(_give_verdict, parked=parked, refused=refused, verdict=verdict, who=who, why=why)
        recorded += await transact(databases, context, give)
    return recorded


def _give_verdict(
    transaction: Transaction, parked: Sequence[int], refused: Sequence[int], verdict: str, who: str, why: str
) -> int:
    given = transaction.parked.give_verdict(parked, verdict, who=who, why=why) if parked else 0
    return given + (transaction.refused.give_verdict(refused, verdict, who=who, why=why) if refused else 0)


def _oldest_first(
    databases: Databases, contexts: Iterable[str], read: Callable[[StoreReader, str], list[Item]]
) -> list[Item]:
    found: list[Item] = []
    for context in contexts:
        if databases.exists(context):
            with databases.reading(context) as reader:
                found += read(reader, context)
    return sorted(found, key=lambda one: (one.at, one.row))


def _read_parked(reader: StoreReader, context: str) -> list[Parked]:
    return [
        Parked(
            **_shared_fields(number, context, row, verdict),
            message_id=row.message_id,
            sequence=row.seq,
            at=moment(row.at_ns),
            reason=row.reason,
            stream=row.stream,
        )
        for number, row, verdict in reader.parked()
    ]


def _read_refused(reader: StoreReader, context: str) -> list[Refused]:
    return [
        Refused(
            **_shared_fields(refusal.n, context, row, verdict),
            message_id=row.event_id,
            sequence=refusal.seq,
            at=datetime.fromisoformat(refusal.since),
            reason=refusal.reason,
            behind=behind,
        )
        for refusal, row, verdict, behind in reader.refused()
    ]


def _undelivered(parked: ParkedForward) -> Undelivered:
    row = parked.row
    return Undelivered(
        row=row.n,
        context=parked.place,
        key=row.key,
        message_id=row.event_id,
        subject=f"evt.{row.context}.{row.type}.{row.key}",
        sequence=row.sequence,
        at=datetime.fromisoformat(parked.since),
        headers=msgspec.json.encode(row.headers).decode(),
        body=row.body.decode(errors="backslashreplace"),
        reason=parked.reason,
        verdict=parked.verdict,
        behind=parked.behind,
    )


def _shared_fields(number: int, context: str, row: ParkedRow | JournalRow, verdict: str) -> dict[str, Any]:
    return {
        "row": number,
        "context": context,
        "key": row.key,
        "subject": row.subject,
        "headers": msgspec.json.encode(row.headers).decode(),
        "body": row.body.decode(errors="backslashreplace"),
        "verdict": verdict,
    }
