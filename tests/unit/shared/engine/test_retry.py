"""Delays between retries grow up to a bound, vary within it, and pass in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from shared.adapters.virtual_time import VirtualClock, VirtualLoop
from shared.engine.effect_call import UNKNOWN_OUTCOME_DELAYS
from shared.engine.publish.blocked_key import UNANSWERED_DELAYS
from shared.engine.retry import Backoff, Delays
from shared.run.supervisor import REFUSED_DELAYS, RESTART_DELAYS

BOUNDS = {
    "an unanswered row": (UNANSWERED_DELAYS, [(0.025, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.4)], (2.5, 5.0)),
    "an unknown outcome": (UNKNOWN_OUTCOME_DELAYS, [(0.1, 0.1), (0.2, 0.3), (0.4, 0.5), (0.8, 0.9)], (30.0, 30.0)),
    "a program that ends": (RESTART_DELAYS, [(0.1, 0.1), (0.2, 0.2), (0.4, 0.4)], (5.0, 5.0)),
    "a program that refuses to start": (REFUSED_DELAYS, [(10.0, 10.0), (20.0, 20.0)], (300.0, 300.0)),
}


@pytest.mark.parametrize(("delays", "first", "last"), BOUNDS.values(), ids=BOUNDS)
def test_delays_double_and_vary_within_their_bounds(
    delays: Delays, first: list[tuple[float, float]], last: tuple[float, float]
) -> None:
    for _ in range(100):
        backoff = Backoff(delays)
        for least, most in first:
            assert least <= backoff.next_s() <= most
        for _ in range(20):
            later_s = backoff.next_s()
        assert last[0] <= later_s <= last[1]
        backoff.reset()
        assert first[0][0] <= backoff.next_s() <= first[0][1]


def in_virtual_time(work: Callable[[VirtualClock], Awaitable[float]]) -> float:
    loop = VirtualLoop()

    async def run() -> float:
        return await work(VirtualClock(loop))

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(run())


def test_wait_takes_the_clocks_time() -> None:
    async def work(clock: VirtualClock) -> float:
        before = clock.monotonic()
        backoff = Backoff(Delays(first_s=100.0, last_s=300.0))
        await backoff.wait(clock)
        await backoff.wait(clock, sooner=anyio.Event())
        return clock.monotonic() - before

    assert in_virtual_time(work) == pytest.approx(300.0)


def test_event_ends_a_wait() -> None:
    async def work(clock: VirtualClock) -> float:
        before, sooner = clock.monotonic(), anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: Backoff(Delays(first_s=1e9, last_s=1e9)).wait(clock, sooner=sooner))
            await clock.sleep(2.0)
            sooner.set()
        return clock.monotonic() - before

    assert in_virtual_time(work) == pytest.approx(2.0)
