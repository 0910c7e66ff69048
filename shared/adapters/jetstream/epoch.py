"""One epoch of pulling from a durable consumer with a pin. nats-py knows neither priority groups nor pins."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from nats.aio.subscription import Subscription

from shared.adapters.jetstream.client import JetStreamClient
from shared.adapters.jetstream.conversions import PORT_ERRORS, to_delivery
from shared.adapters.jetstream.nats_py import CONNECTION_ERRORS, Received
from shared.derived.topology import PRIORITY_GROUP
from shared.ports.broker import Delivery, Status

_encoder = msgspec.json.Encoder()


class JetStreamEpoch:
    def __init__(self, client: JetStreamClient, subject: str, inbox: str, subscription: Subscription) -> None:
        self._client = client
        self._subject = subject
        self._inbox = inbox
        self._subscription = subscription

    async def pull(self, *, batch: int, pin: str | None, expires_s: float, heartbeat_s: float) -> None:
        request = {
            "batch": batch,
            "expires": int(expires_s * 1e9),
            "idle_heartbeat": int(heartbeat_s * 1e9),
            "group": PRIORITY_GROUP,
        }
        if pin is not None:
            request["id"] = pin
        await self._send(request)

    async def keep_alive(self, pin: str) -> None:
        await self._send({"batch": 1, "no_wait": True, "group": PRIORITY_GROUP, "id": pin})

    async def close(self) -> None:
        with contextlib.suppress(*CONNECTION_ERRORS):
            await self._subscription.unsubscribe()

    async def _send(self, request: Mapping[str, Any]) -> None:
        with PORT_ERRORS:
            frame = self._client.frame(self._subject, None, _encoder.encode(request), reply=self._inbox)
            await self._client.write([frame])


async def begin_epoch(
    client: JetStreamClient,
    stream: str,
    consumer: str,
    on_delivery: Callable[[Delivery, str | None], None],
    on_status: Callable[[Status], None],
) -> JetStreamEpoch:
    """Begin an epoch with an inbox of its own, so that nothing of an earlier epoch reaches it."""
    inbox = client.new_inbox()
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
    acks = f"$JS.ACK.{stream}.{consumer}"
    client.one_way |= {subject.lower(): subject, acks.lower(): f"{acks}.>"}
    began = time.monotonic()

    def on_message(received: Received) -> None:
        headers = received.headers
        if received.reply.startswith("$JS.ACK."):
            on_delivery(to_delivery(received), headers.get("Nats-Pin-Id"))
        else:
            if client.denials:  # A denial from after `began` may be of a later pull of this epoch.
                client.denials.clear("publish", [subject], unless_after=began)
            on_status(Status(int(headers.get("Status", 0)), headers.get("Description", ""), headers))

    with PORT_ERRORS:
        subscription = await client.listen(inbox, on_message)
    return JetStreamEpoch(client, subject, inbox, subscription)
