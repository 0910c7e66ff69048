"""What may go wrong just when a partition is taken over: the shop in memory."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from shared.adapters.memory import MemoryBroker
from shared.engine.store import Store
from shared.engine.transaction import Transaction
from shared.ports import BrokerUnavailableError
from shared.testing import shop
from tests.unit.shopping import fill_shelves, order, told

SHIPPED = ["OrderPlaced", "OrderConfirmed", "ShipmentRecorded"]


def test_reader_that_could_not_begin_begins_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server, though there, does not say whether the last of the consumers was reset."""
    unanswered: list[str] = []
    reset = MemoryBroker.reset

    async def reset_later(self: MemoryBroker, stream: str, consumer: str, sequence: int) -> None:
        if stream == "TIMERS" and consumer not in unanswered:
            unanswered.append(consumer)
            await asyncio.sleep(5)
            raise BrokerUnavailableError("no answer")
        await reset(self, stream, consumer, sequence)

    monkeypatch.setattr(MemoryBroker, "reset", reset_later)
    with shop(seed=1, partitions=1) as running:
        fill_shelves(running)
        running.send(order(), key="o-1")
        running.run_until_quiet()
        assert told(running, "o-1")["ordering"] == SHIPPED
    assert "ordering-0" in unanswered


def test_connection_that_is_replaced_while_a_partition_is_taken_over_is_compared_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is asked of the server at that moment, so nothing fails; all the same it may have come back poorer."""
    dropped: list[str] = []
    read = Store.read

    async def read_and_drop(self: Store, work: Callable[[Transaction], Any]) -> Any:
        found = await read(self, work)
        if work.__qualname__ == "Tenure._take_over.<locals>.load" and not dropped:
            dropped.append(self._database.path.stem)
            for connection in running.server.connections:
                connection.drop()
        return found

    with shop(seed=1, partitions=1) as running:
        fill_shelves(running)
        monkeypatch.setattr(Store, "read", read_and_drop)
        running.stop("ordering")
        running.start("ordering")
        running.send(order(), key="o-1")
        running.run_until_quiet()
        assert told(running, "o-1")["ordering"] == SHIPPED
    assert dropped
