"""The server in memory: its streams and consumers, the services that answer, and the troubles one can have with it."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import NamedTuple, Protocol

from shared.adapters.memory.consumer import Consumer
from shared.adapters.memory.faults import Moods
from shared.adapters.memory.pulls import Inbox, Pull
from shared.adapters.memory.stream import Kept, Stream
from shared.adapters.memory.wire import Reply
from shared.adapters.virtual_time import VirtualClock, VirtualLoop
from shared.context import Request
from shared.ports.broker import (
    CONSUMER_NOT_FOUND,
    STREAM_NOT_FOUND,
    BrokerRefusedError,
    BrokerUnavailableError,
    ConsumerInfo,
    Outgoing,
    Published,
    Status,
    StreamInfo,
)
from shared.topology import Declared
from shared.wire.messages import rfc3339

NO_RESPONDERS = BrokerUnavailableError("nats: no responders available for request")
"""What a client is told when nobody listens."""


class NoAnswerError(Exception):
    """The server does not answer that: whoever asks waits in vain."""


class Connection(Protocol):
    """A client, as the server knows it."""

    def drop(self) -> None:
        """Begin anew; what was under way is lost."""
        ...


class Service(Protocol):
    """Somebody who answers requests."""

    def ask(self, request: Request, reply: Reply[tuple[Mapping[str, str], bytes]]) -> None:
        """Answer one, now, later or never."""
        ...


class Copy(NamedTuple):
    """What is on the server's disk."""

    streams: dict[str, Stream]
    consumers: dict[tuple[str, str], Consumer]


