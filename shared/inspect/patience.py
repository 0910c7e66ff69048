"""Remembers which contexts do not answer, so that a tool that asks again and again waits for them only briefly.

A process that has died leaves its subjects without responders, and the server says so at once. Only one that is frozen,
or cut off, has to be waited for.
"""

from collections.abc import Iterable
from typing import Final, NoReturn

import anyio

from shared.ports.broker import Broker, BrokerDeniedError, BrokerError, NoRespondersError

ANSWERED_WITHIN_S: Final = 0.3
"""A context answers within milliseconds; a tool answers within a second, also when a context is frozen."""
LISTED_WITHIN_S: Final = 2.0
"""How long a list may take: a context that counts a million aggregates by their status needs more than a second."""
SILENT_WITHIN_S: Final = 0.05
"""How long a context is waited for that was silent lately. One that is back answers within milliseconds."""
SILENCE_LASTS_S: Final = 10.0
"""After this time a partition that was silent is waited for in full again: its owner may only be slow."""
PING_EVERY_S: Final = 1.0


class Patience:
    """The contexts, and partitions of contexts, that were silent when they were last asked."""

    def __init__(self) -> None:
        self._silent: dict[tuple[str, int | None], float] = {}
        """By context, or by context and partition, when the silence ends that a tool relies on."""

    def within_s(self, context: str, partition: int | None = None, *, otherwise: float = ANSWERED_WITHIN_S) -> float:
        """How long to wait for an answer: only briefly for one that was silent."""
        now = anyio.current_time()
        is_silent = any(self._silent.get((context, one), now) > now for one in (None, partition))
        return SILENT_WITHIN_S if is_silent else otherwise

    def was_silent(self, context: str, partition: int | None = None) -> None:
        """The context, or the owner of this partition, did not answer in time."""
        now = anyio.current_time()
        if self._silent.get((context, partition), now) <= now:  # A brief wait says nothing that was not known.
            self._silent[context, partition] = now + SILENCE_LASTS_S

    def has_answered(self, context: str, partition: int | None = None) -> None:
        """The context, or the owner of this partition, did answer."""
        self._silent.pop((context, partition), None)

    async def ping(self, broker: Broker, context: str) -> None:
        """Ask the service of a context (ADR-32) whether any process of it lives."""
        try:
            await broker.request(f"$SRV.PING.{context}", b"", {}, ANSWERED_WITHIN_S)
        except (NoRespondersError, BrokerDeniedError):
            self.has_answered(context)  # It has died: the server says so at once, so nobody waits.
        except BrokerError:
            self._silent[context, None] = anyio.current_time() + SILENCE_LASTS_S
        else:
            self.has_answered(context)

    async def ping_unless_silent(self, broker: Broker, context: str) -> None:
        """Ping a context before a question that may take long, so that nobody waits for a frozen one in full."""
        if self.within_s(context) != SILENT_WITHIN_S:
            await self.ping(broker, context)

    async def keep_pinging(self, broker: Broker, contexts: Iterable[str]) -> NoReturn:
        """Ping all contexts for ever, so that a page knows of a frozen one before it asks."""
        names = tuple(contexts)
        while True:
            async with anyio.create_task_group() as tasks:
                for name in names:
                    tasks.start_soon(self.ping, broker, name)
            await anyio.sleep(PING_EVERY_S)
