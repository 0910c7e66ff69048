"""The order of a key's rows when the broker's refusal of an earlier one has been mended."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

from shared.engine.relay import Relay
from shared.engine.tables import JournalRow, NumberedRow
from shared.messages import MSG_ID
from shared.ports import Broker, BrokerError, BrokerRefusedError, Outgoing, Published

PUBLISHED_WITHIN_S = 5.0


class _Refusing:
    """Refuses everything until it is `mended`."""

    def __init__(self) -> None:
        self.reconnects = 0
        self.mended = False
        self.stored: list[str] = []

    async def publish_each(self, messages: Sequence[Outgoing]) -> list[Published | BrokerError]:
        await asyncio.sleep(0)
        if not self.mended:
            return [BrokerRefusedError(10060, "expected stream does not match") for _ in messages]
        self.stored += [message.headers[MSG_ID] for message in messages]
        return [Published("EVENTS", len(self.stored), duplicate=False) for _ in messages]


class _Clock:
    """Lets go on who sleeps when the test says so."""

    def __init__(self) -> None:
        self.slept = asyncio.Event()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        del seconds
        self.slept.clear()
        await self.slept.wait()


def _row(n: int, subject: str, key: str) -> NumberedRow:
    identity = f"till/till-{key}@{n}"
    return NumberedRow(
        n, JournalRow(identity, f"till-{key}", n, f"{subject}.{key}", "Rung", {MSG_ID: identity}, b"{}", 0)
    )


async def test_what_was_refused_is_not_overtaken_by_what_is_in_hand_when_it_is_offered_again() -> None:
    broker, clock, published = _Refusing(), _Clock(), asyncio.Event()
    relay = Relay(cast(Broker, broker), clock, linger_s={}, wake=published.set)
    relay.take(0)
    async with asyncio.timeout(PUBLISHED_WITHIN_S), asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(relay.run()), tasks.create_task(relay.retry_stuck())]
        relay.add([_row(1, "evt.till.Rung", "a")])
        await published.wait()
        assert relay.stuck
        broker.mended = True
        relay.add([_row(2, "evt.till.Rung", "a"), _row(3, "timer.till.Closing", "b")])
        clock.slept.set()  # Now two tasks are about to publish what has just been taken in hand.
        while relay.backlog:
            published.clear()
            clock.slept.set()
            await asyncio.wait({asyncio.create_task(published.wait())}, timeout=0.05)
        for task in running:
            task.cancel()
    assert broker.stored.index("till/till-a@1") < broker.stored.index("till/till-a@2")
