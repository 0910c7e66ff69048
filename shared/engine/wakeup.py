"""Wakes the one task that waits for work."""

from collections.abc import Callable
from typing import TypeAlias

import anyio

Wake: TypeAlias = Callable[[], None]
"""Tells a waiting task that there is work."""


class Wakeup:
    """An event with one waiter, a time-out, and `clear`, which anyio's has not. `set` may come before `wait`."""

    __slots__ = ("_waiting", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._waiting = anyio.Event()

    def set(self) -> None:
        """Wake the waiter, or the next `wait`."""
        self.is_set = True
        self._waiting.set()

    def clear(self) -> None:
        """Let the next `wait` wait."""
        self.is_set = False

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until `set`, at most `timeout_s` seconds; returns whether it is set."""
        if not self.is_set:
            self._waiting = anyio.Event()
            with anyio.move_on_after(timeout_s):
                await self._waiting.wait()
        return self.is_set
