"""Virtual time: an event loop whose time jumps to the next timer when it is idle, and its clock.

Nothing really waits, nothing runs in a thread, and all randomness comes from one seed: a seed repeats a run exactly.
The loop is an asyncio loop, because anyio offers no place to put a loop of one's own.
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

from shared.ports.clock import moment, since_1970_ns

BEGINNING = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
MOMENT_AT_LEAST_S = 0.000_05
MOMENT_AT_MOST_S = 0.002
"""The bounds of the random duration of a transaction or of one way over the network, close to real ones."""


class DeadlockError(Exception):
    """All tasks wait, and no timer will wake one up."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which begins at 0."""

    def __init__(self, seed: int = 0) -> None:
        self.random = Random(seed)  # noqa: S311  Repeatable on purpose, no secret.
        self._elapsed_s = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Virtual seconds since the loop was created."""
        return self._elapsed_s

    def jump(self, seconds: float) -> None:
        """Advance the time."""
        self._elapsed_s += seconds

    def moment_s(self) -> float:
        """A random duration between MOMENT_AT_LEAST_S and MOMENT_AT_MOST_S."""
        return self.random.uniform(MOMENT_AT_LEAST_S, MOMENT_AT_MOST_S)

    def run_in_executor(  # type: ignore[override]  # It returns the same kind of future, and returns it done.
        self,
        executor: Executor | None,  # noqa: ARG002  No thread runs.
        func: Callable[..., Any],
        *args: Any,
    ) -> asyncio.Future[Any]:
        """Run the function on the spot instead of in a thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class _JumpingSelector(selectors.DefaultSelector):
    """Advances the loop's time instead of waiting for I/O."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            return []
        ready = super().select(0)  # A signal, such as Ctrl-C, arrives over a socket.
        if not ready:
            if timeout is None:
                raise DeadlockError("all tasks wait, and no timer will wake one up")
            self._loop.jump(timeout)
        return ready


def virtual_loop() -> VirtualLoop | None:
    """The running loop if its time is virtual."""
    loop = asyncio.get_running_loop()
    return loop if isinstance(loop, VirtualLoop) else None


class VirtualClock:
    """The wall clock of a virtual world. It runs with the loop's time and can be put forward by hand.

    Putting it forward makes due what waits for `now`; pins, heartbeats and back-offs run by `monotonic` and stay.
    """

    def __init__(self, loop: VirtualLoop, beginning: datetime = BEGINNING) -> None:
        self._loop = loop
        self._beginning_ns = since_1970_ns(beginning)
        self._callbacks: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self._timer: TimerHandle | None = None

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self._beginning_ns + round(self._loop.time() * 1e9)

    def now(self) -> datetime:
        return moment(self.now_ns())

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    def put_forward(self, by: timedelta) -> None:
        """Put the clock forward, or back, at once."""
        self._beginning_ns += by // timedelta(microseconds=1) * 1000
        self._arm()

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> None:
        """Call back when the clock shows this time, or soon if it is past."""
        heappush(self._callbacks, (when_ns, next(self._numbers), callback))
        self._arm()

    @property
    def next_call(self) -> datetime | None:
        """The time of the next callback."""
        return moment(self._callbacks[0][0]) if self._callbacks else None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._callbacks:
            ahead_ns = max(self._callbacks[0][0] - self.now_ns(), 0)
            self._timer = self._loop.call_later((ahead_ns + 1000) / 1e9, self._run_due)

    def _run_due(self) -> None:
        while self._callbacks and self._callbacks[0][0] <= self.now_ns():
            heappop(self._callbacks)[2]()
        self._arm()
