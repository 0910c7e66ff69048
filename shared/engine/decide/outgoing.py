"""Makes the journal rows that a decision leads to: events, refusals, dead letters, parking events and timers."""

from datetime import datetime
from typing import Any, Final

import msgspec

from shared.context import Detail, Event
from shared.engine.route.incoming import Asker, Incoming
from shared.engine.route.tracing import NOT_TRACING, Tracing
from shared.ports.broker import Delivery
from shared.ports.rows import JournalRow, ParkedRow, ParkedVerdict
from shared.wire.bodies import BODY_BYTES_AT_MOST
from shared.wire.engine_events import CommandRejected, MessageParked, MessageUnparked
from shared.wire.messages import (
    CAUSATION_DEPTH,
    CAUSATION_HASH,
    CAUSATION_ID,
    CAUSATION_SUBJECT,
    CORRELATION_ID,
    MSG_ID,
    OCCURRED_AT,
    SCHEDULE,
    SCHEDULE_TARGET,
    SCHEDULE_TTL,
    SCHEMA_VERSION,
    TIMER_ID,
    aggregate_id,
    content_hash,
    dead_letter_subject,
    due_subject,
    event_id,
    event_subject,
    partition_of,
    rfc3339,
    split_edition,
    timer_subject,
)
from shared.wire.streams import COMMANDS
from shared.wire.trace_context import TRACEPARENT

DUE_KEPT: Final = "720h"
"""How long a timer that has fired stays in TIMERS for a context that does not run."""

UNKNOWN_TYPE: Final = "Unknown"

MESSAGE_ID_REUSED: Final = "message_id_reused"
"""The reason of the refusal when a command's id came before with other content."""

_encoder = msgspec.json.Encoder()


class OutgoingRows:
    """Makes the rows of one batch of one context. `now` becomes their Occurred-At."""

    def __init__(
        self,
        context: str,
        *,
        schema_version: int,
        partitions: int,
        now: datetime,
        tracing: Tracing = NOT_TRACING,
    ) -> None:
        self._context = context
        self._schema_version = str(schema_version)
        self._partitions = partitions
        self._now = rfc3339(now)
        self._tracing = tracing

    def event(self, cause: Incoming, event: Event, aggregate: str, key: str, version: int) -> JournalRow:
        """An event of an aggregate; raises MalformedKeyError when its key cannot be a token of a subject."""
        kind = type(event).__name__
        return self._row(
            cause,
            event_id(self._context, aggregate, version),
            aggregate,
            version,
            event_subject(self._context, kind, key),
            kind,
            key,
            event,
        )

    def rejection(self, cause: Incoming, reason: str, details: tuple[Detail, ...]) -> JournalRow:
        """The answer to a refused command. Its id follows from the command's id and content, so it exists once."""
        event = CommandRejected(command=cause.type, command_id=cause.message_id, reason=reason, details=details)
        kind = CommandRejected.__name__
        return self._row_of_content(cause, "rejection", event_subject(self._context, kind, cause.key), kind, event)

    def dead_letter(self, cause: Incoming, delivery: Delivery, reason: str) -> JournalRow:
        """A copy of a poison message with the reason, cut to the size that a body may have."""
        kind = cause.type or UNKNOWN_TYPE
        letter = {
            "context": self._context,
            "message_id": cause.message_id,
            "subject": delivery.subject,
            "stream": cause.stream,
            "sequence": delivery.sequence,
            "reason": reason,
            "body": delivery.body[:BODY_BYTES_AT_MOST].decode(errors="backslashreplace"),
        }
        return self._row_of_content(cause, "dead", dead_letter_subject(self._context, kind, cause.key), kind, letter)

    def parked(self, cause: Incoming, row: ParkedRow, *, version: int = 1) -> JournalRow:
        """An event that holds the whole `parked` row, for a rebuild; `version` counts the reasons so far."""
        event = MessageParked(
            message_id=row.message_id,
            subject=row.subject,
            stream=row.stream,
            sequence=row.seq,
            partition=row.partition,
            stored_at_ns=row.at_ns,
            headers=dict(row.headers),
            body=row.body,
            content_hash=cause.content.hex(),
            reason=row.reason,
        )
        return self._about_parked(cause, parked_aggregate(row.message_id), version, event)

    def unparked(self, cause: Incoming, waiting: ParkedVerdict) -> JournalRow:
        """An event that says how a parked message ended: decided, or skipped by an operator."""
        event = MessageUnparked(
            message_id=cause.message_id,
            outcome="skipped" if waiting.skip else "decided",
            who=waiting.who,
            why=waiting.why,
        )
        return self._about_parked(cause, unparked_aggregate(cause.message_id), 1, event)

    def _about_parked(self, cause: Incoming, aggregate: str, version: int, event: Event) -> JournalRow:
        kind = type(event).__name__
        subject = event_subject(self._context, kind, cause.key)
        identity = event_id(self._context, aggregate, version)
        return self._row(cause, identity, aggregate, version, subject, kind, cause.key, event)

    def _row_of_content(self, cause: Incoming, what: str, subject: str, kind: str, body: Any) -> JournalRow:
        aggregate = aggregate_id(what, content_hash(cause.message_id.encode() + cause.content).hex())
        identity = event_id(self._context, aggregate, 1)
        return self._row(cause, identity, aggregate, 1, subject, kind, cause.key, body)

    def _row(
        self, cause: Incoming, identity: str, aggregate: str, version: int, subject: str, kind: str, key: str, body: Any
    ) -> JournalRow:
        headers = {
            MSG_ID: identity,
            CORRELATION_ID: cause.correlation_id,
            CAUSATION_ID: cause.message_id,
            CAUSATION_DEPTH: str(cause.depth + 1),
            OCCURRED_AT: self._now,
            SCHEMA_VERSION: self._schema_version,
        }
        if cause.stream == COMMANDS:  # A command leaves its stream, so a rebuild needs its content hash here.
            headers[CAUSATION_HASH] = cause.content.hex()
        elif isinstance(cause.source, Asker):  # A request is in no stream, and a rebuild answers it again.
            headers[CAUSATION_HASH] = cause.content.hex()
            headers[CAUSATION_SUBJECT] = cause.source.endpoint.subject
        if cause.traceparent and (traceparent := self._tracing.of_row(cause.traceparent, identity)):
            headers[TRACEPARENT] = traceparent
        partition = partition_of(key, self._partitions)
        return JournalRow(identity, aggregate, version, subject, kind, headers, _encoder.encode(body), partition)


