"""Work that arrives together is done together: what comes while a batch is under way is the next batch.

With little to do a batch is one item and waits for nobody; with much to do the items share one transaction, one sync of
the disk, one hop to a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class TooManyWaitingError(Exception):
    """As many items wait as may; nothing was done with this one."""


class Batcher(Generic[Item, Result]):
    """Gathers items for `work`, which returns one result for each, in order."""

    def __init__(
        self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], *, batch_at_most: int, waiting_at_most: int
    ) -> None:
        self._work = work
        self._batch_at_most = batch_at_most
        self._waiting_at_most = waiting_at_most
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._working: asyncio.Task[None] | None = None

    async def put(self, item: Item) -> Result:
        """The result for this item, once its batch is done; raises what `work` raised, or TooManyWaitingError."""
        if len(self._waiting) >= self._waiting_at_most:
            raise TooManyWaitingError(f"{self._waiting_at_most} are waiting")
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._working is None:
            self._working = asyncio.create_task(self._work_on())
        return await result

    async def close(self) -> None:
        """Do what still waits."""
        if self._working is not None:
            await self._working

    async def _work_on(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._batch_at_most], self._waiting[self._batch_at_most :]
            waiting = [result for _, result in batch]
            try:
                results = await self._work([item for item, _ in batch])
            except Exception as error:
                for future in waiting:
                    if not future.done():  # Whoever waited may have gone.
                        future.set_exception(error)
            else:
                for future, result in zip(waiting, results, strict=True):
                    if not future.done():
                        future.set_result(result)
        self._working = None
