"""What lies between a client and the server: everything takes a moment each way, and keeps its order."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from shared.adapters.virtual_time import VirtualLoop
from shared.ports.broker import BrokerUnavailableError

T = TypeVar("T")

SPACING_S = 1e-6


class Wire:
    """A connection. `connected` is whether the server is at the other end: while it is not, what is sent is lost."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.connected = True
        self._up = _Line(loop)
        self._down = _Line(loop)

    def to_server(self, arrive: Callable[[], None]) -> None:
        """Let something arrive there, after all that was sent before."""
        if self.connected:
            self._up.send(arrive)

    def to_client(self, arrive: Callable[[], None]) -> None:
        """Let something arrive here, after all that was sent before."""
        if self.connected:
            self._down.send(arrive)

    def cut(self) -> None:
        """Lose what is under way, both ways."""
        self._up.cuts += 1
        self._down.cuts += 1


class Reply(Generic[T]):
    """The answer to one request, for the server to give; without one the client's patience ends."""

    def __init__(self, wire: Wire, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._wire = wire
        self._answer: asyncio.Future[T] = loop.create_future()
        self._late = loop.call_later(timeout_s, self._fail, BrokerUnavailableError("nats: timeout"))

    def give(self, answer: T) -> None:
        """Send the answer."""
        self._wire.to_client(partial(self._settle, answer))

    def refuse(self, error: Exception) -> None:
        """Send an error."""
        self._wire.to_client(partial(self._fail, error))

    async def wait(self) -> T:
        """The answer; raises what was refused, or BrokerUnavailableError."""
        try:
            return await self._answer
        finally:
            self._late.cancel()

    def _settle(self, answer: T) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)

    def _fail(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)


class _Line:
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
