"""The events that the engine publishes in every context, under the key of the message that caused them."""

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from shared.wire.messages import TOLD


class Detail(Struct, frozen=True, kw_only=True):
    """A problem of a command; `path` is a JSON path such as `$.items[0].name`."""

    path: str
    message: str


Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A count that fits into a column of the database."""


class CommandRejected(Struct, frozen=True, kw_only=True):
    """A command was refused, by a decider or before one saw it; `reason` and `details` tell its sender why."""

    command: str
    command_id: str
    reason: Annotated[str, TOLD]
    details: tuple[Detail, ...] = ()


class MessageParked(Struct, frozen=True, kw_only=True):
    """A message waits for an operator, because the context's code fails on it or an earlier message of its key waits.

    The event holds the message, so that a rebuilt database can park it again: a command is no longer in its stream.
    `body` is cut at the size limit of bodies; `content_hash` is the hash of the whole body, in hex. `reason` is empty
    for a message that waits behind another. When the message fails again for another reason, the engine publishes the
    event again under the next version.
    """

    message_id: str
    subject: str
    stream: str
    sequence: Count
    partition: Count
    stored_at_ns: Count
    headers: dict[str, str]
    body: bytes
    content_hash: str
    reason: Annotated[str, TOLD]


class MessageUnparked(Struct, frozen=True, kw_only=True):
    """A parked message was decided, or an operator (`who`) skipped it because of `why`."""

    message_id: str
    outcome: Literal["decided", "skipped"]
    who: str = ""
    why: str = ""


ENGINE_EVENTS: Final[tuple[type[Struct], ...]] = (CommandRejected, MessageParked, MessageUnparked)
"""No context may declare an event of these names."""
