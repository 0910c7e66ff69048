"""Whether a message in EVENTS can be one that this context published: by its id, its headers, its subject and its body.

Whoever reaches the broker may publish anything under any subject. A message of another form than the engine gives is a
stranger's: it is recorded and decided by nobody. A message of the right form may still be forged; rights at the broker
prevent that, not this.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from shared.bodies import BodyDecoder, MalformedBodyError
from shared.context import Context
from shared.engine_events import ENGINE_EVENTS
from shared.messages import (
    CAUSATION_DEPTH,
    CAUSATION_ID,
    CORRELATION_ID,
    MSG_ID,
    NEVER,
    OCCURRED_AT,
    SCHEMA_VERSION,
    aggregate_name,
    parse_subject,
    partition_of,
    split_edition,
)
from shared.ports import Stored

HEADERS: Final = (CORRELATION_ID, CAUSATION_ID, CAUSATION_DEPTH, OCCURRED_AT, SCHEMA_VERSION)
"""The engine gives every event these headers."""

_OWN_ID = re.compile(r"([^/@]+)/(.+)@([1-9][0-9]{0,11})")


class UnknownTypeError(Exception):
    """An event has the form of this context's, and a type that this release does not publish."""


class Provenance:
    """The form of the events of one context."""

    def __init__(self, context: Context, *, partitions: int) -> None:
        self.context = context.name
        self._partitions = partitions
        self._names = {aggregate.name for aggregate in context.aggregates}
        self._aggregates = {event.__name__: aggregate for aggregate in context.aggregates for event in aggregate.events}
        published: Mapping[str, type[Struct]] = {
            event.__name__: event for event in (*context.publishes, *ENGINE_EVENTS)
        }
        self._decoders: dict[str, BodyDecoder[Any]] = {
            name: BodyDecoder(event, strict=False) for name, event in published.items()
        }

    def why_not(self, stored: Stored) -> str | None:
        """Why the message cannot be one of this context's; None when it can.

        Raises:
            UnknownTypeError: only its type is unknown, so a newer release may have published it.
        """
        try:
            subject = parse_subject(stored.subject)
        except ValueError as error:
            return str(error)
        if subject.context != self.context or subject.kind != "evt":
            return f"{stored.subject} is not a subject of {self.context}'s events"
        if subject.partition != partition_of(subject.key, self._partitions):
            return f"{subject.key} does not belong to partition {subject.partition}"
        identity, _ = split_edition(stored.headers.get(MSG_ID, ""))
        own = _OWN_ID.fullmatch(identity)
        if own is None or own[1] != self.context:
            return f"{identity or 'no'} {MSG_ID} is not the id of an event of {self.context}"
        missing = [header for header in HEADERS if not stored.headers.get(header)]
        if missing:
            return f"it has no header {', '.join(missing)}"
        decoder = self._decoders.get(subject.type)
        if decoder is None:
            if aggregate_name(own[2]) not in self._names:
                return f"{self.context} publishes no {subject.type}"
            raise UnknownTypeError(f"{identity} is {subject.type}, which this release does not know; run a newer one")
        try:
            event = decoder.decode(stored.body, key=subject.key, at=NEVER)
        except MalformedBodyError as error:
            return f"{subject.type}: {error}"
        aggregate = self._aggregates.get(subject.type)
        if aggregate is None:
            return None
        if getattr(event, aggregate.key) != subject.key:
            return f"its body is about {getattr(event, aggregate.key)!r}, its subject about {subject.key}"
        if aggregate.id_of(event) != own[2]:
            return f"{identity} is not the id of {aggregate.id_of(event)}"
        return None
