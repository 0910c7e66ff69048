"""The engine's port to a broker: JetStream, or its twin in memory (`shared.adapters.memory`)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from shared.context import NO_ENDPOINTS, Endpoints
from shared.ports.clock import moment
from shared.wire.messages import MSG_ID, fallback_id
from shared.wire.streams import EVENTS

CONSUMER_NOT_FOUND = 10014
STREAM_NOT_FOUND = 10059


class BrokerError(Exception):
    """A request failed, or its outcome is unknown."""


class BrokerUnavailableError(BrokerError):
    """The broker did not answer: the request may or may not have been carried out."""


class NoRespondersError(BrokerUnavailableError):
    """Nothing listens on the subject: no stream takes it, and no service answers it."""


class Denial(NamedTuple):
    """A permission that this connection's user lacks, and how often the server has denied it."""

    action: Literal["publish", "subscribe"]
    subject: str
    user: str
    times: int


class BrokerDeniedError(BrokerUnavailableError):
    """This user lacks a permission; the request succeeds once an operator grants it."""

    def __init__(self, text: str, denial: Denial | None = None) -> None:
        super().__init__(text)
        self.denial = denial


class BrokerLoginError(BrokerError):
    """The server refuses this user's login; the text says whose and what to set. Waiting does not help."""


class BrokerRefusedError(BrokerError):
    """The broker refused; `code` is the JetStream API's `err_code`, `subject` the stream or consumer, if known."""

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
    """A stored message as a consumer delivers it, with `pending` more to come; or as it is read from elsewhere."""

    __slots__ = ("at_ns", "body", "consumer_sequence", "headers", "pending", "reply", "sequence", "subject")

    def __init__(
        self,
        *,
        sequence: int,
        at_ns: int,
        subject: str,
        headers: Mapping[str, str],
        body: bytes,
        consumer_sequence: int = 0,
        pending: int = 0,
        reply: str = "",
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
        """The time at which the stream stored it, to the microsecond."""
        return moment(self.at_ns)


class Status(NamedTuple):
    """The answer to a pull that is no message: 100 heartbeat, 404 none, 408 expired, 409 gone, 423 not pinned, 503."""

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
        """The id of a message in EVENTS: its own, or a fallback id."""
        return self.headers.get(MSG_ID) or fallback_id(EVENTS, self.sequence, self.at)


class Outgoing(NamedTuple):
    """A message to publish; `headers` carry its `Nats-Msg-Id`."""

    subject: str
    headers: Mapping[str, str]
    body: bytes


class Published(NamedTuple):
    """A PubAck. The server finds a `duplicate` by its id alone, so the publisher must compare the content."""

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
    """The position of a consumer, its backlog, and whether a client has its pin."""

    delivered_consumer_sequence: int
    delivered_sequence: int
    pending: int
    unacknowledged: int
    pinned: bool


class PullEpoch(Protocol):
    """One epoch of pulling from a consumer: an inbox of its own, to which nothing arrives after `close`."""

    async def pull(self, *, batch: int, pin: str | None, expires_s: float, heartbeat_s: float) -> None:
        """Request up to `batch` messages."""
        ...

    async def keep_alive(self, pin: str) -> None:
        """Refresh the pin with a request that does not wait; a message that is ready is delivered."""
        ...

    async def close(self) -> None:
        """End the epoch."""
        ...


class Broker(Protocol):
    """One connection to a broker. Every call may raise BrokerUnavailableError or BrokerRefusedError."""

    @property
    def reconnects(self) -> int:
        """The number of reconnects so far; the answers that an earlier connection owed are lost."""
        ...

    async def begin_epoch(
        self,
        stream: str,
        consumer: str,
        on_delivery: Callable[[Delivery, str | None], None],
        on_status: Callable[[Status], None],
    ) -> PullEpoch:
        """Begin an epoch on a durable consumer; a delivery comes with the id of the consumer's pin."""
        ...

    @property
    def denials(self) -> Sequence[Denial]:
        """The missing permissions, as far as a request has needed them."""
        ...

    async def reset(self, stream: str, consumer: str, sequence: int) -> None:
        """Let the consumer deliver from `sequence` on; raises BrokerRefusedError 10014 when it does not exist."""
        ...

    async def unpin(self, stream: str, consumer: str) -> None:
        """Release the consumer's pin, so that the next waiting client gets it."""
        ...

    async def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo:
        """The state of a consumer; raises BrokerRefusedError 10014 when it does not exist."""
        ...

    async def stream_info(self, stream: str) -> StreamInfo:
        """The state of a stream; raises BrokerRefusedError 10059 when it does not exist."""
        ...

    async def get(self, stream: str, sequence: int) -> Stored | None:
        """The message at a sequence, or None when the stream has none there."""
        ...

    def read(self, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> AsyncIterator[Stored]:
        """Read the messages whose subject matches, in stream order; `up_to` 0 is the present end of the stream."""
        ...

    async def acknowledge(self, replies: Sequence[str]) -> None:
        """Acknowledge deliveries by their reply subjects; nothing confirms that the broker has received it."""
        ...

    async def publish(self, message: Outgoing) -> Published:
        """Publish one message and wait for its PubAck."""
        ...

    async def publish_each(self, messages: Sequence[Outgoing]) -> list[Published | BrokerError]:
        """Publish concurrently and wait for all PubAcks; the broker may store the messages in another order."""
        ...

    async def publish_batch(self, messages: Sequence[Outgoing]) -> int:
        """Publish 2 to 1,000 messages to one stream as an atomic batch.

        Returns the sequence of the last one; they are consecutive.
        """
        ...

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[Mapping[str, str], bytes]:
        """Send a request to a service and return the headers and the body of its answer."""
        ...

    async def serve(
        self, name: str, version: str, description: str, endpoints: Endpoints, broadcast: Endpoints = NO_ENDPOINTS
    ) -> Callable[[], Awaitable[None]]:
        """Answer requests as an ADR-32 service; returns a function that stops it.

        One of the processes of the service gets a request to `endpoints`; all of them get one to `broadcast`.
        """
        ...
