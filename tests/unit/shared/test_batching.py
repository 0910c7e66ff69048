"""What arrives together is done together, answered one by one, and bounded."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.batching import Batcher, TooManyWaitingError


class Doubling:
    """Doubles numbers, a batch at a time, once it is let; refuses a batch that holds a zero."""

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


async def test_what_comes_while_a_batch_is_under_way_is_the_next_batch() -> None:
    doubling = Doubling()
    gathering = Batcher(doubling.work, batch_at_most=10, waiting_at_most=10)
    first = asyncio.ensure_future(gathering.put(1))
    await doubling.begun.wait()
    others = asyncio.gather(gathering.put(2), gathering.put(3))
    doubling.open.set()
    assert [await first, *await others] == [2, 4, 6]
    assert doubling.batches == [[1], [2, 3]]


async def test_a_batch_is_no_larger_than_it_may_be() -> None:
    doubling = Doubling()
    doubling.open.set()
    gathering = Batcher(doubling.work, batch_at_most=2, waiting_at_most=10)
    assert await asyncio.gather(*(gathering.put(number) for number in range(1, 6))) == [2, 4, 6, 8, 10]
    assert doubling.batches == [[1, 2], [3, 4], [5]]


async def test_a_batch_that_fails_fails_for_each_and_the_next_goes_on() -> None:
    doubling = Doubling()
    doubling.open.set()
    gathering = Batcher(doubling.work, batch_at_most=2, waiting_at_most=10)
    outcomes = await asyncio.gather(*(gathering.put(number) for number in (1, 0, 3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, ZeroDivisionError, int]


async def test_more_than_may_wait_is_refused_at_once() -> None:
    doubling = Doubling()
    gathering = Batcher(doubling.work, batch_at_most=10, waiting_at_most=1)
    waiting = asyncio.ensure_future(gathering.put(1))
    await asyncio.sleep(0)
    with pytest.raises(TooManyWaitingError):
        await gathering.put(2)
    doubling.open.set()
    assert await waiting == 2


async def test_closing_does_what_still_waits_also_for_those_who_left() -> None:
    doubling = Doubling()
    gathering = Batcher(doubling.work, batch_at_most=10, waiting_at_most=10)
    left, stayed = asyncio.ensure_future(gathering.put(1)), asyncio.ensure_future(gathering.put(2))
    await doubling.begun.wait()
    left.cancel()
    doubling.open.set()
    await gathering.close()
    assert await stayed == 4
    assert left.cancelled()
