"""Wraps a real broker behind the same port, and fails where a test wants it to."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Literal, TypeAlias, TypeVar

from shared.context import NO_ENDPOINTS, Endpoints
from shared.ports.broker import (
    Broker,
    BrokerError,
    BrokerRefusedError,
    BrokerUnavailableError,
    ConsumerInfo,
    Delivery,
    Denial,
    Outgoing,
    Published,
    PullEpoch,
    Status,
    Stored,
    StreamInfo,
)

Answer = TypeVar("Answer")

Trouble: TypeAlias = Literal["answer lost", "never arrived"] | BrokerRefusedError
"""How one publication fails: stored but unanswered, not stored and unanswered, or refused."""


class TroubledBroker(Broker):
    """Takes one failure after the other from `troubles`, then none; `published` and `batches` record the attempts."""

    def __init__(self, real: Broker, *troubles: Trouble) -> None:
        self._real = real
        self.troubles = deque(troubles)
        self.published: list[str] = []
        self.batches: list[int] = []

    async def publish(self, message: Outgoing) -> Published:
        """Publish one message, or fail."""
        self.published.append(message.headers.get("Nats-Msg-Id", ""))
        return await self._troubled(lambda: self._real.publish(message))

    async def publish_each(self, messages: Sequence[Outgoing]) -> list[Published | BrokerError]:
        """Publish one after the other; some may fail."""
        answers: list[Published | BrokerError] = []
        for message in messages:
            try:
                answers.append(await self.publish(message))
            except BrokerError as error:
                answers.append(error)
        return answers

    async def publish_batch(self, messages: Sequence[Outgoing]) -> int:
        """Publish a batch, or fail."""
        self.batches.append(len(messages))
        return await self._troubled(lambda: self._real.publish_batch(messages))

    async def _troubled(self, publish: Callable[[], Awaitable[Answer]]) -> Answer:
        trouble = self.troubles.popleft() if self.troubles else None
        if isinstance(trouble, BrokerRefusedError):
            raise trouble
        if trouble == "never arrived":
            raise BrokerUnavailableError(trouble)
        answer = await publish()
        if trouble == "answer lost":
            raise BrokerUnavailableError(trouble)
        return answer

    @property
    def reconnects(self) -> int:
        """As the real one."""
        return self._real.reconnects

    @property
    def denials(self) -> Sequence[Denial]:
        """As the real one."""
        return self._real.denials

    async def begin_epoch(
        self,
        stream: str,
        consumer: str,
        on_delivery: Callable[[Delivery, str | None], None],
        on_status: Callable[[Status], None],
    ) -> PullEpoch:
        """As the real one."""
        return await self._real.begin_epoch(stream, consumer, on_delivery, on_status)

    async def reset(self, stream: str, consumer: str, sequence: int) -> None:
        """As the real one."""
        await self._real.reset(stream, consumer, sequence)

    async def unpin(self, stream: str, consumer: str) -> None:
        """As the real one."""
        await self._real.unpin(stream, consumer)

    async def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo:
        """As the real one."""
        return await self._real.consumer_info(stream, consumer)

    async def stream_info(self, stream: str) -> StreamInfo:
        """As the real one."""
        return await self._real.stream_info(stream)

    async def get(self, stream: str, sequence: int) -> Stored | None:
        """As the real one."""
        return await self._real.get(stream, sequence)

    def read(self, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> AsyncIterator[Stored]:
        """As the real one."""
        return self._real.read(stream, subject, first=first, up_to=up_to)

    async def acknowledge(self, replies: Sequence[str]) -> None:
        """As the real one."""
        await self._real.acknowledge(replies)

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[Mapping[str, str], bytes]:
        """As the real one."""
        return await self._real.request(subject, body, headers, timeout_s)

    async def serve(
        self, name: str, version: str, description: str, endpoints: Endpoints, broadcast: Endpoints = NO_ENDPOINTS
    ) -> Callable[[], Awaitable[None]]:
        """As the real one."""
        return await self._real.serve(name, version, description, endpoints, broadcast)
