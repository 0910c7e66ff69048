"""The servers of the broker contract: JetStream in real time, its twin in virtual time."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Protocol

from msgspec.structs import replace

from shared.adapters.jetstream import JetStream, connect
from shared.adapters.memory import MemoryBroker, MemoryServer
from shared.adapters.virtual_time import VirtualClock, virtual_loop
from shared.config.connection import ConnectionOptions
from shared.config.settings import default_streams_file
from shared.config.units import nanoseconds
from shared.derived.topology import Declared, Topology, declare
from shared.ports.broker import Broker, Delivery, Outgoing, PullEpoch, Status
from shared.streams.apply import apply
from shared.streams.file import read_topology
from shared.wire.messages import partition_of
from tests.integration.till import scanner, till
from tests.waiting import until

PARTITIONS = 2
FULL = 5
REQUESTS_AT_MOST = 3
PIN_FOR = timedelta(milliseconds=400)
ACK_WAIT = timedelta(milliseconds=400)


class BrokerServer(Protocol):
    """A server, and the faults that a test can cause."""

    async def connect(self) -> Broker:
        """Open a new connection."""
        ...

    async def apply(self, declared: Sequence[Declared]) -> None:
        """Create or reconfigure these streams and consumers."""
        ...

    async def delete_stream(self, stream: str) -> None:
        """Delete a stream."""
        ...

    async def delete_consumer(self, stream: str, consumer: str) -> None:
        """Delete a consumer."""
        ...


class _OnJetStream:
    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self._url = url
        self._stack = stack

    async def connect(self) -> JetStream:
        broker = await connect(ConnectionOptions(servers=(self._url,)), name="tests")
        self._stack.push_async_callback(broker.close)
        return broker

    async def apply(self, declared: Sequence[Declared]) -> None:
        await apply((await self.connect()).api, declared)

    async def delete_stream(self, stream: str) -> None:
        await (await self.connect()).api(f"$JS.API.STREAM.DELETE.{stream}", b"")

    async def delete_consumer(self, stream: str, consumer: str) -> None:
        await (await self.connect()).api(f"$JS.API.CONSUMER.DELETE.{stream}.{consumer}", b"")


class _InMemory:
    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def connect(self) -> MemoryBroker:
        return MemoryBroker(self._server)

    async def apply(self, declared: Sequence[Declared]) -> None:
        self._server.apply(declared)

    async def delete_stream(self, stream: str) -> None:
        self._server.delete_stream(stream)

    async def delete_consumer(self, stream: str, consumer: str) -> None:
        self._server.delete_consumer(stream, consumer)


@asynccontextmanager
async def empty_server(account_url: str) -> AsyncIterator[BrokerServer]:
    """A server without streams: an account of a real one, or one in memory where time is virtual."""
    loop = virtual_loop()
    if loop is not None:
        yield _InMemory(MemoryServer(loop, VirtualClock(loop)))
        return
    async with AsyncExitStack() as stack:
        yield _OnJetStream(account_url, stack)


def tills(*, remembers: timedelta | None = None) -> tuple[Declared, ...]:
    """Streams and consumers of a till and a scanner, with small bounds and short timeouts."""
    topology: Topology = replace(read_topology(default_streams_file()), partitions=PARTITIONS)
    streams = {name: dict(keys) for name, keys in topology.streams.items()}
    streams["COMMANDS"]["max_msgs"] = FULL
    if remembers is not None:
        streams["EVENTS"]["duplicate_window"] = nanoseconds(remembers)
    consumers = replace(topology.consumers, priority_timeout=PIN_FOR, ack_wait=ACK_WAIT, max_waiting=REQUESTS_AT_MOST)
    return declare(replace(topology, streams=streams, consumers=consumers), (till(), scanner()))


class Receiver:
    """Records the deliveries and statuses of one epoch of pulling."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.pins: list[str | None] = []
        self.statuses: list[Status] = []
        self.epoch: PullEpoch

    @classmethod
    async def open(cls, broker: Broker, stream: str, consumer: str) -> "Receiver":
        """Begin an epoch."""
        receiver = cls()
        receiver.epoch = await broker.begin_epoch(stream, consumer, receiver._on_delivery, receiver.statuses.append)
        return receiver

    async def pull(self, batch: int, pin: str | None = None, *, expires_s: float = 60.0, beat_s: float = 20.0) -> None:
        """Request messages."""
        await self.epoch.pull(batch=batch, pin=pin, expires_s=expires_s, heartbeat_s=beat_s)

    async def receives(self, count: int) -> list[Delivery]:
        """Wait until exactly `count` messages have arrived; returns all of them."""
        await until(lambda: len(self.deliveries) >= count)
        assert len(self.deliveries) == count, [delivery.subject for delivery in self.deliveries]
        return self.deliveries

    async def gets_statuses(self, *codes: int) -> Status:
        """Wait until exactly these statuses have arrived; returns the last one."""
        await until(lambda: len(self.statuses) >= len(codes))
        assert [status.code for status in self.statuses] == list(codes), self.statuses
        return self.statuses[-1]

    @property
    def pin(self) -> str:
        """The pin that came with the last message."""
        pin = self.pins[-1]
        assert pin
        return pin

    def _on_delivery(self, delivery: Delivery, pin: str | None) -> None:
        self.deliveries.append(delivery)
        self.pins.append(pin)


def scanned(key: str, message_id: str | None = None, body: bytes = b"{}", **headers: str) -> Outgoing:
    """An event of the scanner."""
    return Outgoing(f"evt.scanner.GoodsScanned.{key}", _headers(message_id, headers), body)


def ring(key: str, message_id: str | None = None, body: bytes = b"{}") -> Outgoing:
    """A command to the till."""
    return Outgoing(f"cmd.till.Ring.{key}", _headers(message_id, {}), body)


def _headers(message_id: str | None, more: dict[str, str]) -> dict[str, str]:
    given = {name.replace("_", "-"): value for name, value in more.items()}
    return {**given, "Nats-Msg-Id": message_id} if message_id else given


HERE = [f"k-{n}" for n in range(40) if partition_of(f"k-{n}", PARTITIONS) == 0]
THERE = [f"k-{n}" for n in range(40) if partition_of(f"k-{n}", PARTITIONS) == 1]
TILL = "till-0"
A_WHILE_S = 0.2


async def is_free(broker: Broker) -> bool:
    """Whether no client has the pin."""
    return not (await broker.consumer_info("EVENTS", TILL)).pinned


async def has_messages(broker: Broker, stream: str, count: int) -> bool:
    """Whether a stream has `count` messages."""
    return (await broker.stream_info(stream)).messages == count
