"""Reads EVENTS once, for any number of tasks that wait for events under a key."""

from collections import Counter

import anyio

from shared.inspect.timeline.tree import Message, message_of
from shared.ports.broker import Broker
from shared.send.publish import follow
from shared.wire.streams import EVENTS

ENDS_WITHIN_S = 20.0
QUIET_AFTER_S = 0.3
"""A key without an event for this long counts as quiet."""


class EventWatcher:
    """The events read so far, by key. One task runs `watch`; others wait."""

    def __init__(self) -> None:
        self._messages: dict[str, list[Message]] = {}
        self._news = anyio.Event()

    async def watch(self, broker: Broker) -> None:
        """Read EVENTS until cancelled."""
        async for arrived in follow(broker, EVENTS, "evt.>", first=1):
            for message in (message_of(EVENTS, stored) for stored in arrived):
                self._messages.setdefault(message.key, []).append(message)
            if arrived:
                self._news.set()
                self._news = anyio.Event()

    def types(self, key: str) -> Counter[str]:
        """How many events of each type have come under a key."""
        return Counter(message.type for message in self._messages.get(key, []))

    def find(self, key: str, event: str) -> Message:
        """The first event of a type. Requires: `until` has returned for it."""
        return next(message for message in self._messages[key] if message.type == event)

    async def until(self, key: str, *events: str) -> None:
        """Wait until each of these events has come under a key; raises TimeoutError after ENDS_WITHIN_S."""
        with anyio.fail_after(ENDS_WITHIN_S):
            while not set(events) <= self.types(key).keys():
                await self._news.wait()

    async def until_quiet(self, key: str) -> None:
        """Wait until no event has come under a key for QUIET_AFTER_S."""
        patience = anyio.CancelScope()
        while not patience.cancelled_caught:
            heard = self.types(key).total()
            with anyio.move_on_after(QUIET_AFTER_S) as patience:
                while self.types(key).total() == heard:
                    await self._news.wait()
