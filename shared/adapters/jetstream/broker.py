"""JetStream behind the Broker port.

Three calls of nats-py are not used, because they lose messages, hang, or cost several times more:
`PullSubscription.fetch`, `publish_async` and `flush`.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
import structlog

from shared.adapters.jetstream import bounds
from shared.adapters.jetstream.client import JetStreamClient
from shared.adapters.jetstream.conversions import PORT_ERRORS, api_answer, batch_headers, to_published, to_stored
from shared.adapters.jetstream.denial_handling import handle_denial, in_flight
from shared.adapters.jetstream.direct_get import NOT_FOUND, read_batch
from shared.adapters.jetstream.epoch import JetStreamEpoch, begin_epoch
from shared.adapters.jetstream.nats_py import CONNECTION_ERRORS, Received
from shared.adapters.jetstream.service import serve
from shared.config.connection import ConnectionOptions
from shared.context import NO_ENDPOINTS, Endpoints
from shared.derived.topology import PRIORITY_GROUP
from shared.ports.broker import (
    BrokerError,
    BrokerRefusedError,
    BrokerUnavailableError,
    ConsumerInfo,
    Delivery,
    Denial,
    Outgoing,
    Published,
    Status,
    Stored,
    StreamInfo,
)

_log = structlog.get_logger("chorus.broker")


class JetStream:
    """One connection. `closed` is set when nats-py gives it up for good; then the process must restart."""

    def __init__(self) -> None:
        self._client = JetStreamClient()
        self._closing = False
        self.closed = anyio.Event()
        self._reconnects = 0
        self.last_error: Exception | None = None

    async def connect(self, options: ConnectionOptions, name: str, on_failure: Callable[[Exception], None]) -> None:
        connected = False

        async def on_error(error: Exception) -> None:
            self.last_error = error
            if not connected:
                on_failure(error)
            if not handle_denial(self._client, error) and self._client.is_connected:
                _log.warning("broker error", error=str(error))  # Disconnected, the failed call itself reports it.

        async def on_closed() -> None:
            self.closed.set()

        async def on_reconnected() -> None:
            self._client.on_reconnected()
            url = self._client.connected_url
            _log.info("broker reconnected", server=url and url.netloc)

        async def on_disconnected() -> None:
            self._reconnects += 1  # Counted at once: every later request uses the next connection.
            self._client.on_disconnected()
            if not self._closing:
                _log.warning("broker connection lost")

        if options.acts_as is not None:
            self._client.denials.user = options.acts_as
        await self._client.connect(
            name=name,
            error_cb=on_error,
            closed_cb=on_closed,
            reconnected_cb=on_reconnected,
            disconnected_cb=on_disconnected,
            max_reconnect_attempts=-1,
            reconnect_time_wait=bounds.RECONNECT_WAIT_S,  # type: ignore[arg-type]  # Annotated int, used as float.
            ping_interval=bounds.PING_INTERVAL_S,
            max_outstanding_pings=bounds.UNANSWERED_PINGS,
            pending_size=bounds.BUFFERED_BYTES_WHILE_DISCONNECTED,
            skip_subject_validation=True,
            **options.client_arguments(),
        )
        connected = True

    async def close(self, *, within_s: float = bounds.CONNECT_TIMEOUT_S) -> None:
        """Send the buffered messages and disconnect."""
        self._closing = True
        with anyio.move_on_after(within_s, shield=True), contextlib.suppress(*CONNECTION_ERRORS):
            await self._client.close()

    @property
    def reconnects(self) -> int:
        return self._reconnects

    @property
    def denials(self) -> Sequence[Denial]:
        return self._client.denials.current if self._client.denials else ()

    async def api(self, subject: str, body: bytes) -> bytes:
        """Send a raw request to the JetStream API; raises BrokerUnavailableError when there is no answer."""
        return (await self._request(subject, body)).body

    async def begin_epoch(
        self,
        stream: str,
        consumer: str,
        on_delivery: Callable[[Delivery, str | None], None],
        on_status: Callable[[Status], None],
    ) -> JetStreamEpoch:
        return await begin_epoch(self._client, stream, consumer, on_delivery, on_status)

    async def reset(self, stream: str, consumer: str, sequence: int) -> None:
        await self.consumer_info(stream, consumer)  # The server does not answer a reset of a missing consumer.
        await self._api(f"CONSUMER.RESET.{stream}.{consumer}", {"seq": sequence})

    async def unpin(self, stream: str, consumer: str) -> None:
        await self._api(f"CONSUMER.UNPIN.{stream}.{consumer}", {"group": PRIORITY_GROUP})

    async def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo:
        found = await self._api(f"CONSUMER.INFO.{stream}.{consumer}", None, f"{stream}/{consumer}")
        delivered = found["delivered"]
        return ConsumerInfo(
            delivered["consumer_seq"],
            delivered["stream_seq"],
            found["num_pending"],
            found["num_ack_pending"],
            any(group.get("pinned_client_id") for group in found.get("priority_groups", ())),
        )

    async def stream_info(self, stream: str) -> StreamInfo:
        found = await self._api(f"STREAM.INFO.{stream}", None, stream)
        state = found["state"]
        return StreamInfo(
            found["created"],
            state["first_seq"],
            state["last_seq"],
            state["messages"],
            found["config"].get("metadata") or {},
        )

    async def get(self, stream: str, sequence: int) -> Stored | None:
        answer = await self._request(f"$JS.API.DIRECT.GET.{stream}", json.dumps({"seq": sequence}).encode())
        if status := answer.headers.get("Status"):
            if int(status) == NOT_FOUND:
                return None
            raise BrokerRefusedError(int(status), answer.headers.get("Description", "direct get refused"))
        return to_stored(answer)

    async def read(self, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> AsyncIterator[Stored]:
        last = up_to or (await self.stream_info(stream)).last_sequence
        following = max(first, 1)
        while following <= last:
            batch, more = await read_batch(self._client, stream, subject, following)
            for message in batch:
                if message.sequence > last:
                    return
                yield message
            if not batch or not more:
                return
            following = batch[-1].sequence + 1

    async def acknowledge(self, replies: Sequence[str]) -> None:
        with PORT_ERRORS:
            await self._client.write([self._client.frame(reply, None, b"+ACK") for reply in replies])

    async def publish(self, message: Outgoing) -> Published:
        (answer,) = await self.publish_each([message])
        if isinstance(answer, Published):
            return answer
        raise answer

    async def publish_each(self, messages: Sequence[Outgoing]) -> list[Published | BrokerError]:
        await self._wait_until_connected()
        with PORT_ERRORS:
            answers = await self._client.send_requests(messages, timeout_s=bounds.REQUEST_TIMEOUT_S)
        return [to_published(answer) for answer in answers]

    async def publish_batch(self, messages: Sequence[Outgoing]) -> int:
        *staged, (subject, headers, body) = messages
        *marks, commit = batch_headers(len(messages))
        await self._wait_until_connected()
        with in_flight(self._client, staged):
            with PORT_ERRORS:
                frames = [self._client.frame(*message, more=more) for message, more in zip(staged, marks, strict=True)]
                await self._client.write(frames)
            return int(api_answer((await self._request(subject, body, {**headers, **commit})).body)["seq"])

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[Mapping[str, str], bytes]:
        answer = await self._request(subject, body, headers, timeout_s)
        return answer.headers, answer.body

    async def serve(
        self, name: str, version: str, description: str, endpoints: Endpoints, broadcast: Endpoints = NO_ENDPOINTS
    ) -> Callable[[], Awaitable[None]]:
        with PORT_ERRORS:
            return await serve(self._client, name, version, description, endpoints, broadcast)

    async def _wait_until_connected(self) -> None:
        """Wait for a lost connection; after a reconnect, raise: the publisher must check the stream first."""
        connection = self._reconnects
        with PORT_ERRORS:
            await self._client.wait_until_connected()
        if connection != self._reconnects:
            raise BrokerUnavailableError("the connection was lost and is new now")

    async def _api(self, subject: str, body: dict[str, Any] | None, about: str = "") -> dict[str, Any]:
        asked = b"" if body is None else json.dumps(body).encode()
        return api_answer(await self.api(f"$JS.API.{subject}", asked), about)

    async def _request(
        self,
        subject: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = bounds.REQUEST_TIMEOUT_S,
    ) -> Received:
        with PORT_ERRORS:
            return await self._client.send_request(subject, body, headers, timeout_s=timeout_s)
