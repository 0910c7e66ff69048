"""Group commit: items that arrive while one batch is in progress form the next batch.

Under light load a batch is one item and never waits. Under heavy load its items share one transaction, one disk sync
and one thread hop. The results are asyncio futures and the worker is an asyncio task: the callers share no task group,
and cancelling one caller must not cancel the batch.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class TooManyWaitingError(Exception):
    """The queue is full; the item was not accepted."""


class Batcher(Generic[Item, Result]):
    """Collects items into batches for `work`, which returns one result per item, in order."""

    def __init__(
        self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], *, batch_at_most: int, waiting_at_most: int
    ) -> None:
        self._work = work
        self._batch_at_most = batch_at_most
        self._waiting_at_most = waiting_at_most
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def put(self, item: Item) -> Result:
        """Return the result for this item; raises what `work` raises for its batch, or TooManyWaitingError."""
        if len(self._waiting) >= self._waiting_at_most:
            raise TooManyWaitingError(f"{self._waiting_at_most} items are waiting; try again later")
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._worker is None:
            self._worker = asyncio.create_task(self._run_batches())
        return await result

    async def close(self) -> None:
        """Finish all waiting items."""
        if self._worker is not None:
            await self._worker

    async def _run_batches(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._batch_at_most], self._waiting[self._batch_at_most :]
            futures = [result for _, result in batch]
            try:
                results = await self._work([item for item, _ in batch])
            except Exception as error:
                for future in futures:
                    if not future.done():  # A caller may have been cancelled.
                        future.set_exception(error)
            else:
                for future, result in zip(futures, results, strict=True):
                    if not future.done():
                        future.set_result(result)
        self._worker = None
