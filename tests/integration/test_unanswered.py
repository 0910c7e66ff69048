"""A key whose event gets no answer from the broker holds up no other key."""

from collections.abc import Sequence

import pytest

from shared.ports.broker import Broker, BrokerError, BrokerUnavailableError, Outgoing, Published
from tests.integration.brokers import TroubledBroker
from tests.integration.engine import Counter, at_work, published
from tests.integration.keys import NEIGHBOUR, TILL
from tests.waiting import until


class DeafBroker(TroubledBroker):
    """Never answers about one key, like a server whose user lacks the permission to publish it."""

    def __init__(self, real: Broker, key: str) -> None:
        super().__init__(real)
        self.key = key

    async def publish(self, message: Outgoing) -> Published:
        """Publish one message; it may lack an id."""
        return await self._real.publish(message)

    async def publish_each(self, messages: Sequence[Outgoing]) -> list[Published | BrokerError]:
        """Publish the messages of other keys."""
        open_ = [message for message in messages if not message.subject.endswith(f".{self.key}")]
        answers = iter(await super().publish_each(open_))
        return [next(answers) if message in open_ else BrokerUnavailableError("no answer") for message in messages]

    async def publish_batch(self, messages: Sequence[Outgoing]) -> int:
        """Publish a batch without the key."""
        if any(message.subject.endswith(f".{self.key}") for message in messages):
            raise BrokerUnavailableError("no answer")
        return await super().publish_batch(messages)


@pytest.mark.parametrize("number", [1, 20])
async def test_key_without_an_answer_holds_up_no_other_and_keeps_its_order(counter: Counter, number: int) -> None:
    broker = DeafBroker(counter.broker, TILL)
    async with at_work(counter, broker=broker) as process:
        for _ in range(number):
            await counter.ring(TILL, 1)
        await counter.ring(NEIGHBOUR, 1)
        await counter.watcher.until(NEIGHBOUR, "Rung")
        await until(lambda: [alarm.subject for alarm in process.alarms.raised] == [TILL])
        (alarm,) = process.alarms.raised
        assert "whether its disk is full" in alarm.remedy  # A server whose disk is full takes reads, and no publish.
        assert f"whether this worker's user may publish to evt.till.Rung.{TILL}" in alarm.remedy
        await counter.ring(NEIGHBOUR, 2)
        await counter.watcher.until(NEIGHBOUR, "Rung", times=2)
        assert published(counter, TILL) == []
        broker.key = "nobody"
        await counter.watcher.until(TILL, "Rung", times=number)
        await until(lambda: not process.alarms.raised)
    assert counter.totals(TILL) == list(range(1, number + 1))
