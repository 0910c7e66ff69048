"""The tasks that call the outside: at most `at_once` for each kind of effect, and each makes one call at a time.

A task without a call waits for the next one. A task, a semaphore and two cancel scopes for each call took a third of a
worker's processor time (sampled under load).
"""

from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final

from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from shared.engine.wakeup import Wakeup

CALLS_IN_A_ROW: Final = 16
"""After these a task yields to the event loop. Otherwise calls that never wait would hold up all other tasks."""


class Callers:
    """Calls `make` with each key, at most `at_once` side by side. `make` must not raise."""

    def __init__(self, at_once: int, make: Callable[[str], Awaitable[None]]) -> None:
        self._at_once = at_once
        self._make = make
        self._ready: deque[str] = deque()
        self._resting: list[Wakeup] = []
        self._begun = 0

    def add(self, key: str, tasks: TaskGroup) -> None:
        """Queue a call. Wakes a resting task, or starts one in this group while fewer than `at_once` exist."""
        self._ready.append(key)
        if self._resting:
            self._resting.pop().set()
        elif self._begun < self._at_once:
            self._begun += 1
            tasks.start_soon(self._run)

    async def _run(self) -> None:
        wakeup = Wakeup()
        for made in count():
            if made % CALLS_IN_A_ROW == 0:
                await checkpoint()
            while not self._ready:
                wakeup.clear()
                self._resting.append(wakeup)
                await wakeup.wait()
            await self._make(self._ready.popleft())
