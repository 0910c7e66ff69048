"""The events that the engine itself publishes, in every context and under the key of the message that led to them."""

from typing import Annotated, Final, Literal

from msgspec import Struct

from shared.wire.messages import TOLD


class Detail(Struct, frozen=True, kw_only=True):
    """What is wrong with a command, and where: `path` is a JSON path such as `$.items[0].name`."""

    path: str
    message: str


class CommandRejected(Struct, frozen=True, kw_only=True):
    """A command that cannot be obeyed was answered: `reason` and `details` say what to mend. Every context has it."""

    command: str
    command_id: str
    reason: Annotated[str, TOLD]
    details: tuple[Detail, ...] = ()


class MessageParked(Struct, frozen=True, kw_only=True):
    """A message waits for an operator, because our code fails on it or because an earlier one of its key waits.

    Every context has it. It holds the message, so that a rebuilt database can park it again: a command has left its
    stream by now. `body` is cut where it is larger than a body may be; `content_hash` is of the whole body, in hex.
    `reason` is empty for a message that only waits behind another. A message that fails again for another reason is
    said to be parked under the next version.
    """

    message_id: str
    subject: str
    stream: str
    sequence: int
    partition: int
    stored_at_ns: int
    headers: dict[str, str]
    body: bytes
    content_hash: str
    reason: Annotated[str, TOLD]


class MessageUnparked(Struct, frozen=True, kw_only=True):
    """A parked message was decided at last, or an operator skipped it. Every context has it.

    `who` and `why` say who skipped it and for what reason.
    """

    message_id: str
    outcome: Literal["decided", "skipped"]
    who: str = ""
    why: str = ""


ENGINE_EVENTS: Final[tuple[type[Struct], ...]] = (CommandRejected, MessageParked, MessageUnparked)
"""A context declares none of these names."""
