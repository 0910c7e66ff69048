"""Publishes a command as a client does, and follows EVENTS until an event answers it."""

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import anyio

from shared.ports.broker import (
    STREAM_NOT_FOUND,
    Broker,
    BrokerRefusedError,
    NoRespondersError,
    Outgoing,
    Published,
    Stored,
)
from shared.wire.engine_events import MessageParked
from shared.wire.messages import (
    ACTING_FOR,
    CAUSATION_HASH,
    CAUSATION_ID,
    MSG_ID,
    check_actor,
    check_command_id,
    command_subject,
    content_hash,
    parse_subject,
)
from shared.wire.streams import COMMANDS, EVENTS

POLL_S: Final = 0.025
EVENTS_WITHIN_S: Final = 1.0
"""A worker removes a command from COMMANDS once it has decided it. The events follow within this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A command that COMMANDS has stored. Its events name `id` as their cause and begin at sequence `since`."""

    id: str
    subject: str
    body: bytes
    published: Published
    since: int

    @property
    def hash(self) -> str:
        """The content hash that its events carry, in hex."""
        return content_hash(self.body).hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a command. `quiet`: no event followed the decision. `none`: the time was up first."""

    kind: Literal["answered", "rejected", "quiet", "none"]
    events: tuple[Stored, ...] = ()


async def send(
    broker: Broker,
    context: str,
    command: str,
    key: str,
    body: bytes,
    message_id: str | None,
    *,
    watcher: Broker | None = None,
    acting_for: str = "",
) -> Sent:
    """Publish a command and wait for its PubAck. `watcher` may read EVENTS, and is needed to wait for an answer.

    Raises:
        BrokerRefusedError: the stream refused the command, or no stream takes it (STREAM_NOT_FOUND).
        BrokerUnavailableError: the outcome is unknown; the stream may have stored it.
    """
    subject = command_subject(context, command, key)
    identity = check_command_id(message_id or f"send-{uuid.uuid4().hex}")
    since = 1 if watcher is None else (await watcher.stream_info(EVENTS)).last_sequence + 1
    try:
        headers = {MSG_ID: identity, **({ACTING_FOR: check_actor(acting_for)} if acting_for else {})}
        published = await broker.publish(Outgoing(subject, headers, body))
    except NoRespondersError as error:
        raise BrokerRefusedError(STREAM_NOT_FOUND, f"no stream takes {subject}") from error
    return Sent(
        id=identity,
        subject=subject,
        body=body,
        published=published,
        since=1 if message_id else since,  # A context may have answered a command with this id long ago.
    )


async def wait_for_outcome(broker: Broker, sent: Sent, timeout_s: float) -> Outcome:
    """Wait until an event answers the command, or until the command was decided without one."""
    key = sent.subject.rpartition(".")[2]
    gone_at: float | None = None
    with anyio.move_on_after(timeout_s):
        async for arrived in follow(broker, EVENTS, f"evt.*.*.*.{key}", first=sent.since):
            events = tuple(stored for stored in arrived if _caused_by(stored, sent))
            if events:
                return Outcome(kind="rejected" if any(map(is_refusal, events)) else "answered", events=events)
            now = anyio.current_time()
            if gone_at is not None and now - gone_at > EVENTS_WITHIN_S:
                return Outcome(kind="quiet")
            if gone_at is None and await broker.get(COMMANDS, sent.published.sequence) is None:
                gone_at = now
    return Outcome(kind="none")


def _caused_by(stored: Stored, sent: Sent) -> bool:
    """Whether the command caused the event. Another command under the same id has another hash.

    An event that follows from an event carries no hash.
    """
    return stored.headers.get(CAUSATION_ID) == sent.id and stored.headers.get(CAUSATION_HASH, sent.hash) == sent.hash


def is_refusal(stored: Stored) -> bool:
    """Whether an event refuses: `CommandRejected`, an event `…Rejected` of the context, or `MessageParked`."""
    kind = parse_subject(stored.subject).type
    return kind.endswith("Rejected") or kind == MessageParked.__name__


async def follow(broker: Broker, stream: str, subject: str, *, first: int) -> AsyncIterator[Sequence[Stored]]:
    """Yield every POLL_S the new messages under a subject, from sequence `first` on; an empty sequence when none."""
    while True:
        last = (await broker.stream_info(stream)).last_sequence
        if last >= first:
            yield [stored async for stored in broker.read(stream, subject, first=first, up_to=last)]
            first = last + 1
        else:
            yield ()
        await anyio.sleep(POLL_S)
