"""Publishes the events of a group, each once: the stream itself tells which of them it has.

A group hears its own events too. So after a crash or a rebuild it reads EVENTS to the end before it publishes, and
publishes what it has not heard: ids follow from the stream alone, and an event that is there is never sent again.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from shared.engine.monitor.troubles import Troubles
from shared.engine.publish.relay import Relay
from shared.groups.fold.flow_state import Said
from shared.groups.read.intake import own_aggregate
from shared.ports.broker import Broker
from shared.ports.clock import Clock
from shared.ports.rows import JournalRow, NumberedRow
from shared.wire.messages import (
    CAUSATION_DEPTH,
    CAUSATION_ID,
    CORRELATION_ID,
    MSG_ID,
    OCCURRED_AT,
    SCHEMA_VERSION,
    event_id,
    event_subject,
    rfc3339,
)

ALL: Final = 0
"""The relay publishes by partition; a group has one for all its rows."""

_encoder = msgspec.json.Encoder()


class Outbox:
    """The events of one group on their way into EVENTS."""

    def __init__(self, broker: Broker, clock: Clock, troubles: Troubles) -> None:
        self._is_open = False
        self._relay = Relay(broker, clock, linger_s={}, troubles=troubles)

    @property
    def is_resting(self) -> bool:
        """Whether no event waits for its publication."""
        return self._is_open and not self._relay.is_publishing

    @property
    def is_open(self) -> bool:
        """Whether new events are published."""
        return self._is_open

    async def run(self) -> None:
        """Publish for ever."""
        await self._relay.run()

    def close(self) -> None:
        """Publish nothing until the stream has been read to its end."""
        self._is_open = False
        self._relay.revoke(ALL)

    def open(self, unpublished: Sequence[NumberedRow]) -> None:
        """The stream has been read to its end: it lacks these events."""
        self._is_open = True
        self._relay.assign(ALL)
        self._relay.resume(self._relay.connection)
        self._relay.add(unpublished)

    def add(self, rows: Sequence[NumberedRow]) -> None:
        """Publish new events."""
        self._relay.drain_acknowledged()  # Not recorded: the group hears its own event when EVENTS has it.
        if self._is_open:
            self._relay.add(rows)


def journal_rows(context: str, said: Iterable[Said]) -> list[JournalRow]:
    """The journal rows of the events that a group of this read side publishes."""
    return [_row(context, one) for one in said]


def _row(context: str, said: Said) -> JournalRow:
    kind = said.says.type.__name__
    key = getattr(said.event, said.says.key)
    aggregate = own_aggregate(kind, key)
    identity = event_id(context, aggregate, said.number)
    cause = said.cause
    depth = cause.headers.get(CAUSATION_DEPTH, "0")
    headers = {
        MSG_ID: identity,
        CORRELATION_ID: cause.headers.get(CORRELATION_ID, cause.told.key or key),
        CAUSATION_ID: cause.identity,
        CAUSATION_DEPTH: str(int(depth) + 1 if depth.isdecimal() else 1),
        OCCURRED_AT: rfc3339(cause.told.at),
        SCHEMA_VERSION: "1",
    }
    subject = event_subject(context, kind, key)
    body = _encoder.encode(said.event)
    return JournalRow(identity, aggregate, said.number, subject, kind, headers, body, ALL)
