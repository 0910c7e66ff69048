"""The bank's endpoints over its real database, without a broker: requests that wait share one transaction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from contexts.bank.settings import BankSettings
from contexts.bank.worker import context
from shared.adapters.clock import SystemClock
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.endpoint import Endpoints
from shared.engine.decide.commit import Batch, Progress, commit
from shared.engine.requests import Requests
from shared.engine.route.routing import Routing
from shared.engine.wakeup import Wakeup

PARTITIONS = 4
BATCH_AT_MOST = 1_000


@asynccontextmanager
async def open_bank(directory: Path, *, slow_s: float) -> AsyncIterator[Endpoints]:
    """The endpoints while the block runs."""
    clock = SystemClock()
    routing = Routing(context(BankSettings(bank_slow=timedelta(seconds=slow_s))), partitions=PARTITIONS)
    store = await SqliteDatabases(directory).open("bank")
    wakeup = Wakeup()
    requests = Requests(routing, store, clock, wake=wakeup.set)

    async def decide() -> None:
        while await wakeup.wait():
            wakeup.clear()
            messages = requests.take(BATCH_AT_MOST)
            batch = Batch(messages, [], Progress([], {}), range(PARTITIONS), 0, clock.now())
            committed = await store.transact(partial(commit, routing=routing, batch=batch))
            requests.answer(committed.answers)

    deciding = asyncio.create_task(decide())
    try:
        yield requests.endpoints
    finally:
        deciding.cancel()
        await asyncio.wait([deciding])
        requests.close()
        await store.close()
