"""Pull requests that wait at a consumer, and the pin that decides which client is served.

Timers are asyncio's: they call back on the virtual loop.
"""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import Protocol

from shared.ports.broker import Delivery, Status

ROUNDING_S = 1e-6
"""A timer may run this much early; without the tolerance it would re-arm itself for ever."""


class Inbox(Protocol):
    """The receiver of a client's deliveries."""

    def deliver(self, delivery: Delivery, pin: str) -> None:
        """Receive a message."""
        ...

    def report(self, status: Status) -> None:
        """Receive a status."""
        ...


class PullRequest:
    """A request for up to `batch` messages, of which `remaining` are still to be delivered."""

    def __init__(
        self, inbox: Inbox, *, batch: int, pin: str | None, expires_s: float, heartbeat_s: float, no_wait: bool
    ) -> None:
        self.inbox = inbox
        self.remaining = batch
        self.pin = pin
        self.no_wait = no_wait
        self._expires_s = expires_s
        self._heartbeat_s = heartbeat_s
        self._served_at = 0.0
        self._timers: tuple[TimerHandle, ...] = ()

    def wait(
        self,
        loop: AbstractEventLoop,
        on_expiry: Callable[["PullRequest"], None],
        progress: Callable[[], tuple[int, int]],
    ) -> None:
        """Wait until expiry. An idle heartbeat reports the consumer's `progress`."""
        self._served_at = loop.time()
        expiry = loop.call_later(self._expires_s, on_expiry, self)

        def beat() -> None:
            silent_s = loop.time() - self._served_at
            if silent_s >= self._heartbeat_s - ROUNDING_S:
                self._served_at, silent_s = loop.time(), 0.0
                sequence, stream_sequence = progress()
                self.report(
                    100, "Idle Heartbeat", {"Nats-Last-Consumer": sequence, "Nats-Last-Stream": stream_sequence}
                )
            self._timers = (expiry, loop.call_later(self._heartbeat_s - silent_s, beat))

        self._timers = (expiry, loop.call_later(self._heartbeat_s, beat))

    def deliver(self, delivery: Delivery, pin: str, now: float) -> None:
        """Deliver one of the messages."""
        self.remaining -= 1
        self._served_at = now
        if self.remaining == 0:
            self.cancel()
        self.inbox.deliver(delivery, pin)

    def end(self, code: int, description: str) -> None:
        """End the request with a status that says how many messages were not delivered."""
        self.cancel()
        self.report(code, description, {"Nats-Pending-Messages": self.remaining, "Nats-Pending-Bytes": 0})

    def report(self, code: int, description: str, more: dict[str, int] | None = None) -> None:
        """Send a status to the client."""
        headers = {name: str(value) for name, value in (more or {}).items()}
        self.inbox.report(Status(code, description, {**headers, "Status": str(code), "Description": description}))

    def cancel(self) -> None:
        """Stop the timers."""
        for timer in self._timers:
            timer.cancel()


class Pin:
    """The right to be served; `owner` is the id of the client that has it.

    A client that sends no request within the timeout loses it.
    """

    def __init__(
        self, loop: AbstractEventLoop, timeout_s: float, new_id: Callable[[], str], on_release: Callable[[], None]
    ) -> None:
        self.owner: str | None = None
        self._loop = loop
        self._timeout_s = timeout_s
        self._new_id = new_id
        self._on_release = on_release
        self._refreshed_at = 0.0

    def grant(self) -> str:
        """Give the pin to a new owner and return the new id."""
        self.owner = self._new_id()
        self.refresh()
        self._check_later(self.owner, self._timeout_s)
        return self.owner

    def refresh(self) -> None:
        """Restart the timeout: the owner has sent a request."""
        self._refreshed_at = self._loop.time()

    def release(self) -> None:
        """Take the pin from its owner, so that the next request gets it."""
        self.owner = None
        self._on_release()

    def _check_later(self, pin: str, in_s: float) -> None:
        self._loop.call_later(in_s, self._check, pin)

    def _check(self, pin: str) -> None:
        if pin != self.owner:
            return
        left_s = self._refreshed_at + self._timeout_s - self._loop.time()
        if left_s > ROUNDING_S:
            self._check_later(pin, left_s)
        else:
            self.release()
