"""Records strangers' messages without deciding them or using up their ids."""

from collections.abc import Sequence

import structlog

from shared.engine.route.incoming import Decide, Incoming, Stranger
from shared.ports.broker import Delivery
from shared.ports.clock import moment
from shared.ports.rows import ParkedVerdict, StrangerRow
from shared.wire.messages import rfc3339

_log = structlog.get_logger("chorus.decisions")


def set_aside(messages: Sequence[Incoming]) -> tuple[Sequence[Incoming], Sequence[StrangerRow]]:
    """Split a batch into the messages to decide and the records of strangers' messages, which are logged as well.

    One that an older release parked stays in the batch and decides nothing, so that its key is released.
    """
    if not any(type(message.handling) is Stranger for message in messages):
        return messages, ()
    left: list[Incoming] = []
    records: list[StrangerRow] = []
    for message in messages:
        if not isinstance(message.handling, Stranger):
            left.append(message)
            continue
        records.append(_record(message, message.handling.reason))
        if isinstance(message.source, ParkedVerdict):
            left.append(message._replace(handling=Decide(())))
    return left, records


def _record(message: Incoming, reason: str) -> StrangerRow:
    match message.source:
        case Delivery() as source:
            subject, sequence, at_ns = source.subject, source.sequence, source.at_ns
        case ParkedVerdict(row=row):
            subject, sequence, at_ns = row.subject, row.seq, row.at_ns
        case _:
            raise AssertionError("neither a request nor an outcome has a form")
    _log.error("a stranger's message is set aside", **message.ids, subject=subject, reason=reason)
    return StrangerRow(message.message_id, sequence, subject, reason, rfc3339(moment(at_ns)), "", "")
