"""Consumers that are moved by hand and a stream that is made again change nothing for a worker."""

import pytest

from tests.integration.engine import Counter, running
from tests.integration.keys import PARTITION, TILL


class TestBrokerTrouble:
    """Consumers and streams that were changed or replaced."""

    @pytest.mark.parametrize("sequence", [1, 1_000])
    async def test_consumer_that_somebody_else_resets_changes_nothing(self, counter: Counter, sequence: int) -> None:
        async with running(counter):
            await counter.scan(TILL, 1, "scanner/scan-t-1@1")
            await counter.watcher.until(TILL, "Rung")
            await counter.broker.reset("EVENTS", f"till-{PARTITION}", sequence)
            for number in range(2, 6):
                await counter.scan(TILL, 1, f"scanner/scan-t-1@{number}")
            await counter.watcher.until(TILL, "Rung", times=5)
        assert counter.totals(TILL) == [1, 2, 3, 4, 5]

    async def test_consumer_that_is_set_ahead_before_anything_new_came_skips_nothing(self, counter: Counter) -> None:
        async with running(counter):
            await counter.scan(TILL, 1, "scanner/scan-t-1@1")
            await counter.watcher.until(TILL, "Rung")
        async with running(counter):
            await counter.ring(TILL, 1)
            await counter.watcher.until(TILL, "Rung", times=2)
            await counter.broker.reset("EVENTS", f"till-{PARTITION}", 1_000)
            await counter.scan(TILL, 1, "scanner/scan-t-1@2")
            await counter.watcher.until(TILL, "Rung", times=3)
        assert counter.totals(TILL) == [1, 2, 3]

    @pytest.mark.parametrize("worker_is", ["running", "stopped"])
    async def test_stream_that_was_deleted_and_made_again_gets_its_events_back(
        self, counter: Counter, worker_is: str
    ) -> None:
        async with running(counter):
            for amount in (1, 2, 3):
                await counter.ring(TILL, amount)
            await counter.watcher.until(TILL, "Rung", times=3)
            before = [(fact.id, fact.body) for fact in counter.watcher.about(TILL)]
            if worker_is == "running":
                await counter.lose_events()
                await counter.watcher.until(TILL, "Rung", times=3)
                await counter.ring(TILL, 4)
                await counter.watcher.until(TILL, "Rung", times=4)
        if worker_is == "stopped":
            await counter.lose_events()
            async with running(counter):
                await counter.ring(TILL, 4)
                await counter.watcher.until(TILL, "Rung", times=4)
        after = [(fact.id, fact.body) for fact in counter.watcher.about(TILL)]
        assert after[:3] == before
        assert counter.totals(TILL) == [1, 3, 6, 10]
