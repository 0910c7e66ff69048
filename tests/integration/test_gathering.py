"""A context that nobody waits for lets its messages gather."""

import asyncio
from dataclasses import replace

import anyio

from tests.integration.engine import Counter, running
from tests.integration.keys import TILL
from tests.integration.till import till
from tests.waiting import WITHIN_S


async def test_what_comes_meanwhile_is_decided_together(counter: Counter) -> None:
    async with running(counter, replace(till(), gather_s=0.5)) as loop:
        await asyncio.gather(*(counter.ring(TILL, amount) for amount in range(1, 12)))
        await counter.watcher.until(TILL, "Rung", times=11)
        assert loop.counters.batches < 5
    assert len(counter.totals(TILL)) == 11


async def test_stop_does_not_wait_for_messages_to_gather(counter: Counter) -> None:
    with anyio.fail_after(WITHIN_S):
        async with running(counter, replace(till(), gather_s=60)):
            await counter.ring(TILL, 1)
            await counter.watcher.until(TILL, "Rung")
