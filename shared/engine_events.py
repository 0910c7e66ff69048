"""The events that the engine itself publishes, in every context and under the key of the message that led to them."""

from typing import Final, Literal

from msgspec import Struct

from shared.context import Detail


class CommandRejected(Struct, frozen=True, kw_only=True):
    """A command that cannot be obeyed was answered: `reason` and `details` say what to mend. Every context has it."""

    command: str
    command_id: str
    reason: str
    details: tuple[Detail, ...] = ()


class MessageParked(Struct, frozen=True, kw_only=True):
    """A message waits for an operator, because our code fails on it or because an earlier one of its key waits.

    Every context has it. It holds the message, so that a rebuilt database can park it again: a command has left its
    stream by now. `reason` is empty for a message that only waits behind another.
    """

    message_id: str
    subject: str
    stream: str
    sequence: int
    stored_at_ns: int
    headers: dict[str, str]
    body: bytes
    reason: str


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
