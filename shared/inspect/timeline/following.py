"""Follows a saga: reads it again and again, and yields its messages whenever there are new ones."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import anyio

from shared.inspect.timeline.tree import Message, read_saga
from shared.ports.broker import Broker

FOLLOW_S: Final = 0.5
"""The pause between two reads of a saga, which has some dozens of messages."""


async def following(broker: Broker, key: str) -> AsyncIterator[Sequence[Message]]:
    """Yield the messages that are new since the last ones, in the sequence of time; never ends."""
    known: set[tuple[str, int]] = set()
    while True:
        found = [one for one in await read_saga(broker, key) if (one.stream, one.sequence) not in known]
        known |= {(one.stream, one.sequence) for one in found}
        yield sorted(found, key=lambda one: (one.at, one.stream, one.sequence))
        await anyio.sleep(FOLLOW_S)
