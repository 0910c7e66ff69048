"""Finds what waits for an operator, parked messages and refused journal rows, and records the operator's verdicts."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from shared.ports.clock import moment
from shared.ports.databases import Databases
from shared.ports.rows import JournalRow, ParkedRow
from shared.ports.store import Transaction
from shared.ports.store_reader import StoreReader
from shared.wire.streams import stream_of

T = TypeVar("T")


class _Waiting(Struct, frozen=True, kw_only=True):
    """The fields that parked messages and refused rows share. `row` is the number in the table of the database."""

    row: int
    context: str
    key: str
    message_id: str
    subject: str
    sequence: int
    at: datetime
    headers: str
    body: str
    reason: str
    verdict: str
    prefix: ClassVar[str] = ""
    """Before the row's number in commands."""

    @property
    def number(self) -> str:
        """Its name in commands, such as `till/1` for a parked message or `till/r7` for a refused row."""
        return f"{self.context}/{self.prefix}{self.row}"


class Parked(_Waiting, frozen=True, kw_only=True):
    """A parked message, stored in `stream` at `sequence`. `reason` is empty when it waits behind another of its key."""

    stream: str

    @property
    def cause(self) -> str:
        """The last line of the traceback, which names the error."""
        lines = self.reason.strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def remedy(self) -> str:
        """The commands with which an operator resolves it."""
        return f"fix the cause, then chorus parked retry {self.key}; or chorus parked skip {self.number} --why '…'"


class Refused(_Waiting, frozen=True, kw_only=True):
    """A journal row that the broker refuses for good. The `behind` later rows of its key wait.

    `sequence` is where another message has its id, or 0.
    """

    prefix: ClassVar[str] = "r"
    behind: int

    @property
    def cause(self) -> str:
        """Why the broker refuses it."""
        return self.reason

    @property
    def stream(self) -> str:
        """The stream that refuses it."""
        return stream_of(self.subject)

    @property
    def remedy(self) -> str:
        """The commands with which an operator resolves it."""
        if not self.sequence:
            return f"fix the cause, then chorus parked retry {self.number}"
        return (
            f"chorus parked void {self.number} --why '…' publishes the event under its next edition;"
            f" chorus parked retry {self.number} publishes it as it is, if the other message is gone from {self.stream}"
        )


Unresolved: TypeAlias = Parked | Refused
Item = TypeVar("Item", Parked, Refused, Unresolved)


class NothingFoundError(Exception):
    """No parked message or refused row has this name; the text repeats the name and lists the keys."""


def parked_in(databases: Databases, contexts: Iterable[str]) -> list[Parked]:
    """The parked messages of these contexts on this machine, oldest first; a context without a database has none."""
    return _oldest_first(databases, contexts, _read_parked)


def refused_in(databases: Databases, contexts: Iterable[str]) -> list[Refused]:
    """The refused journal rows of these contexts on this machine, oldest first."""
    return _oldest_first(databases, contexts, _read_refused)


def choose(unresolved: Sequence[Item], name: str) -> list[Item]:
    """All under a key, or the one with this message id or number; raises NothingFoundError when there is none."""
    chosen = [one for one in unresolved if name in (one.key, one.message_id, one.number)]
    if not chosen:
        keys = sorted({one.key for one in unresolved})
        raise NothingFoundError(f"nothing is parked as {name!r}; parked keys: {', '.join(keys) or 'none'}")
    return chosen


def why_no_skip(one: Unresolved, unresolved: Iterable[Unresolved]) -> str:
    """Why a message that waits behind another, or an event that the broker refuses, cannot be skipped."""
    if isinstance(one, Refused):
        return f"it is an event that the broker refuses; {one.remedy}"
    ahead = [
        other.number
        for other in unresolved
        if isinstance(other, Parked) and other.reason and (other.context, other.key) == (one.context, one.key)
    ]
    return f"it waits behind {', '.join(ahead)}; retry or skip that first"


async def retry(databases: Databases, chosen: Sequence[Unresolved], *, who: str) -> int:
    """Let the workers decide the messages, or publish the rows, once more; return how many were still there."""
    return await _record_verdict(databases, chosen, "retry", who=who, why="")


async def skip(databases: Databases, message: Parked, *, who: str, why: str) -> int:
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
    for context in dict.fromkeys(one.context for one in chosen):
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
