"""Items that arrive during a batch form the next one; each has its own result, and the queue is bounded."""

import asyncio
from collections.abc import Sequence

import pytest

from contexts.batching import Batcher, TooManyWaitingError


class Doubling:
    """Doubles numbers in batches once `open` is set; fails on a batch with a zero."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = asyncio.Event()
        self.open = asyncio.Event()

    async def work(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        self.begun.set()
        await self.open.wait()
        if 0 in numbers:
            raise ZeroDivisionError
        return [2 * number for number in numbers]


async def test_items_that_arrive_during_a_batch_form_the_next_batch() -> None:
    doubling = Doubling()
    batcher = Batcher(doubling.work, batch_at_most=10, waiting_at_most=10)
    first = asyncio.ensure_future(batcher.put(1))
    await doubling.begun.wait()
    others = asyncio.gather(batcher.put(2), batcher.put(3))
    doubling.open.set()
    assert [await first, *await others] == [2, 4, 6]
    assert doubling.batches == [[1], [2, 3]]


async def test_batch_is_bounded() -> None:
    doubling = Doubling()
    doubling.open.set()
    batcher = Batcher(doubling.work, batch_at_most=2, waiting_at_most=10)
    assert await asyncio.gather(*(batcher.put(number) for number in range(1, 6))) == [2, 4, 6, 8, 10]
    assert doubling.batches == [[1, 2], [3, 4], [5]]


async def test_failed_batch_fails_all_its_items_and_no_later_one() -> None:
    doubling = Doubling()
    doubling.open.set()
    batcher = Batcher(doubling.work, batch_at_most=2, waiting_at_most=10)
    outcomes = await asyncio.gather(*(batcher.put(number) for number in (1, 0, 3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, ZeroDivisionError, int]


async def test_full_queue_refuses_at_once() -> None:
    doubling = Doubling()
    batcher = Batcher(doubling.work, batch_at_most=10, waiting_at_most=1)
    waiting = asyncio.ensure_future(batcher.put(1))
    await asyncio.sleep(0)
    with pytest.raises(TooManyWaitingError):
        await batcher.put(2)
    doubling.open.set()
    assert await waiting == 2


async def test_close_finishes_all_waiting_items() -> None:
    doubling = Doubling()
    batcher = Batcher(doubling.work, batch_at_most=10, waiting_at_most=10)
    left, stayed = asyncio.ensure_future(batcher.put(1)), asyncio.ensure_future(batcher.put(2))
    await doubling.begun.wait()
    left.cancel()
    doubling.open.set()
    await batcher.close()
    assert await stayed == 4
    assert left.cancelled()
