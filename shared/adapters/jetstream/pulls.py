"""One epoch of pulling from a durable consumer with a pin, which nats-py does not know of."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import nats.errors
from nats.aio.subscription import Subscription

from shared.adapters.jetstream.client import FastClient, Heard
from shared.adapters.jetstream.wire import to_delivery, translated
from shared.ports.broker import Delivery, Status


class PullEpoch:
    def __init__(self, client: FastClient, subject: str, inbox: str, subscription: Subscription) -> None:
        self._client = client
        self._subject = subject
        self._inbox = inbox
        self._subscription = subscription

    async def pull(self, *, batch: int, pin: str | None, expires_s: float, heartbeat_s: float) -> None:
        """Ask for up to `batch` messages."""
        request = {
            "batch": batch,
            "expires": int(expires_s * 1e9),
            "idle_heartbeat": int(heartbeat_s * 1e9),
            "group": "w",
        }
        if pin is not None:
            request["id"] = pin
        await self._send(request)

    async def keep_alive(self, pin: str) -> None:
        """Refresh the pin; a message that is there comes, else nothing waits."""
        await self._send({"batch": 1, "no_wait": True, "group": "w", "id": pin})

    async def close(self) -> None:
        """End the epoch."""
        with contextlib.suppress(nats.errors.Error, OSError):
            await self._subscription.unsubscribe()

    async def _send(self, request: Mapping[str, Any]) -> None:
        with translated():
            frame = self._client.frame(self._subject, None, json.dumps(request).encode(), reply=self._inbox)
            await self._client.send_frames([frame])


async def begin_epoch(
    client: FastClient,
    stream: str,
    consumer: str,
    on_delivery: Callable[[Delivery, str | None], None],
    on_status: Callable[[Status], None],
) -> PullEpoch:
    """Begin an epoch on a durable consumer, with an inbox of its own."""
    inbox = client.new_inbox()
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
    acks = f"$JS.ACK.{stream}.{consumer}"
    client.publishes |= {subject.lower(): subject, acks.lower(): f"{acks}.>"}
    began = time.monotonic()

    def on_message(heard: Heard) -> None:
        headers = heard.headers
        if heard.reply.startswith("$JS.ACK."):
            on_delivery(to_delivery(heard), headers.get("Nats-Pin-Id"))
        else:
            if client.denials:  # Pulls of this epoch are answered; one that was denied later may be another.
                client.denials.over("publish", [subject], unless_after=began)
            on_status(Status(int(headers.get("Status", 0)), headers.get("Description", ""), headers))

    with translated():
        subscription = await client.hear(inbox, on_message)
    return PullEpoch(client, subject, inbox, subscription)
