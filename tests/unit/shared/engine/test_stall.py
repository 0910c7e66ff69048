"""When a worker whose loop does not come round is taken for one that hangs, and when it is not."""

import fcntl
import os
from pathlib import Path

import anyio
import anyio.lowlevel

from shared.adapters.clock import SystemClock
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.engine.monitor.stall import Stall

WITHIN_S = 5.0


async def test_a_worker_that_waits_for_another_ones_transaction_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    store = await SqliteStore.open(path, context="till")
    stall = Stall(SystemClock(), store)
    assert stall.seconds > 0
    lock = os.open(f"{path}.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.transact, lambda transaction: transaction.last_number())
        with anyio.fail_after(WITHIN_S):
            while not store.waits_for_lock:
                await anyio.lowlevel.checkpoint()
        assert stall.seconds == 0.0
        os.close(lock)
    assert stall.seconds > 0
    await store.close()


async def test_a_takeover_may_take_long_and_the_loop_has_come_round_after_it(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "till.db", context="till")
    stall = Stall(SystemClock(), store)
    with stall.paused():
        assert stall.seconds == 0.0
        before = stall.seconds
    assert before == 0.0 < stall.seconds < WITHIN_S
    await store.close()
