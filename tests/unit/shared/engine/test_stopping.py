"""A worker that is told to stop leaves nothing unrecorded that it knows."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio

from shared.adapters.memory import MemoryBroker, MemoryServer
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.adapters.virtual_time import VirtualClock, VirtualLoop
from shared.derived.topology import declare
from shared.engine.process import ContextProcess
from shared.ports.broker import Outgoing
from shared.ports.store import DatabaseBusyError, Store, Transaction
from shared.ports.store_reader import StoreReader
from tests.integration.engine import DRAINED_WITHIN_S, PARTITIONS, TOPOLOGY
from tests.integration.till import scanner, till

T = TypeVar("T")


class BusyStore(Store):
    """Refuses the next transaction that would record a publication, and calls back."""

    def __init__(self, real: Store, refused: Callable[[], None]) -> None:
        self._real = real
        self._refused = refused
        self.refuses = False

    @property
    def waits_for_lock(self) -> bool:
        return self._real.waits_for_lock

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        if self.refuses:
            self.refuses = False
            self._refused()
            raise DatabaseBusyError("locked")
        return await self._real.transact(work)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._real.read(work)

    async def read_aside(self, work: Callable[[StoreReader], T]) -> T:
        return await self._real.read_aside(work)

    async def close(self) -> None:
        await self._real.close()


def test_publication_is_on_record_when_a_busy_database_meets_the_stop(tmp_path: Path) -> None:
    """The batch that would have recorded it is given up; the drain records it."""
    unpublished: list[int] = []

    async def run() -> None:
        clock = VirtualClock(loop)
        server = MemoryServer(loop, clock)
        server.apply(declare(TOPOLOGY, (till(), scanner())))
        store = BusyStore(await SqliteStore.open(tmp_path / "till.db", context="till"), lambda: process.loop.stop())
        process = ContextProcess(
            till(),
            store,
            MemoryBroker(server),
            clock,
            numbers=range(PARTITIONS),
            partitions=PARTITIONS,
            priority_timeout_s=1.0,
            batch_at_most=1_000,
        )
        client = MemoryBroker(server)
        async with process.at_work():
            async with anyio.create_task_group() as deciding:
                deciding.start_soon(process.loop.run)
                await client.publish(Outgoing("cmd.till.Ring.t-1", {}, b'{"amount": 5}'))
                while not process.relay.has_news:
                    await clock.sleep(0.001)
                store.refuses = True
                await client.publish(Outgoing("cmd.till.Ring.t-1", {}, b'{"amount": 6}'))
            await process.drain(DRAINED_WITHIN_S)
            numbers = range(PARTITIONS)
            unpublished.append(len(await store.read(lambda transaction: transaction.unpublished(numbers))))

    loop = VirtualLoop(1)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())
    assert unpublished == [0]
