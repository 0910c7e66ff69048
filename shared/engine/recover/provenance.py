"""Provenance: tells by its form whether a message in EVENTS can be from a context.

Any client that may publish can use an id of a context. A message that the journal lacks is a stranger's if it does not
have the form of the context's events. If it has the form, the database is an older copy that lost the event.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from shared.engine.decide.outgoing import parked_aggregate, unparked_aggregate
from shared.engine.route.event_form import HASH, StrangerError, check_event
from shared.engine.route.routing import Routing
from shared.ports.broker import Stored
from shared.wire.engine_events import ENGINE_EVENTS, MessageParked, MessageUnparked
from shared.wire.messages import NEVER, Subject, aggregate_name, parse_subject


class _UnknownTypeError(StrangerError):
    """The form is right and the type is unknown."""


class Provenance:
    """Checks messages against the form of one context's events."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        self.context = routing.context.name
        self._names = {aggregate.name for aggregate in routing.context.aggregates}
        self._decoders = {name: routing.context.decoder_of(kind) for name, kind in routing.event_types.items()}
        self._own_decoders: Mapping[str, msgspec.json.Decoder[Any]] = {
            kind.__name__: msgspec.json.Decoder(kind) for kind in ENGINE_EVENTS
        }

    def why_not(self, stored: Stored) -> str | None:
        """The reason why the context cannot have published this message; None when it can."""
        try:
            self._check(stored)
        except (ValueError, RecursionError) as error:  # Every check raises one of these, msgspec's too.
            return str(error)
        return None

    def may_be_newer(self, stored: Stored) -> bool:
        """Whether only the type of the message is unknown: a newer release of the context may have published it."""
        try:
            self._check(stored)
        except _UnknownTypeError:
            return True
        except (ValueError, RecursionError):
            return False
        return False

    def _check(self, stored: Stored) -> None:
        subject = parse_subject(stored.subject)
        if subject.context != self.context:
            raise StrangerError(f"its subject is of {subject.context}")
        self._check_id(subject, stored, check_event(subject, stored.headers, self._routing.partitions))

    def _check_id(self, subject: Subject, stored: Stored, aggregate: str) -> None:
        if (decoder := self._decoders.get(subject.type)) is not None:
            event = decoder.decode(stored.body, key=subject.key, at=NEVER, headers=stored.headers)
            named = self._aggregate_of(event, subject)
        elif (own := self._own_decoders.get(subject.type)) is not None:
            named = _aggregate_of_own(own.decode(stored.body), aggregate)
        else:
            unknown = _UnknownTypeError if aggregate_name(aggregate) in self._names else StrangerError
            raise unknown(f"{self.context} publishes no {subject.type}")
        if aggregate != named:
            raise StrangerError(f"its id names {aggregate}, its content {named}")

    def _aggregate_of(self, event: Struct, subject: Subject) -> str:
        kind = type(event)
        key = self._routing.key_of[kind](event)
        if key != subject.key:
            raise StrangerError(f"its body names {str(key)[:80]!r}, its subject {subject.key!r}")
        return self._routing.aggregate_of[kind].id_of(event)


def _aggregate_of_own(event: Struct, found: str) -> str:
    match event:
        case MessageParked():
            if HASH.fullmatch(event.content_hash) is None:
                raise StrangerError("its content_hash is not a content hash")
            return parked_aggregate(event.message_id)
        case MessageUnparked():
            return unparked_aggregate(event.message_id)
        case _:  # A refusal's id follows from what the command said, and that is known only of commands.
            return found if re.fullmatch(r"rejection-[0-9a-f]{32}", found) else "rejection-…"
