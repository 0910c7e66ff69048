"""The link between a client and the server: everything takes a moment each way and keeps its order.

Timers and futures are asyncio's: the server answers from callbacks of the virtual loop, which cannot await.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from shared.adapters.virtual_time import VirtualLoop
from shared.ports.broker import BrokerUnavailableError

T = TypeVar("T")

SPACING_S = 1e-6


class Link:
    """One connection. `connected` says whether the server is at the other end; otherwise everything sent is lost."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.connected = True
        self._up = _Direction(loop)
        self._down = _Direction(loop)

    def to_server(self, arrive: Callable[[], None]) -> None:
        """Call `arrive` at the server, after everything sent before."""
        if self.connected:
            self._up.send(arrive)

    def to_client(self, arrive: Callable[[], None]) -> None:
        """Call `arrive` at the client, after everything sent before."""
        if self.connected:
            self._down.send(arrive)

    def cut(self) -> None:
        """Lose everything that is on its way, in both directions."""
        self._up.cuts += 1
        self._down.cuts += 1


class Reply(Generic[T]):
    """The answer to one request. The server gives it; without one the request times out."""

    def __init__(self, link: Link, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._link = link
        self._answer: asyncio.Future[T | Exception] = loop.create_future()
        self._timeout = loop.call_later(timeout_s, self._resolve, BrokerUnavailableError("nats: timeout"))

    def send(self, answer: T | Exception) -> None:
        """Send the answer, or the error to raise at the client."""
        self._link.to_client(partial(self._resolve, answer))

    async def wait(self) -> T:
        """Return the answer, or raise the server's error or BrokerUnavailableError."""
        try:
            answer = await self._answer
        finally:
            self.abandon()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def abandon(self) -> None:
        """Stop the timeout, for a client that does not wait for the answer."""
        self._timeout.cancel()

    def _resolve(self, answer: T | Exception) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)


class _Direction:
    def __init__(self, loop: VirtualLoop) -> None:
        self.cuts = 0
        self._loop = loop
        self._last_at = 0.0

    def send(self, arrive: Callable[[], None]) -> None:
        self._last_at = max(self._loop.time() + self._loop.moment_s(), self._last_at + SPACING_S)
        self._loop.call_at(self._last_at, self._arrive, self.cuts, arrive)

    def _arrive(self, cuts: int, arrive: Callable[[], None]) -> None:
        if cuts == self.cuts:
            arrive()
