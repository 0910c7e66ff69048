"""A connection to the server in memory, behind the Broker port."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from shared.adapters.memory.epoch import MemoryEpoch
from shared.adapters.memory.fault_rates import Fault
from shared.adapters.memory.link import Link, Reply
from shared.adapters.memory.server import MemoryServer, NoAnswerError
from shared.adapters.memory.service import MemoryEndpoint
from shared.context import NO_ENDPOINTS, Endpoints, Request
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

REQUEST_TIMEOUT_S = 5.0
READ_BATCH = 1_000


class MemoryBroker:
    """One client's connection. Its next publications meet the `faults` in turn, later ones those that the rates draw.

    A `faultless` connection meets no fault by chance; a test observes the world through one.
    """

    def __init__(self, server: MemoryServer, *, faultless: bool = False) -> None:
        self.faults: deque[Fault] = deque()
        self.server = server
        self._faultless = faultless
        self._link = Link(server.loop)
        self._reconnects = 0
        self._epochs: list[MemoryEpoch] = []
        self._endpoints: list[tuple[str, MemoryEndpoint]] = []
        server.connections.append(self)

    @property
    def reconnects(self) -> int:
        return self._reconnects

    @property
    def denials(self) -> Sequence[Denial]:
        """Always empty: the server in memory denies nothing."""
        return ()

    def reconnect(self) -> None:
        """Break the connection, losing everything in flight and all pull requests; reconnect if the server is up."""
        self._link.cut()
        for epoch in self._epochs:
            epoch.cancel_requests()
        self._link.connected = not self.server.stopped
        self._reconnects += self._link.connected

    def close(self) -> None:
        """Disconnect for good."""
        self.reconnect()
        self._link.connected = False
        self.server.connections.remove(self)
        for subject, endpoint in self._endpoints:
            self.server.endpoints[subject].remove(endpoint)

    async def begin_epoch(
        self,
        stream: str,
        consumer: str,
        on_delivery: Callable[[Delivery, str | None], None],
        on_status: Callable[[Status], None],
    ) -> MemoryEpoch:
        epoch = MemoryEpoch(self._link, self.server, stream, consumer, on_delivery, on_status)
        self._epochs = [*(open_ for open_ in self._epochs if not open_.closed), epoch]
        return epoch

    async def reset(self, stream: str, consumer: str, sequence: int) -> None:
        await self._request(lambda: self.server.reset(stream, consumer, sequence))

    async def unpin(self, stream: str, consumer: str) -> None:
        await self._request(lambda: self.server.unpin(stream, consumer))

    async def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo:
        return await self._request(lambda: self.server.consumer_info(stream, consumer))

    async def stream_info(self, stream: str) -> StreamInfo:
        return await self._request(lambda: self.server.stream_info(stream))

    async def get(self, stream: str, sequence: int) -> Stored | None:
        found = await self._request(lambda: self.server.get(stream, sequence))
        return None if found is None else found.as_stored(stream)

    async def read(self, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> AsyncIterator[Stored]:
        last = up_to or (await self.stream_info(stream)).last_sequence
        following = max(first, 1)
        while following <= last:
            batch = await self._request(
                partial(lambda since: self.server.stream(stream).matching(subject, since, last, READ_BATCH), following)
            )
            for message in batch:
                yield message.as_stored(stream)
            if len(batch) < READ_BATCH:
                return
            following = batch[-1].sequence + 1

    async def acknowledge(self, replies: Sequence[str]) -> None:
        for reply in replies:
            self._link.to_server(partial(self.server.acknowledge, reply))

    async def publish(self, message: Outgoing) -> Published:
        return await self._send_publication(partial(self.server.publish, message)).wait()

    async def publish_each(self, messages: Sequence[Outgoing]) -> list[Published | BrokerError]:
        replies = [self._send_publication(partial(self.server.publish, message)) for message in messages]
        try:
            return [await _answer_of(reply) for reply in replies]
        finally:
            for reply in replies:
                reply.abandon()

    async def publish_batch(self, messages: Sequence[Outgoing]) -> int:
        return await self._send_publication(lambda: self.server.publish_batch(messages)).wait()

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[Mapping[str, str], bytes]:
        reply: Reply[tuple[Mapping[str, str], bytes]] = Reply(self._link, timeout_s)
        self._link.to_server(lambda: self.server.request(subject, Request(headers, body), reply))
        return await reply.wait()

    async def serve(
        self, name: str, version: str, description: str, endpoints: Endpoints, broadcast: Endpoints = NO_ENDPOINTS
    ) -> Callable[[], Awaitable[None]]:
        """Serve the endpoints; `$SRV` requests about the service itself are not answered."""
        del name, version, description
        serving = [
            (subject, MemoryEndpoint(self._link, handle)) for subject, handle in {**endpoints, **broadcast}.items()
        ]
        self._endpoints.extend(serving)
        self.server.broadcast |= broadcast.keys()
        for subject, endpoint in serving:
            self.server.endpoints.setdefault(subject, []).append(endpoint)

        async def stop() -> None:
            for subject, endpoint in serving:
                self._endpoints.remove((subject, endpoint))
                self.server.endpoints[subject].remove(endpoint)
                await endpoint.finish()

        return stop

    async def _request(self, work: Callable[[], T]) -> T:
        return await self._send(work).wait()

    def _send(self, work: Callable[[], T]) -> Reply[T]:
        """Run `work` at the server and send back what it returns or raises."""
        reply: Reply[T] = Reply(self._link, REQUEST_TIMEOUT_S)

        def arrive() -> None:
            try:
                answer: T | Exception = work()
            except NoAnswerError:
                return
            except Exception as error:
                answer = error
            reply.send(answer)

        self._link.to_server(arrive)
        return reply

    def _send_publication(self, store: Callable[[], T]) -> Reply[T]:
        return self._send(partial(self._store_with_fault, self._next_fault(), store))

    def _next_fault(self) -> Fault | None:
        if self.faults:
            return self.faults.popleft()
        return None if self._faultless else self.server.fault_rates.draw(self.server.loop.random)

    def _store_with_fault(self, fault: Fault | None, store: Callable[[], T]) -> T:
        if fault == "publication lost":
            raise NoAnswerError
        stored = store()
        if fault == "connection cut":
            self.reconnect()
        if fault is not None:
            raise NoAnswerError
        return stored


async def _answer_of(reply: Reply[Published]) -> Published | BrokerError:
    try:
        return await reply.wait()
    except BrokerError as error:
        return error