class MemoryServer:
    """One server for any number of connections, all in one virtual world.

    What clients ask for comes first; from `delete_stream` on come the troubles one can have with it.
    """

    def __init__(self, loop: VirtualLoop, clock: VirtualClock) -> None:
        self.loop = loop
        self.clock = clock
        self.moods = Moods()
        self.away = False
        self.streams: dict[str, Stream] = {}
        self.consumers: dict[tuple[str, str], Consumer] = {}
        self.connections: list[Connection] = []
        self.services: dict[str, list[Service]] = {}
        self._numbers = count(1)

    def apply(self, declared: Iterable[Declared]) -> None:
        """Make the streams and consumers that are missing and change the others, as `chorus streams apply` does."""
        for one in declared:
            stream = self.streams.get(one.stream)
            if one.kind == "stream":
                if stream is None:
                    self.streams[one.name] = Stream(one.config, self.clock, self._birth())
                else:
                    stream.configure(one.config)
            elif (consumer := self.consumers.get((one.stream, one.name))) is not None:
                consumer.configure(one.config)
            else:
                made = Consumer(one.config, self.stream(one.stream), self.loop, self._new_pin)
                self.consumers[one.stream, one.name] = made

    def stream(self, name: str) -> Stream:
        """A stream; raises BrokerRefusedError 10059."""
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
        """Store a message."""
        stored = self._taking(message.subject).store(message)
        if self.loop.random.random() < self.moods.delivered_twice:
            for (stream, _), consumer in self.consumers.items():
                if stream == stored.stream:
                    consumer.deliver_again()
        return stored

    def publish_batch(self, messages: Sequence[Outgoing]) -> int:
        """Store all or none."""
        streams = [self._taking(message.subject) for message in messages]
        if not streams[-1].config.get("allow_atomic", False):
            raise BrokerRefusedError(10174, "atomic publish is disabled")
        if any(stream is not streams[-1] for stream in streams):
            raise BrokerRefusedError(10176, "atomic publish batch is incomplete")
        return streams[-1].store_batch(messages, f"batch-{next(self._numbers)}")

    def pull(self, stream: str, consumer: str, pull: Pull) -> None:
        """Serve a consumer's client."""
        found = self.consumers.get((stream, consumer))
        if found is None:
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
            pull.inbox.tell(Status(503, "", {"Status": "503", "Description": "", "Nats-Subject": subject}))
        else:
            found.ask(pull)

    def leave(self, stream: str, consumer: str, inbox: Inbox) -> None:
        """A client listens no longer."""
        found = self.consumers.get((stream, consumer))
        if found is not None:
            found.leave(inbox)

    def acknowledge(self, reply: str) -> None:
        """Take an acknowledgement."""
        _, _, stream, consumer, _, sequence, *_ = reply.split(".")
        found = self.consumers.get((stream, consumer))
        if found is not None:
            found.acknowledge(int(sequence))

    def reset(self, stream: str, consumer: str, sequence: int) -> None:
        """Let a consumer deliver from `sequence` on; set ahead, it skips without a word."""
        self.consumer(stream, consumer).reset(sequence)

    def unpin(self, stream: str, consumer: str) -> None:
        """Hand a consumer to whoever waits for it."""
        self.consumer(stream, consumer).pin.free()

    def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo:
        """How far a consumer is."""
        return self.consumer(stream, consumer).info()

    def stream_info(self, stream: str) -> StreamInfo:
        """A stream's identity and bounds."""
        return self.stream(stream).info()

    def get(self, stream: str, sequence: int) -> Kept | None:
        """One message."""
        if stream not in self.streams:
            raise NO_RESPONDERS
        found = self.streams[stream]
        found.let_go()
        return found.messages.get(sequence)

    def ask(self, subject: str, request: Request, reply: Reply[tuple[Mapping[str, str], bytes]]) -> None:
        """Hand a request to one of the services that answer on its subject."""
        services = self.services.get(subject)
        if services:
            self.loop.random.choice(services).ask(request, reply)
        else:
            reply.refuse(NO_RESPONDERS)

    def delete_stream(self, stream: str) -> None:
        """Lose a stream, its consumers and all it holds; `apply` makes it again, under another birth."""
        self.streams.pop(stream).gone = True
        for of_stream, name in [place for place in self.consumers if place[0] == stream]:
            self.delete_consumer(of_stream, name)

    def delete_consumer(self, stream: str, consumer: str) -> None:
        """Lose a consumer and its place; `apply` makes it again, at the beginning."""
        found = self.consumers.pop((stream, consumer))
        if found in found.stream.readers:
            found.stream.readers.remove(found)
        found.close(409, "Consumer Deleted")

    def deliver_again(self, stream: str, consumer: str) -> None:
        """Deliver a consumer's last message once more."""
        self.consumer(stream, consumer).deliver_again()

    def stop(self) -> None:
        """Kill the server: whoever asks is not answered, and finds out when it is back. Nothing stored is lost."""
        self.away = True
        for consumer in self.consumers.values():
            consumer.close()
        for connection in self.connections:
            connection.drop()

    def start(self) -> None:
        """Start it again; every connection is made anew."""
        self.away = False
        for connection in self.connections:
            connection.drop()

    def copy(self) -> Copy:
        """What is stored now, for `restore`."""
        return _copied(Copy(self.streams, self.consumers))

    def restore(self, copy: Copy) -> None:
        """Let the server, which must be stopped, come back with an older copy of its data."""
        assert self.away, "stop the server first"
        for stream in self.streams.values():
            stream.gone = True
        self.streams, self.consumers = _copied(copy)
        for stream in self.streams.values():
            stream.resume()

    def _taking(self, subject: str) -> Stream:
        for stream in self.streams.values():
            if stream.takes(subject):
                return stream
        raise NO_RESPONDERS

    def _birth(self) -> str:
        """A time that no other stream was born at."""
        return f"{rfc3339(self.clock.now()).removesuffix('Z')}{next(self._numbers):03d}Z"

    def _new_pin(self) -> str:
        return f"pin-{next(self._numbers)}"


def _copied(copy: Copy) -> Copy:
    streams = {name: stream.copy() for name, stream in copy.streams.items()}
    consumers = {place: consumer.copy_to(streams[place[0]]) for place, consumer in copy.consumers.items()}
    return Copy(streams, consumers)
