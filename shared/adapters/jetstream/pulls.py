"""One epoch of pulling from a durable consumer with a pin, which nats-py does not know of."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import nats.errors
from nats.aio.subscription import Subscription

from shared.adapters.jetstream.client import FastClient
from shared.adapters.jetstream.wire import translated


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
