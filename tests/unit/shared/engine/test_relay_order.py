"""When the relay publishes a row that the broker refused before, and in which order with the later rows of its key."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import cast

from shared.engine.monitor.alarms import Alarms
from shared.engine.monitor.troubles import Troubles
from shared.engine.publish.blocked import REFUSED_RETRY_S
from shared.engine.publish.relay import Relay
from shared.ports.broker import (
    Broker,
    BrokerError,
    BrokerRefusedError,
    BrokerUnavailableError,
    Outgoing,
    Published,
    Stored,
)
from shared.ports.rows import JournalRow, NumberedRow
from shared.wire.messages import MSG_ID

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


class _Taken:
    """Has a stranger's message under every id at sequence 7, and forgets each id as soon as it has told so."""

    def __init__(self) -> None:
        self.reconnects = 0
        self.looked = asyncio.Event()
        self.silent = False
        self.gone = False
        self.published = 0

    async def publish_each(self, messages: Sequence[Outgoing]) -> list[Published | BrokerError]:
        await asyncio.sleep(0)
        self.published += 1
        return [Published("EVENTS", 7 + self.published // 2, duplicate=self.published == 1) for _ in messages]

    async def get(self, stream: str, sequence: int) -> Stored | None:
        assert (stream, sequence) == ("EVENTS", 7)
        self.looked.set()
        if self.silent:
            raise BrokerUnavailableError("no answer")
        headers = {MSG_ID: "till/till-a@1"}
        return None if self.gone else Stored(7, datetime.now(UTC), "evt.till.Whatever.0.zz", headers, b"[]")


class _Clock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _row(n: int, subject: str, key: str) -> NumberedRow:
    identity = f"till/till-{key}@{n}"
    return NumberedRow(
        n, JournalRow(identity, f"till-{key}", n, f"{subject}.{key}", "Rung", {MSG_ID: identity}, b"{}", 0)
    )


async def _until(is_true: Callable[[], bool]) -> None:
    while not is_true():  # noqa: ASYNC110 - the relay tells nobody.
        await asyncio.sleep(0)


async def test_rows_in_flight_do_not_overtake_a_refused_row_of_their_key() -> None:
    broker, clock = _Refusing(), _Clock()
    alarms = Alarms(clock)
    troubles = Troubles(alarms, cast(Broker, broker), "till")
    relay = Relay(cast(Broker, broker), clock, linger_s={}, troubles=troubles)
    relay.assign(0)
    async with asyncio.timeout(PUBLISHED_WITHIN_S), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(relay.run())
        relay.add([_row(1, "evt.till.Rung", "a")])
        await _until(lambda: bool(relay.blocked.reasons))
        broker.mended = True
        relay.add([_row(2, "evt.till.Rung", "a"), _row(3, "timer.till.Closing", "b")])
        clock.seconds += REFUSED_RETRY_S  # Now two tasks are about to publish rows of the key.
        relay.blocked.wake()
        await _until(lambda: not relay.backlog)
        running.cancel()
    assert broker.stored.index("till/till-a@1") < broker.stored.index("till/till-a@2")


async def test_row_whose_id_a_message_has_is_tried_by_looking_whether_that_message_is_gone() -> None:
    broker, clock = _Taken(), _Clock()
    troubles = Troubles(Alarms(clock), cast(Broker, broker), "till")
    relay = Relay(cast(Broker, broker), clock, linger_s={}, troubles=troubles)
    relay.assign(0)
    async with asyncio.timeout(PUBLISHED_WITHIN_S), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(relay.run())
        relay.add([_row(1, "evt.till.Rung", "a")])
        await _until(lambda: bool(relay.blocked.reasons))
        for broker.silent in (False, True, True):
            broker.looked.clear()
            clock.seconds += REFUSED_RETRY_S
            relay.blocked.wake()
            await broker.looked.wait()
            await asyncio.sleep(0)
        assert (broker.published, list(relay.blocked.reasons)) == (1, ["a"])
        broker.silent, broker.gone = False, True
        clock.seconds += REFUSED_RETRY_S
        relay.blocked.wake()
        await _until(lambda: not relay.backlog)
        running.cancel()
    assert relay.drain_acknowledged() == [(1, 8)]
