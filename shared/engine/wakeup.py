"""A bell: whoever has work for somebody rings it, and who does the work waits for it."""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

Wake: TypeAlias = Callable[[], None]
"""Tells whoever waits that there is work."""


class Wakeup:
    """For one who waits. Rung beforehand it lets them go on at once; rung twice it has rung."""

    __slots__ = ("_waiting", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._waiting: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Let go on who waits, and who will."""
        self.is_set = True
        _let_go(self._waiting)

    def clear(self) -> None:
        """As if it had not rung."""
        self.is_set = False

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Until it rings, but no longer than this; whether it has rung."""
        if not self.is_set:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            timer = None if timeout_s is None else loop.call_later(timeout_s, _let_go, self._waiting)
            try:
                await self._waiting
            finally:
                self._waiting = None
                if timer is not None:
                    timer.cancel()
        return self.is_set


def _let_go(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
