"""The client's side of one epoch of pulling from a consumer."""

from collections.abc import Callable
from functools import partial

from shared.adapters.memory.link import Link
from shared.adapters.memory.pulls import PullRequest
from shared.adapters.memory.server import MemoryServer
from shared.ports.broker import Delivery, Status


class MemoryEpoch:
    def __init__(
        self,
        link: Link,
        server: MemoryServer,
        stream: str,
        consumer: str,
        on_delivery: Callable[[Delivery, str | None], None],
        on_status: Callable[[Status], None],
    ) -> None:
        self._link = link
        self._server = server
        self._stream = stream
        self._consumer = consumer
        self._on_delivery = on_delivery
        self._on_status = on_status
        self.closed = False

    async def pull(self, *, batch: int, pin: str | None, expires_s: float, heartbeat_s: float) -> None:
        self._send(PullRequest(self, batch=batch, pin=pin, expires_s=expires_s, heartbeat_s=heartbeat_s, no_wait=False))

    async def keep_alive(self, pin: str) -> None:
        self._send(PullRequest(self, batch=1, pin=pin, expires_s=0, heartbeat_s=0, no_wait=True))

    async def close(self) -> None:
        self.closed = True
        self._link.to_server(self.cancel_requests)

    def cancel_requests(self) -> None:
        """Let the server forget the requests of this epoch."""
        self._server.cancel_requests(self._stream, self._consumer, self)

    def deliver(self, delivery: Delivery, pin: str) -> None:
        """Called by the server with a message."""
        if self._server.loop.random.random() < self._server.fault_rates.delivery_lost:
            return
        self._link.to_client(lambda: None if self.closed else self._on_delivery(delivery, pin))

    def report(self, status: Status) -> None:
        """Called by the server with a status."""
        self._link.to_client(lambda: None if self.closed else self._on_status(status))

    def _send(self, request: PullRequest) -> None:
        self._link.to_server(partial(self._server.pull, self._stream, self._consumer, request))
