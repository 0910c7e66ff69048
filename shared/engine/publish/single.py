"""Publishes journal rows as single messages, and tells from each answer of the broker what became of the row.

Two messages under one id must never stand in a stream: a consumer's inbox mistakes the second for the first, so an
event of ours would have no effect. The server prevents that within its duplicate window only.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import structlog

from shared.engine.monitor.troubles import STREAM_FULL
from shared.ports.broker import (
    Broker,
    BrokerError,
    BrokerRefusedError,
    BrokerUnavailableError,
    Outgoing,
    Published,
    Stored,
)
from shared.ports.rows import JournalRow, NumberedRow, RefusedRow
from shared.wire.messages import CORRELATION_ID, MSG_ID, SCHEDULE_TTL

_log = structlog.get_logger("chorus.relay")


class Refused(NamedTuple):
    """The broker refuses the row for good. `seq` is the sequence of another message that has its id, or 0."""

    reason: str
    seq: int = 0


class Full(NamedTuple):
    """The row's stream has reached its bound."""

    error: BrokerError


class Unanswered(NamedTuple):
    """The broker did not answer. The stream may have the row or not."""

    error: BrokerError


PublishResult: TypeAlias = int | Refused | Full | Unanswered
"""The row's sequence in its stream, or why it has none."""


def by_stream(rows: Sequence[NumberedRow]) -> dict[str, list[NumberedRow]]:
    """Group rows by their stream; each group keeps their order."""
    found: dict[str, list[NumberedRow]] = {}
    for numbered in rows:
        found.setdefault(numbered.row.stream, []).append(numbered)
    return found


def by_key(rows: Sequence[NumberedRow]) -> dict[str, deque[NumberedRow]]:
    """Group rows by their key; each group keeps their order."""
    found: dict[str, deque[NumberedRow]] = {}
    for numbered in rows:
        found.setdefault(numbered.row.key, deque()).append(numbered)
    return found


def outgoing(numbered: NumberedRow) -> Outgoing:
    """The message that publishes a row."""
    row = numbered.row
    return Outgoing(row.subject, row.headers, row.body)


async def publish_each(broker: Broker, rows: Sequence[NumberedRow]) -> list[PublishResult]:
    """Publish rows side by side; returns a result for each, in the same order."""
    given: Sequence[Published | BrokerError]
    try:
        given = await broker.publish_each([outgoing(numbered) for numbered in rows])
    except BrokerError as error:
        given = [error] * len(rows)
    return [await _classified(broker, numbered, answer) for numbered, answer in zip(rows, given, strict=True)]


async def publish_again(broker: Broker, rows: Sequence[tuple[NumberedRow, RefusedRow | None]]) -> list[PublishResult]:
    """Retry blocked rows, each with its refusal if it has one; returns a result for each, in the same order.

    A row whose id another message had is published only when that message has left the stream.
    """
    answers = await _id_conflicts(broker, rows)
    free = [numbered for (numbered, _), answer in zip(rows, answers, strict=True) if answer is None]
    published = iter(await publish_each(broker, free) if free else ())
    return [
        answer if answer is not None else _unless_deduplicated(numbered, refusal, next(published))
        for (numbered, refusal), answer in zip(rows, answers, strict=True)
    ]


async def is_answering(broker: Broker, stream: str) -> bool:
    """Whether the broker answers for this stream at all: tells a silent broker from one that is silent on some rows."""
    try:
        await broker.stream_info(stream)
    except BrokerUnavailableError:
        return False
    except BrokerRefusedError as error:
        return not error.missing
    except BrokerError:
        return True
    return True


async def _id_conflicts(
    broker: Broker, rows: Sequence[tuple[NumberedRow, RefusedRow | None]]
) -> list[PublishResult | None]:
    """A result for each row whose id another message still has; None for each row that may be published."""
    answers: list[PublishResult | None] = []
    silence: BrokerUnavailableError | None = None
    for numbered, refusal in rows:
        answer: PublishResult | None = None
        if refusal is not None and refusal.seq:
            try:
                answer = Unanswered(silence) if silence else await _found(broker, numbered, refusal.seq)
            except BrokerError as error:
                answer = Unanswered(error)
                silence = error if isinstance(error, BrokerUnavailableError) else None
        answers.append(answer)
    return answers


async def _found(broker: Broker, numbered: NumberedRow, sequence: int) -> int | Refused | None:
    stored = await broker.get(numbered.row.stream, sequence)
    if stored is None or stored.headers.get(MSG_ID) != numbered.row.headers[MSG_ID]:
        return None
    return sequence if _is_row(stored, numbered.row) else _id_conflict(numbered, sequence)


def _unless_deduplicated(numbered: NumberedRow, refusal: RefusedRow | None, answer: PublishResult) -> PublishResult:
    """Correct a result: the server still deduplicates against the message that had the id and has left the stream."""
    if refusal is None or not refusal.seq or answer != refusal.seq:
        return answer
    reason = f"{numbered.row.stream} remembers the id of the message that was at sequence {refusal.seq}"
    return Refused(f"{reason}, until its duplicate window has passed", refusal.seq)


def _id_conflict(numbered: NumberedRow, sequence: int) -> Refused:
    reason = f"{numbered.row.stream} has another message under the id {numbered.row.event_id}, at sequence {sequence}"
    return Refused(reason, sequence)


async def _classified(broker: Broker, numbered: NumberedRow, answer: Published | BrokerError) -> PublishResult:
    try:
        if isinstance(answer, BrokerError):
            raise answer
        if answer.duplicate:
            stored = await broker.get(numbered.row.stream, answer.sequence)
            # A fired timer leaves its stream, so a stored id without a message proves that the timer was there.
            if stored is not None and not _is_row(stored, numbered.row):
                return _id_conflict(numbered, answer.sequence)
    except BrokerRefusedError as error:
        return Full(error) if error.code == STREAM_FULL else Refused(str(error))
    except BrokerError as error:
        row = numbered.row
        saga = row.headers.get(CORRELATION_ID)
        _log.debug("publish unanswered, sent again", saga=saga, message=row.event_id, reason=str(error))
        return Unanswered(error)
    return answer.sequence


def _is_row(stored: Stored, row: JournalRow) -> bool:
    """Whether a stored message is the row as a whole. With another subject or other headers it is a stranger's.

    How long a timer is kept may differ: a newer release may have written the row.
    """
    kind, context, message_type, *_, key = stored.subject.split(".")  # The server puts the partition before the key.
    return (
        f"{kind}.{context}.{message_type}.{key}" == row.subject
        and stored.body == row.body
        and all(stored.headers.get(name) == text for name, text in row.headers.items() if name != SCHEDULE_TTL)
    )
