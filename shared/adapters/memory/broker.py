"""A connection to the server in memory, behind the Broker port."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from shared.adapters.memory.client_ends import Epoch, Service
from shared.adapters.memory.faults import Trouble
from shared.adapters.memory.server import MemoryServer, NoAnswerError
from shared.adapters.memory.wire import Reply, Wire
from shared.context import Endpoints, Request
from shared.ports.broker import (
    BrokerError,
    ConsumerInfo,
    Delivery,
    Denial,
    Outgoing,
    Published,
    Status,
    Stored,
    StreamInfo,
)

T = TypeVar("T")

API_TIMEOUT_S = 5.0
READ_BATCH = 1_000


class MemoryBroker:
    """One client's connection. Its next publications meet one of `troubles` each, after that what the moods bring.

    A connection that is `spared` the moods is for who looks on from outside.
    """

    def __init__(self, server: MemoryServer, *, spared: bool = False) -> None:
        self.troubles: deque[Trouble] = deque()
        self.server = server
        self._spared = spared
        self._wire = Wire(server.loop)
        self._reconnects = 0
        self._epochs: list[Epoch] = []
        self._served: list[tuple[str, Service]] = []
        server.connections.append(self)

    @property
    def reconnects(self) -> int:
        """How often the connection was made anew; what waited on an older one is gone."""
        return self._reconnects

    @property
    def denials(self) -> Sequence[Denial]:
        """None: every client of the server in memory may do everything."""
        return ()

    def drop(self) -> None:
        """Cut the connection and make it anew if the server is there; what was under way is lost, and what waited."""
        self._wire.cut()
        for epoch in self._epochs:
            epoch.leave()
        self._wire.connected = not self.server.away
        self._reconnects += self._wire.connected

    def close(self) -> None:
        """Disconnect for good."""
        self.drop()
        self._wire.connected = False
        self.server.connections.remove(self)
        for subject, service in self._served:
            self.server.services[subject].remove(service)

    async def pulls(
        self,
        stream: str,
        consumer: str,
        on_delivery: Callable[[Delivery, str | None], None],
        on_status: Callable[[Status], None],
    ) -> Epoch:
        """Begin an epoch on a durable consumer."""
        epoch = Epoch(self._wire, self.server, stream, consumer, on_delivery, on_status)
        self._epochs = [*(open_ for open_ in self._epochs if not open_.closed), epoch]
        return epoch

    async def reset(self, stream: str, consumer: str, sequence: int) -> None:
        """Let the consumer deliver from `sequence` on."""
        await self._ask(lambda: self.server.reset(stream, consumer, sequence))

    async def unpin(self, stream: str, consumer: str) -> None:
        """Hand the consumer to whoever waits for it."""
        await self._ask(lambda: self.server.unpin(stream, consumer))

    async def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo:
        """Raises BrokerRefusedError 10014 when there is no such consumer."""
        return await self._ask(lambda: self.server.consumer_info(stream, consumer))

    async def stream_info(self, stream: str) -> StreamInfo:
        """Raises BrokerRefusedError 10059 when there is no such stream."""
        return await self._ask(lambda: self.server.stream_info(stream))

    async def get(self, stream: str, sequence: int) -> Stored | None:
        """The message at a sequence, or None when it is not there."""
        kept = await self._ask(lambda: self.server.get(stream, sequence))
        return None if kept is None else kept.as_stored(stream)

    async def read(self, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> AsyncIterator[Stored]:
        """The stored messages whose subject matches, in stream order; `up_to` 0 is the stream's end as of now."""
        last = up_to or (await self.stream_info(stream)).last_sequence
        following = max(first, 1)
        while following <= last:
            batch = await self._ask(
                partial(lambda since: self.server.stream(stream).matching(subject, since, last, READ_BATCH), following)
            )
            for kept in batch:
                yield kept.as_stored(stream)
            if len(batch) < READ_BATCH:
                return
            following = batch[-1].sequence + 1

    async def acknowledge(self, replies: Sequence[str]) -> None:
        """Acknowledge deliveries by their reply subjects."""
        for reply in replies:
            self._wire.to_server(partial(self.server.acknowledge, reply))

    async def publish(self, message: Outgoing) -> Published:
        """Publish one message and wait for its PubAck."""
        return await self._ask(partial(self._troubled, self._trouble(), lambda: self.server.publish(message)))

    async def publish_each(self, messages: Sequence[Outgoing]) -> list[Published | BrokerError]:
        """Publish side by side and wait for every PubAck; the broker may store them in another order."""
        return await asyncio.gather(*(self._published(message) for message in messages))

    async def publish_batch(self, messages: Sequence[Outgoing]) -> int:
        """Publish 2 to 1,000 messages to one stream atomically; the sequence of the last one (they are consecutive)."""
        return await self._ask(partial(self._troubled, self._trouble(), lambda: self.server.publish_batch(messages)))

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[Mapping[str, str], bytes]:
        """Ask a service."""
        reply: Reply[tuple[Mapping[str, str], bytes]] = Reply(self._wire, timeout_s)
        self._wire.to_server(lambda: self.server.ask(subject, Request(headers, body), reply))
        return await reply.wait()

    async def serve(
        self, name: str, version: str, description: str, endpoints: Endpoints
    ) -> Callable[[], Awaitable[None]]:
        """Answer requests; what a service says of itself is asked by nobody here."""
        del name, version, description
        serving = [(subject, Service(self._wire, handle)) for subject, handle in endpoints.items()]
        self._served.extend(serving)
        for subject, service in serving:
            self.server.services.setdefault(subject, []).append(service)

        async def stop() -> None:
            for subject, service in serving:
                self._served.remove((subject, service))
                self.server.services[subject].remove(service)
                await asyncio.gather(*service.tasks, return_exceptions=True)

        return stop

    async def _published(self, message: Outgoing) -> Published | BrokerError:
        try:
            return await self.publish(message)
        except BrokerError as error:
            return error

    async def _ask(self, work: Callable[[], T]) -> T:
        reply: Reply[T] = Reply(self._wire, API_TIMEOUT_S)

        def arrive() -> None:
            try:
                answer = work()
            except NoAnswerError:
                return
            except Exception as error:
                reply.refuse(error)
            else:
                reply.give(answer)

        self._wire.to_server(arrive)
        return await reply.wait()

    def _trouble(self) -> Trouble | None:
        if self.troubles:
            return self.troubles.popleft()
        return None if self._spared else self.server.moods.next(self.server.loop.random)

    def _troubled(self, trouble: Trouble | None, store: Callable[[], T]) -> T:
        if trouble == "publication lost":
            raise NoAnswerError
        stored = store()
        if trouble == "connection cut":
            self.drop()
        if trouble is not None:
            raise NoAnswerError
        return stored
