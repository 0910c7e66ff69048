"""What a consumer is asked for and by whom: requests that wait, and the pin that says whose turn it is."""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import Protocol

from shared.ports.broker import Delivery, Status

ROUNDING_S = 1e-6
"""Timers are this much early at the most, which must not make them run again at once for ever."""


class Inbox(Protocol):
    """Where the answers to a request go."""

    def deliver(self, delivery: Delivery, pin: str) -> None:
        """A message."""
        ...

    def tell(self, status: Status) -> None:
        """A word of the server."""
        ...


class Pull:
    """A request for up to `batch` messages; `remaining` are still to come."""

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
        self, loop: AbstractEventLoop, expired: Callable[["Pull"], None], last: Callable[[], tuple[int, int]]
    ) -> None:
        """Stay until it expires; while there is nothing else to say a heartbeat says how far the consumer is."""
        self._served_at = loop.time()
        expiring = loop.call_later(self._expires_s, expired, self)

        def beat() -> None:
            silent_s = loop.time() - self._served_at
            if silent_s >= self._heartbeat_s - ROUNDING_S:
                self._served_at, silent_s = loop.time(), 0.0
                sequence, of_stream = last()
                self.tell(100, "Idle Heartbeat", {"Nats-Last-Consumer": sequence, "Nats-Last-Stream": of_stream})
            self._timers = (expiring, loop.call_later(self._heartbeat_s - silent_s, beat))

        self._timers = (expiring, loop.call_later(self._heartbeat_s, beat))

    def deliver(self, delivery: Delivery, pin: str, now: float) -> None:
        """One of the messages."""
        self.remaining -= 1
        self._served_at = now
        if self.remaining == 0:
            self.cancel()
        self.inbox.deliver(delivery, pin)

    def end(self, code: int, description: str) -> None:
        """Say why nothing more comes, and how much was still to come."""
        self.cancel()
        self.tell(code, description, {"Nats-Pending-Messages": self.remaining, "Nats-Pending-Bytes": 0})

    def tell(self, code: int, description: str, more: dict[str, int] | None = None) -> None:
        """Say what there is instead of a message."""
        headers = {name: str(value) for name, value in (more or {}).items()}
        self.inbox.tell(Status(code, description, {**headers, "Status": str(code), "Description": description}))

    def cancel(self) -> None:
        """Wait no longer."""
        for timer in self._timers:
            timer.cancel()


class Pin:
    """Who alone is served: `held` is that client's id. It is free again when the client has not asked for a while."""

    def __init__(
        self, loop: AbstractEventLoop, timeout_s: float, new_id: Callable[[], str], freed: Callable[[], None]
    ) -> None:
        self.held: str | None = None
        self._loop = loop
        self._timeout_s = timeout_s
        self._new_id = new_id
        self._freed = freed
        self._refreshed_at = 0.0

    def give(self) -> str:
        """Let somebody have it; the new id."""
        self.held = self._new_id()
        self.refresh()
        self._watch(self.held, self._timeout_s)
        return self.held

    def refresh(self) -> None:
        """The client has asked for something."""
        self._refreshed_at = self._loop.time()

    def free(self) -> None:
        """Let whoever asks next have it."""
        self.held = None
        self._freed()

    def _watch(self, pin: str, in_s: float) -> None:
        self._loop.call_later(in_s, self._check, pin)

    def _check(self, pin: str) -> None:
        if pin != self.held:
            return
        left_s = self._refreshed_at + self._timeout_s - self._loop.time()
        if left_s > ROUNDING_S:
            self._watch(pin, left_s)
        else:
            self.free()
