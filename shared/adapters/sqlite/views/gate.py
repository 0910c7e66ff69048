"""Lets queries through side by side, and keeps them waiting while the database behind them is exchanged."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Gate:
    """Open for any number of queries. `closed` waits until no query is inside, and keeps new ones waiting."""

    def __init__(self) -> None:
        self._inside = 0
        self._opened: anyio.Event | None = None
        self._left = anyio.Event()

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Wait until the gate is open, and hold it open while the block runs."""
        while self._opened is not None:
            await self._opened.wait()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._left.set()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """No query is inside while the block runs. Requires: the gate is not closed already."""
        self._opened = anyio.Event()
        try:
            while self._inside:
                self._left = anyio.Event()
                await self._left.wait()
            yield
        finally:
            self._opened.set()
            self._opened = None
