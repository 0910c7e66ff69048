"""A client's ends of what it has open at the server: an epoch of pulling, and a service that answers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from shared.adapters.memory.pulls import Pull
from shared.adapters.memory.server import MemoryServer
from shared.adapters.memory.wire import Reply, Wire
from shared.context import Answer, Request
from shared.ports.broker import Delivery, Status


class Epoch:
    """One epoch of pulling from a consumer."""

    def __init__(
        self,
        wire: Wire,
        server: MemoryServer,
        stream: str,
        consumer: str,
        on_delivery: Callable[[Delivery, str | None], None],
        on_status: Callable[[Status], None],
    ) -> None:
        self._wire = wire
        self._server = server
        self._stream = stream
        self._consumer = consumer
        self._on_delivery = on_delivery
        self._on_status = on_status
        self.closed = False

    async def pull(self, *, batch: int, pin: str | None, expires_s: float, heartbeat_s: float) -> None:
        """Ask for up to `batch` messages."""
        self._ask(Pull(self, batch=batch, pin=pin, expires_s=expires_s, heartbeat_s=heartbeat_s, no_wait=False))

    async def keep_alive(self, pin: str) -> None:
        """Refresh the pin; a message that is there comes, else nothing waits."""
        self._ask(Pull(self, batch=1, pin=pin, expires_s=0, heartbeat_s=0, no_wait=True))

    async def close(self) -> None:
        """End the epoch."""
        self.closed = True
        self._wire.to_server(self.leave)

    def leave(self) -> None:
        """Let the server forget what was asked here."""
        self._server.leave(self._stream, self._consumer, self)

    def deliver(self, delivery: Delivery, pin: str) -> None:
        """The server sends a message."""
        if self._server.loop.random.random() < self._server.moods.delivery_lost:
            return
        self._wire.to_client(lambda: None if self.closed else self._on_delivery(delivery, pin))

    def tell(self, status: Status) -> None:
        """The server says something."""
        self._wire.to_client(lambda: None if self.closed else self._on_status(status))

    def _ask(self, pull: Pull) -> None:
        self._wire.to_server(partial(self._server.pull, self._stream, self._consumer, pull))


class Service:
    """A service's endpoint on somebody's connection."""

    def __init__(self, wire: Wire, handle: Callable[[Request], Awaitable[Answer | None]]) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._wire = wire
        self._handle = handle

    def ask(self, request: Request, reply: Reply[tuple[Mapping[str, str], bytes]]) -> None:
        """Hand a request over."""

        async def answer() -> None:
            said = await self._handle(request)
            if said is None:
                return
            code, text = said.error or ("", "")
            headers = {"Nats-Service-Error-Code": code, "Nats-Service-Error": text} if said.error else {}
            self._wire.to_server(lambda: reply.give((headers, said.body)))

        def arrive() -> None:
            task = asyncio.get_running_loop().create_task(answer())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

        self._wire.to_client(arrive)
