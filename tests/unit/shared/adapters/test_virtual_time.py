"""A loop whose time jumps to the next timer when it is idle, and a clock that can be put forward."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from shared.adapters.sqlite.database import Database
from shared.adapters.virtual_time import BEGINNING, DeadlockError, VirtualClock, VirtualLoop

T = TypeVar("T")

HOUR = timedelta(hours=1)


def in_virtual_time(work: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work)


def test_timers_fire_in_order() -> None:
    loop = VirtualLoop()
    woken: list[tuple[float, str]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append((round(loop.time(), 6), name))

    async def sleepers() -> None:
        async with anyio.create_task_group() as tasks:
            for name, seconds in (("late", 86_400.0), ("early", 0.5), ("between", 3_600.0)):
                tasks.start_soon(sleeper, name, seconds)

    in_virtual_time(sleepers(), loop)
    assert woken == [(0.5, "early"), (3_600.0, "between"), (86_400.0, "late")]


def test_wait_without_a_timer_raises_at_once() -> None:
    loop = VirtualLoop()
    waiting = loop.create_task(asyncio.Event().wait())
    with pytest.raises(DeadlockError):
        loop.run_until_complete(waiting)
    waiting.cancel()
    loop.run_until_complete(asyncio.wait([waiting]))
    loop.close()


def test_clock_that_is_put_forward_calls_back_and_its_monotonic_time_stays() -> None:
    loop = VirtualLoop()
    clock = VirtualClock(loop)
    rang: list[timedelta] = []

    async def put_forward() -> float:
        for hours in (3, 1, 2):
            clock.call_at(clock.now_ns() + hours * 3600 * 10**9, lambda: rang.append(clock.now() - BEGINNING))
        assert clock.next_call == BEGINNING + HOUR
        clock.put_forward(2 * HOUR)
        await clock.sleep(1.0)
        return clock.monotonic()

    assert in_virtual_time(put_forward(), loop) == pytest.approx(1.0)
    assert [round(after / HOUR, 3) for after in rang] == [2.0, 2.0]
    assert clock.next_call == BEGINNING + 3 * HOUR


def test_function_for_a_thread_runs_on_the_spot() -> None:
    async def divide(by: int) -> float:
        return await asyncio.to_thread(lambda: 1 / by)

    assert in_virtual_time(divide(2), VirtualLoop()) == 0.5
    with pytest.raises(ZeroDivisionError):
        in_virtual_time(divide(0), VirtualLoop())


def test_transaction_takes_virtual_time_and_is_atomic(tmp_path: Path) -> None:
    loop = VirtualLoop(seed=1)

    async def count() -> int:
        database = await Database.open(tmp_path / "n.db", schema="CREATE TABLE n (n INTEGER NOT NULL)", version=1)
        with pytest.raises(ZeroDivisionError):
            await database.transact(lambda rows: (rows.execute("INSERT INTO n VALUES (1)"), 1 / 0))
        await database.transact(lambda rows: rows.execute("INSERT INTO n VALUES (2)"))
        (found,) = await database.read(lambda rows: rows.execute("SELECT n FROM n").fetchall())
        await database.close()
        return int(found[0])

    assert in_virtual_time(count(), loop) == 2
    assert 0 < loop.time() < 0.1
