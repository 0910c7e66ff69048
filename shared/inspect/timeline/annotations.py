"""Annotates the messages of a saga from the databases on this machine: which are parked, which are in no journal.

A database knows more than the events of its context. Without it, the events `MessageParked` and `MessageUnparked` tell
which messages are parked.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from shared.inspect.timeline.tree import Message
from shared.ports.clock import moment
from shared.ports.databases import Databases
from shared.ports.store import DatabaseBusyError, DatabaseError
from shared.ports.store_reader import StoreReader
from shared.wire.messages import (
    CAUSATION_HASH,
    CAUSATION_ID,
    CORRELATION_ID,
    MalformedKeyError,
    MalformedSubjectError,
    parse_subject,
)
from shared.wire.streams import EVENTS

PARKED: Final = "MessageParked"
UNPARKED: Final = "MessageUnparked"

JournalCheck: TypeAlias = Literal["same", "other_body", "absent"]
"""The finding in the journal of the context under the id of an event: the same body, another body, or no row."""


class Annotations(Struct, frozen=True, kw_only=True):
    """By message id: the contexts in which the message is parked, and the check against the journal of its context.

    `missing` are parked messages that EVENTS does not hold, such as commands that a context could not decide.
    """

    parked: Mapping[str, Sequence[str]] = {}
    journal: Mapping[str, JournalCheck] = {}
    missing: Sequence[Message] = ()


def annotate(databases: Databases, contexts: Iterable[str], key: str, messages: Sequence[Message]) -> Annotations:
    """Check these messages against the database of each context, and find further parked messages of the saga `key`."""
    parked = _parked_by_events(messages)
    journal: dict[str, JournalCheck] = {}
    missing: dict[str, Message] = {}
    for context in contexts:
        try:
            with databases.reading(context) as reader:
                waiting = _parked(reader, key, messages)
                journal |= _journal(reader, [m for m in messages if (m.stream, m.context) == (EVENTS, context)])
        except (DatabaseError, DatabaseBusyError):
            continue  # The database is on another machine, or cannot be read now.
        parked = {one for one in parked if one[1] != context} | {(message.id, context) for message in waiting}
        missing |= {message.id: message for message in waiting if message not in messages}
    by_id: dict[str, list[str]] = defaultdict(list)
    for message_id, context in sorted(parked):
        by_id[message_id].append(context)
    return Annotations(parked=by_id, journal=journal, missing=tuple(missing.values()))


def _parked_by_events(messages: Sequence[Message]) -> set[tuple[str, str]]:
    """(message id, context) of each message that was parked and not unparked since, by the events alone."""
    parked: set[tuple[str, str]] = set()
    for message in sorted(messages, key=lambda message: message.sequence):
        if message.stream != EVENTS or message.type not in (PARKED, UNPARKED):
            continue
        try:
            body = msgspec.json.decode(message.body)
        except (msgspec.DecodeError, RecursionError):
            continue
        if isinstance(body, dict) and isinstance(body.get("message_id"), str):
            entry = body["message_id"], message.context
            if message.type == PARKED:
                parked.add(entry)
            else:
                parked.discard(entry)
    return parked


def _parked(reader: StoreReader, key: str, messages: Sequence[Message]) -> list[Message]:
    """The parked messages that are among `messages` or belong to the saga."""
    by_id = {message.id: message for message in messages}
    by_sequence = {(message.stream, message.sequence): message for message in messages}
    found = []
    for _, row, _ in reader.parked():
        if stored := by_id.get(row.message_id) or by_sequence.get((row.stream, row.seq)):
            found.append(stored)
            continue
        if key not in (row.key, row.headers.get(CORRELATION_ID)):
            continue
        try:
            about = parse_subject(row.subject)
        except (MalformedSubjectError, MalformedKeyError):
            continue
        found.append(
            Message(
                id=row.message_id,
                caused_by=row.headers.get(CAUSATION_ID, ""),
                commanded=CAUSATION_HASH in row.headers,
                kind=about.kind,
                context=about.context,
                type=about.type,
                key=about.key,
                at=moment(row.at_ns),
                stream=row.stream,
                sequence=row.seq,
                body=row.body,
            )
        )
    return found


def _journal(reader: StoreReader, messages: Sequence[Message]) -> dict[str, JournalCheck]:
    """The check by id. When copies under one id differ, any difference wins over `same`."""
    bodies = reader.bodies([message.id for message in messages])
    found: dict[str, JournalCheck] = {}
    for message in messages:
        if message.id not in bodies:
            found[message.id] = "absent"
        elif bodies[message.id] != message.body:
            found[message.id] = "other_body"
        else:
            found.setdefault(message.id, "same")
    return found
