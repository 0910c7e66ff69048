"""Provenance: tells by its form whether a message in EVENTS can be from a context.

Any client that may publish can use an id of a context. A message that the journal lacks is a stranger's if it does not
have the form of the context's events. If it has the form, the database is an older copy that lost the event.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from shared.engine.decide.headers import MalformedHeaderError, checked, correlation_in, depth_in
from shared.engine.decide.outgoing import parked_aggregate, unparked_aggregate
from shared.engine.decide.routing import Routing
from shared.ports.broker import Stored
from shared.wire.engine_events import ENGINE_EVENTS, MessageParked, MessageUnparked
from shared.wire.messages import (
    CAUSATION_DEPTH,
    CAUSATION_DEPTH_AT_MOST,
    CAUSATION_HASH,
    CAUSATION_ID,
    CORRELATION_ID,
    MSG_ID,
    NEVER,
    OCCURRED_AT,
    SCHEMA_VERSION,
    Subject,
    aggregate_name,
    check_message_id,
    parse_subject,
    partition_of,
)

OF_EVERY_EVENT = (CORRELATION_ID, CAUSATION_ID, CAUSATION_DEPTH, OCCURRED_AT, SCHEMA_VERSION)
"""The headers of every event, besides its id."""

_VERSION = re.compile(r"(?P<aggregate>.+)@[1-9][0-9]{0,11}(\.[1-9][0-9]{0,8})?")
"""The part of an id after the context: an aggregate, its version, and the edition if a stranger had taken the id."""
_HASH = re.compile(r"[0-9a-f]{32}")


class _NotOursError(ValueError):
    """The message cannot be from the context; the text says why."""


class _UnknownTypeError(_NotOursError):
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
            raise _NotOursError(f"its subject is of {subject.context}")
        self._check_headers(subject, stored.headers)
        self._check_id(subject, stored)

    def _check_headers(self, subject: Subject, headers: Mapping[str, str]) -> None:
        if missing := [name for name in OF_EVERY_EVENT if not headers.get(name)]:
            raise _NotOursError(f"it has no header {', '.join(missing)}")
        if subject.partition != partition_of(subject.key, self._routing.partitions):
            raise _NotOursError(f"its key {subject.key} does not belong to partition {subject.partition}")
        correlation_in(headers)
        depth_in(headers, CAUSATION_DEPTH_AT_MOST + 1)
        checked(OCCURRED_AT, datetime.fromisoformat, headers[OCCURRED_AT])
        checked(SCHEMA_VERSION, int, headers[SCHEMA_VERSION])
        if CAUSATION_HASH in headers and _HASH.fullmatch(headers[CAUSATION_HASH]) is None:
            raise MalformedHeaderError(CAUSATION_HASH, "it is not a content hash")

    def _check_id(self, subject: Subject, stored: Stored) -> None:
        context, _, rest = checked(MSG_ID, check_message_id, stored.headers.get(MSG_ID, "")).partition("/")
        found = _VERSION.fullmatch(rest)
        if context != self.context or found is None:
            raise _NotOursError(f"its id is not one that {self.context} gives")
        if (decoder := self._decoders.get(subject.type)) is not None:
            event = decoder.decode(stored.body, key=subject.key, at=NEVER, headers=stored.headers)
            named = self._aggregate_of(event, subject)
        elif (own := self._own_decoders.get(subject.type)) is not None:
            named = _aggregate_of_own(own.decode(stored.body), found["aggregate"])
        else:
            unknown = _UnknownTypeError if aggregate_name(found["aggregate"]) in self._names else _NotOursError
            raise unknown(f"{self.context} publishes no {subject.type}")
        if found["aggregate"] != named:
            raise _NotOursError(f"its id names {found['aggregate']}, its content {named}")

    def _aggregate_of(self, event: Struct, subject: Subject) -> str:
        kind = type(event)
        key = self._routing.key_of[kind](event)
        if key != subject.key:
            raise _NotOursError(f"its body names {str(key)[:80]!r}, its subject {subject.key!r}")
        return self._routing.aggregate_of[kind].id_of(event)


def _aggregate_of_own(event: Struct, found: str) -> str:
    match event:
        case MessageParked():
            if _HASH.fullmatch(event.content_hash) is None:
                raise _NotOursError("its content_hash is not a content hash")
            return parked_aggregate(event.message_id)
        case MessageUnparked():
            return unparked_aggregate(event.message_id)
        case _:  # A refusal's id follows from what the command said, and that is known only of commands.
            return found if re.fullmatch(r"rejection-[0-9a-f]{32}", found) else "rejection-…"
