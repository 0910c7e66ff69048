"""Publishes journal rows one by one and judges each answer of the broker."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import structlog

from shared.engine.monitor.troubles import STREAM_FULL
from shared.ports.broker import Broker, BrokerError, BrokerRefusedError, BrokerUnavailableError, Outgoing, Published
from shared.ports.rows import NumberedRow
from shared.wire.messages import MSG_ID
from shared.wire.streams import STREAM_OF

_log = structlog.get_logger("chorus.relay")


class Refused(NamedTuple):
    """The broker refuses the row for good; `seq` is where another message stands under its id, or 0."""

    reason: str
    seq: int = 0


class Full(NamedTuple):
    """The row's stream has reached its bound."""

    error: BrokerError


class Unanswered(NamedTuple):
    """The broker did not answer: it may have the row or not."""

    error: BrokerError


Answer: TypeAlias = int | Refused | Full | Unanswered
"""The row's sequence in its stream, or why it has none."""


def stream_of(numbered: NumberedRow) -> str:
    """The stream that takes the row."""
    return STREAM_OF[numbered.row.subject.split(".", 1)[0]]


def outgoing(numbered: NumberedRow) -> Outgoing:
    """The row as a message."""
    row = numbered.row
    return Outgoing(row.subject, row.headers, row.body)


async def publish_each(broker: Broker, rows: Sequence[NumberedRow]) -> list[Answer]:
    """Publish rows side by side; the answers in the order of the rows."""
    given: Sequence[Published | BrokerError]
    try:
        given = await broker.publish_each([outgoing(numbered) for numbered in rows])
    except BrokerError as error:
        given = [error] * len(rows)
    return [await _judged(broker, numbered, answer) for numbered, answer in zip(rows, given, strict=True)]


async def is_answering(broker: Broker, stream: str) -> bool:
    """Whether the broker answers a request about the stream; tells a silent broker from one row that gets no answer."""
    try:
        await broker.stream_info(stream)
    except BrokerUnavailableError:
        return False
    except BrokerError:
        return True
    return True


async def _judged(broker: Broker, numbered: NumberedRow, answer: Published | BrokerError) -> Answer:
    try:
        if isinstance(answer, BrokerError):
            raise answer
        stream = stream_of(numbered)
        if answer.duplicate and not await _is_ours(broker, stream, answer.sequence, numbered):
            reason = f"{stream} has another message under the id {numbered.row.event_id}, at sequence {answer.sequence}"
            return Refused(reason, answer.sequence)
    except BrokerRefusedError as error:
        return Full(error) if error.code == STREAM_FULL else Refused(str(error))
    except BrokerError as error:
        _log.debug("publish unanswered, sent again", id=numbered.row.event_id, reason=str(error))
        return Unanswered(error)
    return answer.sequence


async def _is_ours(broker: Broker, stream: str, sequence: int, numbered: NumberedRow) -> bool:
    stored = await broker.get(stream, sequence)
    if stored is None:
        return True  # A fired timer leaves its stream; its id proves that it was there.
    return stored.headers.get(MSG_ID) == numbered.row.headers[MSG_ID] and stored.body == numbered.row.body
