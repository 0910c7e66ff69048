"""The server in memory: its streams, consumers and services, and its faults."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import NamedTuple, Protocol

from shared.adapters.memory.consumer import Consumer
from shared.adapters.memory.fault_rates import FaultRates
from shared.adapters.memory.link import Reply
from shared.adapters.memory.pulls import Inbox, PullRequest
from shared.adapters.memory.stream import StoredMessage, Stream
from shared.adapters.virtual_time import VirtualClock, VirtualLoop
from shared.context import Request
from shared.derived.topology import Declared
from shared.ports.broker import (
    CONSUMER_NOT_FOUND,
    STREAM_NOT_FOUND,
    BrokerRefusedError,
    ConsumerInfo,
    NoRespondersError,
    Outgoing,
    Published,
    Status,
    StreamInfo,
)
from shared.wire.messages import rfc3339

NO_RESPONDERS = NoRespondersError("nats: no responders available for request")
"""The answer to a request on a subject without a stream or service."""


class NoAnswerError(Exception):
    """The server sends no answer, so the client's request times out."""


class Connection(Protocol):
    """A client's connection, as the server knows it."""

    def reconnect(self) -> None:
        """Break the connection, losing everything in flight; reconnect if the server is up."""
        ...


class Endpoint(Protocol):
    """An endpoint of a service, as the server knows it."""

    def handle(self, request: Request, reply: Reply[tuple[Mapping[str, str], bytes]]) -> None:
        """Answer one request, at some time or never."""
        ...


class DiskCopy(NamedTuple):
    """A copy of the server's disk."""

    streams: dict[str, Stream]
    consumers: dict[tuple[str, str], Consumer]


