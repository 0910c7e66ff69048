"""Faults at the moment of a takeover."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import anyio
import pytest

from shared.adapters.clock import SystemClock
from shared.adapters.memory import MemoryBroker, MemoryServer
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.adapters.virtual_time import VirtualClock, VirtualLoop
from shared.derived.topology import declare
from shared.engine.ownership import PartitionOwnership
from shared.engine.process import ContextProcess
from shared.ports.broker import Broker, BrokerError, BrokerUnavailableError, Outgoing
from shared.ports.store import Store, Transaction
from shared.ports.store_reader import StoreReader
from shared.wire.streams import EVENTS
from tests.integration.brokers import TroubledBroker
from tests.integration.engine import DRAINED_WITHIN_S, PARTITIONS, TOPOLOGY
from tests.integration.till import scanner, till

T = TypeVar("T")

PULLS_WITHIN_S = 60.0
READS = range(1, 9)
"""The reads of a worker that starts: it reads for the process, and then for each partition that it takes over."""


class BrokerThatLosesResets(TroubledBroker):
    """Does not answer the first reset of each consumer of TIMERS."""

    def __init__(self, real: Broker) -> None:
        super().__init__(real)
        self.unanswered: list[str] = []

    async def reset(self, stream: str, consumer: str, sequence: int) -> None:
        if stream == "TIMERS" and consumer not in self.unanswered:
            self.unanswered.append(consumer)
            raise BrokerUnavailableError("no answer")
        await super().reset(stream, consumer, sequence)


class StoreThatInterrupts(Store):
    """Calls back once, after the n-th read."""

    def __init__(self, real: Store, after: int, interrupt: Callable[[], None]) -> None:
        self._real = real
        self._after = after
        self._interrupt = interrupt
        self.reads = 0

    @property
    def waits_for_lock(self) -> bool:
        return self._real.waits_for_lock

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        return await self._real.transact(work)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        found = await self._real.read(work)
        self.reads += 1
        if self.reads == self._after:
            self._interrupt()
        return found

    async def read_aside(self, work: Callable[[StoreReader], T]) -> T:
        return await self._real.read_aside(work)

    async def close(self) -> None:
        await self._real.close()


async def ring_twice(server: MemoryServer, clock: VirtualClock, broker: Broker, store: Store) -> list[str]:
    """Run a till's worker until two amounts are in its drawer; what its stream holds then."""
    server.apply(declare(TOPOLOGY, (till(), scanner())))
    process = ContextProcess(
        till(),
        store,
        broker,
        clock,
        numbers=range(PARTITIONS),
        partitions=PARTITIONS,
        priority_timeout_s=1.0,
        batch_at_most=1_000,
    )
    async with process.at_work(), anyio.create_task_group() as deciding:
        deciding.start_soon(process.loop.run)
        for key in ("t-1", "t-2"):
            await MemoryBroker(server).publish(Outgoing(f"cmd.till.Ring.{key}", {}, b'{"amount": 5}'))
        give_up_at = clock.monotonic() + PULLS_WITHIN_S
        while len(server.stream(EVENTS).messages) < 2:
            assert clock.monotonic() < give_up_at, process.ownership.owned
            await clock.sleep(0.01)
        process.loop.stop()
        await process.drain(DRAINED_WITHIN_S)
    return sorted(message.subject.rpartition(".")[2] for message in server.stream(EVENTS).messages.values())


def test_reader_that_could_not_begin_begins_later(tmp_path: Path) -> None:
    """The server is there, and does not say whether it has reset the last of the consumers."""

    async def run() -> None:
        clock = VirtualClock(loop)
        server = MemoryServer(loop, clock)
        broker = BrokerThatLosesResets(MemoryBroker(server))
        store = await SqliteStore.open(tmp_path / "till.db", context="till")
        assert await ring_twice(server, clock, broker, store) == ["t-1", "t-2"]
        assert sorted(broker.unanswered) == [f"till-{partition}" for partition in range(PARTITIONS)]

    loop = VirtualLoop(1)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())


@pytest.mark.parametrize("after", READS)
def test_connection_that_is_replaced_while_a_partition_is_taken_over_is_compared_again(
    tmp_path: Path, after: int
) -> None:
    """The worker asks nothing of the server at that moment, so nothing fails; yet the server may have lost data."""

    async def run() -> None:
        clock = VirtualClock(loop)
        server = MemoryServer(loop, clock)

        def drop_connections() -> None:
            for connection in server.connections:
                connection.reconnect()

        real = await SqliteStore.open(tmp_path / "till.db", context="till")
        store = StoreThatInterrupts(real, after, drop_connections)
        assert await ring_twice(server, clock, MemoryBroker(server), store) == ["t-1", "t-2"]
        assert store.reads > after

    loop = VirtualLoop(1)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())


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
    """Otherwise it publishes into a stream that was created again, before the lost events are there."""

    async def check(*_: object) -> bool:
        raise BrokerUnavailableError("the stream is gone")

    free, broken = _Partition(0, broken=False), _Partition(1, broken=True)
    dropped: list[int] = []
    helper: Any = SimpleNamespace(connection=0, drain_acknowledged=list, revoke=dropped.append, check=check)
    nobody: Any = None
    partitions: Any = [free, broken]
    ownership = PartitionOwnership(
        partitions, nobody, helper, helper, helper, nobody, partitions_in_all=2, wake=lambda: None, troubles=nobody
    )
    with pytest.raises(BrokerUnavailableError):
        await ownership.rebalance()
    assert not broken.is_owned
    assert set(dropped) == {1}


async def test_what_is_broken_publishes_nothing_more_whatever_the_loop_is_doing() -> None:
    """Its stream may be created again at any moment, and would have later events before the lost ones."""
    whole, broken = _Partition(0, broken=False), _Partition(1, broken=True)
    dropped: list[int] = []
    relay: Any = SimpleNamespace(revoke=dropped.append)
    troubles: Any = SimpleNamespace(look=lambda: None)
    nobody: Any = None
    partitions: Any = [broken, whole]
    woken = asyncio.Event()
    ownership = PartitionOwnership(
        partitions, nobody, relay, nobody, nobody, SystemClock(), partitions_in_all=2, wake=woken.set, troubles=troubles
    )
    tending = asyncio.create_task(ownership.keep_alive())
    await woken.wait()
    tending.cancel()
    assert dropped == [1]
    assert broken.is_owned
