"""What may go wrong just when a partition is taken over: the shop in memory."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from shared.adapters.clock import SystemClock
from shared.adapters.memory import MemoryBroker
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.engine.ownership import PartitionOwnership
from shared.ports.broker import BrokerError, BrokerUnavailableError
from shared.ports.store import Transaction
from shared.simulation.testing import simulation
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
    with simulation(seed=1, partitions=1) as running:
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
    read = SqliteStore.read

    async def read_and_drop(self: SqliteStore, work: Callable[[Transaction], Any]) -> Any:
        found = await read(self, work)
        if work.__qualname__ == "PartitionOwnership._take_over.<locals>.load" and not dropped:
            dropped.append(self._database.path.stem)
            for connection in running.server.connections:
                connection.reconnect()
        return found

    with simulation(seed=1, partitions=1) as running:
        fill_shelves(running)
        monkeypatch.setattr(SqliteStore, "read", read_and_drop)
        running.stop("ordering")
        running.start("ordering")
        running.send(order(), key="o-1")
        running.run_until_quiet()
        assert told(running, "o-1")["ordering"] == SHIPPED
    assert dropped


class _Partition:
    """One that is led but not held, or held but broken."""

    def __init__(self, number: int, *, broken: bool) -> None:
        self.number = number
        self.is_owned = self.is_broken = broken
        self.is_leading = not broken
        self.wants_rebalance = True
        self.readers: dict[str, object] = {}
        self.lock = asyncio.Lock()

    async def keep_alive(self) -> None:
        """Nothing can be done."""

    async def check_consumers(self) -> None:
        """None is missing."""

    def failed(self, error: BrokerError) -> None:
        """Nobody is told."""

    async def release(self) -> None:
        self.is_owned = self.is_broken = False


async def test_what_is_broken_is_let_go_though_nothing_can_be_taken_over() -> None:
    """Else it publishes into a stream that is made again, before what was lost is there."""

    async def check(*_: object) -> bool:
        raise BrokerUnavailableError("the stream is gone")

    free, broken = _Partition(0, broken=False), _Partition(1, broken=True)
    dropped: list[int] = []
    helper: Any = SimpleNamespace(connection=0, drain_acknowledged=list, revoke=dropped.append, check=check)
    nobody: Any = None
    partitions: Any = [free, broken]
    ownership = PartitionOwnership(
        partitions, nobody, helper, helper, helper, nobody, of=2, wake=lambda: None, troubles=nobody
    )
    with pytest.raises(BrokerUnavailableError):
        await ownership.rebalance()
    assert not broken.is_owned
    assert set(dropped) == {1}


async def test_what_is_broken_publishes_nothing_more_whatever_the_loop_is_doing() -> None:
    """Its stream may be made anew at any moment, and would have what came later before what was lost."""
    whole, broken = _Partition(0, broken=False), _Partition(1, broken=True)
    dropped: list[int] = []
    relay: Any = SimpleNamespace(revoke=dropped.append)
    troubles: Any = SimpleNamespace(look=lambda: None)
    nobody: Any = None
    partitions: Any = [broken, whole]
    woken = asyncio.Event()
    ownership = PartitionOwnership(
        partitions, nobody, relay, nobody, nobody, SystemClock(), of=2, wake=woken.set, troubles=troubles
    )
    tending = asyncio.create_task(ownership.keep_alive())
    await woken.wait()
    tending.cancel()
    assert dropped == [1]
    assert broken.is_owned