def parked_aggregate(message_id: str) -> str:
    """The aggregate id of the `MessageParked` events about one message."""
    return aggregate_id("parked", content_hash(message_id.encode()).hex())


def unparked_aggregate(message_id: str) -> str:
    """The aggregate id of the `MessageUnparked` event about one message."""
    return aggregate_id("unparked", content_hash(message_id.encode()).hex())


def timer_row(context: str, row: JournalRow, timer: str, key: str, at: datetime) -> JournalRow:
    """The message by which the event in `row` arms a timer. The server publishes its body again when `at` comes.

    The depth starts again at 0: a chain of causes that waits for a deadline is no endless loop, and may go on for ever.
    The timer names its event without the edition, so its id stays when the event gets another edition. It says when the
    event occurred, and in which schema version it is.
    """
    armed_by, _ = split_edition(row.event_id)
    identity = f"{armed_by}/{timer}"
    headers = {
        MSG_ID: identity,
        TIMER_ID: identity,
        CORRELATION_ID: row.headers[CORRELATION_ID],
        CAUSATION_ID: armed_by,
        CAUSATION_DEPTH: "0",
        OCCURRED_AT: row.headers[OCCURRED_AT],
        SCHEMA_VERSION: row.headers[SCHEMA_VERSION],
        SCHEDULE: f"@at {rfc3339(at)}",
        SCHEDULE_TARGET: due_subject(context, timer, key),
        SCHEDULE_TTL: DUE_KEPT,
    }
    if traceparent := row.headers.get(TRACEPARENT):
        headers[TRACEPARENT] = traceparent
    subject = timer_subject(context, timer, key)
    return JournalRow(
        identity, f"{timer}/{row.aggregate}", row.version, subject, timer, headers, row.body, row.partition
    )