class MemoryServer:
    """One server for any number of connections, all in one virtual world.

    The requests of clients come first, the faults from `delete_stream` on.
    """

    def __init__(self, loop: VirtualLoop, clock: VirtualClock) -> None:
        self.loop = loop
        self.clock = clock
        self.fault_rates = FaultRates()
        self.stopped = False
        self.streams: dict[str, Stream] = {}
        self.consumers: dict[tuple[str, str], Consumer] = {}
        self.connections: list[Connection] = []
        self.endpoints: dict[str, list[Endpoint]] = {}
        self.broadcast: set[str] = set()
        """The subjects whose requests go to all endpoints, not to one of them."""
        self._numbers = count(1)

    def apply(self, declared: Iterable[Declared]) -> None:
        """Create missing streams and consumers and reconfigure the others, as `chorus streams apply` does."""
        for one in declared:
            stream = self.streams.get(one.stream)
            if one.kind == "stream":
                if stream is None:
                    self.streams[one.name] = Stream(one.config, self.clock, self._new_created())
                else:
                    stream.configure(one.config)
            elif (consumer := self.consumers.get((one.stream, one.name))) is not None:
                consumer.configure(one.config)
            else:
                made = Consumer(one.config, self.stream(one.stream), self.loop, self._new_pin)
                self.consumers[one.stream, one.name] = made

    def stream(self, name: str) -> Stream:
        """A stream; raises BrokerRefusedError 10059 when it does not exist."""
        if name not in self.streams:
            raise BrokerRefusedError(STREAM_NOT_FOUND, "stream not found", name)
        return self.streams[name]

    def consumer(self, stream: str, name: str) -> Consumer:
        """A consumer; raises BrokerRefusedError 10014, or 10059 when the stream is missing."""
        if stream not in self.streams:
            raise BrokerRefusedError(STREAM_NOT_FOUND, "stream not found", f"{stream}/{name}")
        if (stream, name) not in self.consumers:
            raise BrokerRefusedError(CONSUMER_NOT_FOUND, "consumer not found", f"{stream}/{name}")
        return self.consumers[stream, name]

    def publish(self, message: Outgoing) -> Published:
        """Store a message in the stream of its subject."""
        stored = self._stream_of(message.subject).store(message)
        if self.loop.random.random() < self.fault_rates.delivered_twice:
            for (stream, _), consumer in self.consumers.items():
                if stream == stored.stream:
                    consumer.redeliver_last()
        return stored

    def publish_batch(self, messages: Sequence[Outgoing]) -> int:
        """Store all messages or none."""
        streams = [self._stream_of(message.subject) for message in messages]
        if not streams[-1].config.get("allow_atomic", False):
            raise BrokerRefusedError(10174, "atomic publish is disabled")
        if any(stream is not streams[-1] for stream in streams):
            raise BrokerRefusedError(10176, "atomic publish batch is incomplete")
        return streams[-1].store_batch(messages, f"batch-{next(self._numbers)}")

    def pull(self, stream: str, consumer: str, request: PullRequest) -> None:
        """Pass a pull request on to its consumer."""
        found = self.consumers.get((stream, consumer))
        if found is None:
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
            request.inbox.report(Status(503, "", {"Status": "503", "Description": "", "Nats-Subject": subject}))
        else:
            found.pull(request)

    def cancel_requests(self, stream: str, consumer: str, inbox: Inbox) -> None:
        """Forget the pull requests of an inbox."""
        found = self.consumers.get((stream, consumer))
        if found is not None:
            found.cancel_requests(inbox)

    def acknowledge(self, reply: str) -> None:
        """Pass an acknowledgement on to its consumer."""
        _, _, stream, consumer, _, sequence, *_ = reply.split(".")
        found = self.consumers.get((stream, consumer))
        if found is not None:
            found.acknowledge(int(sequence))

    def reset(self, stream: str, consumer: str, sequence: int) -> None:
        """Let a consumer deliver from `sequence` on; a sequence ahead skips messages silently."""
        self.consumer(stream, consumer).reset(sequence)

    def unpin(self, stream: str, consumer: str) -> None:
        """Release a consumer's pin, so that the next waiting client gets it."""
        self.consumer(stream, consumer).pin.release()

    def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo:
        """The state of a consumer."""
        return self.consumer(stream, consumer).info()

    def stream_info(self, stream: str) -> StreamInfo:
        """A stream's identity and bounds."""
        return self.stream(stream).info()

    def get(self, stream: str, sequence: int) -> StoredMessage | None:
        """The message at a sequence."""
        if stream not in self.streams:
            raise NO_RESPONDERS
        found = self.streams[stream]
        found.expire()
        return found.messages.get(sequence)

    def request(self, subject: str, request: Request, reply: Reply[tuple[Mapping[str, str], bytes]]) -> None:
        """Pass a request on to one of the endpoints of its subject, or to all of them."""
        endpoints = self.endpoints.get(subject)
        if not endpoints:
            reply.send(NO_RESPONDERS)
            return
        for endpoint in endpoints if subject in self.broadcast else [self.loop.random.choice(endpoints)]:
            endpoint.handle(request, reply)

    def delete_stream(self, stream: str) -> None:
        """Lose a stream with its messages and consumers; `apply` creates it again, with another `created`."""
        self.streams.pop(stream).deleted = True
        for of_stream, name in [names for names in self.consumers if names[0] == stream]:
            self.delete_consumer(of_stream, name)

    def delete_consumer(self, stream: str, consumer: str) -> None:
        """Lose a consumer and its position; `apply` creates it again, at the beginning of the stream."""
        found = self.consumers.pop((stream, consumer))
        if found in found.stream.observers:
            found.stream.observers.remove(found)
        found.close(409, "Consumer Deleted")

    def redeliver_last(self, stream: str, consumer: str) -> None:
        """Deliver a consumer's last message once more."""
        self.consumer(stream, consumer).redeliver_last()

    def stop(self) -> None:
        """Kill the server: it answers nothing until `start`, and loses nothing that it has stored."""
        self.stopped = True
        for consumer in self.consumers.values():
            consumer.close()
        for connection in self.connections:
            connection.reconnect()

    def start(self) -> None:
        """Start the server again; all clients reconnect."""
        self.stopped = False
        for connection in self.connections:
            connection.reconnect()

    def copy(self) -> DiskCopy:
        """Copy the disk, for `restore`."""
        return _copied(DiskCopy(self.streams, self.consumers))

    def restore(self, copy: DiskCopy) -> None:
        """Replace the disk of the stopped server by an older copy."""
        assert self.stopped, "stop the server first"
        for stream in self.streams.values():
            stream.deleted = True
        self.streams, self.consumers = _copied(copy)
        for stream in self.streams.values():
            stream.arm_schedules()

    def _stream_of(self, subject: str) -> Stream:
        for stream in self.streams.values():
            if stream.accepts(subject):
                return stream
        raise NO_RESPONDERS

    def _new_created(self) -> str:
        """A creation time that no other stream has."""
        return f"{rfc3339(self.clock.now()).removesuffix('Z')}{next(self._numbers):03d}Z"

    def _new_pin(self) -> str:
        return f"pin-{next(self._numbers)}"


def _copied(copy: DiskCopy) -> DiskCopy:
    streams = {name: stream.copy() for name, stream in copy.streams.items()}
    consumers = {names: consumer.copy_to(streams[names[0]]) for names, consumer in copy.consumers.items()}
    return DiskCopy(streams, consumers)
