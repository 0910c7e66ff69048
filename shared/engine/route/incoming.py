"""A message on its way to a decision: its content, its source, and its handling.

Routing makes it, and nothing changes it afterwards.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from shared.context import Command, Detail
from shared.endpoint import Endpoint
from shared.ports.broker import Delivery
from shared.ports.rows import EffectRow, ParkedVerdict
from shared.wire.streams import EVENTS


class Decide(NamedTuple):
    """Put these commands to their deciders, in order. There may be none: a policy may answer an event with nothing."""

    commands: Sequence[Command]


class Refuse(NamedTuple):
    """Answer a command with CommandRejected; no decider sees it."""

    reason: str
    details: tuple[Detail, ...]


class Poison(NamedTuple):
    """Park the message: it cannot be read, or a policy raised. `reason` is for the operator."""

    reason: str


class Stranger(NamedTuple):
    """Record the message and decide nothing: it cannot be from the context that its subject names."""

    reason: str


class Ignore(NamedTuple):
    """Do nothing and remember nothing: the context does not react to this type of message."""


Handling: TypeAlias = Decide | Refuse | Poison | Stranger | Ignore

IGNORE: Final = Ignore()


class Asker(NamedTuple):
    """A client that waits for the answer to its request, number `n` of this process."""

    n: int
    endpoint: Endpoint
    command: Command


Source: TypeAlias = Delivery | ParkedVerdict | EffectRow | Asker
"""Where a message comes from: a stream, the parked messages, an effect whose outcome is known now, or a client."""


class Incoming(NamedTuple):
    """One message. `depth` is its causation depth; `content` is the hash of its body, by which dedup compares messages.

    `traceparent` is the span that it comes from, as a header says it; empty for a message that is not traced.
    """

    stream: str
    """Empty for the outcome of an effect and for a request."""
    partition: int
    key: str
    message_id: str
    type: str
    content: bytes
    correlation_id: str
    depth: int
    source: Source
    handling: Handling
    traceparent: str = ""

    @property
    def ids(self) -> Mapping[str, str]:
        """The saga and the message, as every log line about it names them."""
        return {"saga": self.correlation_id, "message": self.message_id}


def replies_to(messages: Sequence[Incoming]) -> list[str]:
    """The reply subjects that acknowledge these messages; EVENTS needs none."""
    return [
        message.source.reply
        for message in messages
        if isinstance(message.source, Delivery) and message.source.reply and message.stream != EVENTS
    ]
