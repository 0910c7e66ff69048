"""Virtual time: an event loop whose time jumps to the next timer when nothing is left to do, and a clock to go with it.

Nothing waits, nothing runs in a thread, and all chance comes from one seed: the same seed does the same twice.
"""

import asyncio
import selectors
from asyncio import TimerHandle
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

import anyio

from shared.ports.clock import moment

BEGINNING = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
MOMENT_AT_LEAST_S = 0.000_05
MOMENT_AT_MOST_S = 0.002
"""How long a transaction, or one way over the wire, takes: about what it takes for real, and never twice the same."""


class DeadlockError(Exception):
    """Everything waits, and for nothing that time could bring."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which begins at 0."""

    def __init__(self, seed: int = 0) -> None:
        self.random = Random(seed)  # noqa: S311  Chance that can be had again, no secret.
        self._elapsed_s = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._elapsed_s

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._elapsed_s += seconds

    def moment_s(self) -> float:
        """How long something takes that takes a moment."""
        return self.random.uniform(MOMENT_AT_LEAST_S, MOMENT_AT_MOST_S)

    def run_in_executor(  # type: ignore[override]  # It returns the same kind of future, and returns it done.
        self,
        executor: Executor | None,  # noqa: ARG002  No thread is needed.
        func: Callable[..., Any],
        *args: Any,
    ) -> asyncio.Future[Any]:
        """Do on the spot what a thread would do."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class _Jumping(selectors.DefaultSelector):
    """Where a loop waits for the world, this one lets the loop's time pass instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            return []
        ready = super().select(0)  # A signal, Ctrl-C for one, comes over a socket.
        if not ready:
            if timeout is None:
                raise DeadlockError("nothing is left to do, and no timer runs")
            self._loop.jump(timeout)
        return ready


def virtual_loop() -> VirtualLoop | None:
    """The running loop if its time is virtual."""
    loop = asyncio.get_running_loop()
    return loop if isinstance(loop, VirtualLoop) else None


class VirtualClock:
    """The clock on the wall of a virtual world. Beside passing with the loop's time it can be put forward by hand.

    What runs by `monotonic` (pins, heartbeats, back-offs) does not notice that; what is due by `now` comes due.
    """

    def __init__(self, loop: VirtualLoop, beginning: datetime = BEGINNING) -> None:
        self._loop = loop
        self._beginning_ns = (beginning - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 1000
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self._armed: TimerHandle | None = None

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self._beginning_ns + round(self._loop.time() * 1e9)

    def now(self) -> datetime:
        """Aware, UTC."""
        return moment(self.now_ns())

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)

    def put_forward(self, by: timedelta) -> None:
        """Make it later at once."""
        self._beginning_ns += by // timedelta(microseconds=1) * 1000
        self._arm()

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> None:
        """Call when the clock shows that time, or soon if it is past it."""
        heappush(self._agenda, (when_ns, next(self._numbers), callback))
        self._arm()

    @property
    def next_call(self) -> datetime | None:
        """When the next callback is due."""
        return moment(self._agenda[0][0]) if self._agenda else None

    def _arm(self) -> None:
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        if self._agenda:
            ahead_ns = max(self._agenda[0][0] - self.now_ns(), 0)
            self._armed = self._loop.call_later((ahead_ns + 1000) / 1e9, self._ring)

    def _ring(self) -> None:
        while self._agenda and self._agenda[0][0] <= self.now_ns():
            heappop(self._agenda)[2]()
        self._arm()
