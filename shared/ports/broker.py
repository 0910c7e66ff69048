"""What the engine asks of a broker. JetStream is the real adapter; `adapters.memory` is its in-memory twin."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from shared.context import Endpoints
from shared.ports.clock import moment
from shared.wire.messages import MSG_ID, place_id
from shared.wire.streams import EVENTS

CONSUMER_NOT_FOUND = 10014
STREAM_NOT_FOUND = 10059


class BrokerError(Exception):
    """The broker did not do what was asked, or nobody knows whether it did."""


class BrokerUnavailableError(BrokerError):
    """The broker did not answer: what was asked may or may not have happened."""


class BrokerDeniedError(BrokerUnavailableError):
    """The server does not let this user publish or subscribe there; it answers as soon as the permission is given."""


class BrokerLoginError(BrokerError):
    """The server refuses this user's login; the text says whose and what to set. Waiting does not help."""


class BrokerRefusedError(BrokerError):
    """The broker answered no; `code` is the JetStream API's `err_code`, `subject` what it was asked about, if known."""

    def __init__(self, code: int, text: str, subject: str = "") -> None:
        super().__init__(f"{subject}{subject and ': '}{text} ({code})")
        self.code = code
        self.text = text
        self.subject = subject

    @property
    def missing(self) -> bool:
        """Whether the stream or consumer `subject` (`STREAM` or `STREAM/CONSUMER`) does not exist."""
        return self.code in (CONSUMER_NOT_FOUND, STREAM_NOT_FOUND)


class Delivery:
    """A stored message as a consumer delivers it. `pending`: how many more the consumer had to deliver after it."""

    __slots__ = ("at_ns", "body", "consumer_sequence", "headers", "pending", "reply", "sequence", "subject")

    def __init__(
        self,
        *,
        sequence: int,
        consumer_sequence: int,
        pending: int,
        at_ns: int,
        subject: str,
        headers: Mapping[str, str],
        body: bytes,
        reply: str,
    ) -> None:
        self.sequence = sequence
        self.consumer_sequence = consumer_sequence
        self.pending = pending
        self.at_ns = at_ns
        self.subject = subject
        self.headers = headers
        self.body = body
        self.reply = reply

    @property
    def at(self) -> datetime:
        """When the stream stored it, to the microsecond."""
        return moment(self.at_ns)


class Status(NamedTuple):
    """What a pull is told instead of a message: 100 heartbeat, 404 none, 408 expired, 409 gone, 423 not pinned, 503."""

    code: int
    description: str
    headers: Mapping[str, str]


class Stored(NamedTuple):
    """A message read from a stream directly."""

    sequence: int
    at: datetime
    subject: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        """The id of a message in EVENTS: its own, or one that follows from its place in the stream."""
        return self.headers.get(MSG_ID) or place_id(EVENTS, self.sequence, self.at)


class Outgoing(NamedTuple):
    """A message to publish; `headers` carry its `Nats-Msg-Id`."""

    subject: str
    headers: Mapping[str, str]
    body: bytes


class Published(NamedTuple):
    """A PubAck. `duplicate` compares ids only, so content must be verified by who published."""

    stream: str
    sequence: int
    duplicate: bool


class StreamInfo(NamedTuple):
    """A stream's identity (`created`), its bounds and its metadata."""

    created: str
    first_sequence: int
    last_sequence: int
    messages: int
    metadata: Mapping[str, str]


class ConsumerInfo(NamedTuple):
    """How far a consumer has delivered, how much it still has to, and whether some client has its pin."""

    delivered_consumer_sequence: int
    delivered_sequence: int
    pending: int
    unacknowledged: int
    pinned: bool


class Denial(NamedTuple):
    """A permission that the user of this connection lacks, and how often the server has said so."""

    action: Literal["publish", "subscribe"]
    subject: str
    user: str
    times: int


class Pulls(Protocol):
    """One epoch of pulling from a consumer: after `close` nothing of it arrives any more."""

    async def pull(self, *, batch: int, pin: str | None, expires_s: float, heartbeat_s: float) -> None:
        """Ask for up to `batch` messages."""
        ...

    async def keep_alive(self, pin: str) -> None:
        """Refresh the pin without asking for anything to wait for."""
        ...

    async def close(self) -> None:
        """End the epoch."""
        ...


class Broker(Protocol):
    """JetStream, or its twin. Every call raises BrokerUnavailableError or BrokerRefusedError."""

    @property
    def reconnects(self) -> int:
        """How often the connection was made anew; what waited on an older one is gone."""
        ...

    async def pulls(
        self,
        stream: str,
        consumer: str,
        on_delivery: Callable[[Delivery, str | None], None],
        on_status: Callable[[Status], None],
    ) -> Pulls:
        """Begin an epoch on a durable consumer; a delivery comes with the pin id when the server gave a new one."""
        ...

    @property
    def denials(self) -> Sequence[Denial]:
        """The permissions that are missing now, as far as something was tried that needs them."""
        ...

    async def reset(self, stream: str, consumer: str, sequence: int) -> None:
        """Let the consumer deliver from `sequence` on; raises BrokerRefusedError 10014 when there is none."""
        ...

    async def unpin(self, stream: str, consumer: str) -> None:
        """Hand the consumer to whoever waits for it."""
        ...

    async def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo:
        """Raises BrokerRefusedError 10014 when there is no such consumer."""
        ...

    async def stream_info(self, stream: str) -> StreamInfo:
        """Raises BrokerRefusedError 10059 when there is no such stream."""
        ...

    async def get(self, stream: str, sequence: int) -> Stored | None:
        """The message at a sequence, or None when it is not there."""
        ...

    def read(self, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> AsyncIterator[Stored]:
        """The stored messages whose subject matches, in stream order; `up_to` 0 is the stream's end as of now."""
        ...

    async def acknowledge(self, replies: Sequence[str]) -> None:
        """Acknowledge deliveries by their reply subjects."""
        ...

    async def publish(self, message: Outgoing) -> Published:
        """Publish one message and wait for its PubAck."""
        ...

    async def publish_each(self, messages: Sequence[Outgoing]) -> list[Published | BrokerError]:
        """Publish side by side and wait for every PubAck; the broker may store them in another order."""
        ...

    async def publish_batch(self, messages: Sequence[Outgoing]) -> int:
        """Publish 2 to 1,000 messages to one stream atomically; the sequence of the last one (they are consecutive)."""
        ...

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[Mapping[str, str], bytes]:
        """Ask a service."""
        ...

    async def serve(
        self, name: str, version: str, description: str, endpoints: Endpoints
    ) -> Callable[[], Awaitable[None]]:
        """Answer requests as an ADR-32 service; returns how to stop."""
        ...
