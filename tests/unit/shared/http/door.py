"""A door on a broker that stores what it is given, or fails as the test says."""

import json
from typing import Any, cast

from contexts.door import DOOR
from shared.http.app import DoorApp
from shared.ports.broker import (
    Broker,
    BrokerError,
    Outgoing,
    Published,
)
from shared.wire.messages import MSG_ID
from shared.wire.signature import sign
from tests.asgi import Said, ask
from tests.unit.shared.input.malformed import ORDER

NOW = 1_800_000_000
SECRET = "a-secret-of-16-or-more"
FORMER = "the-secret-before-this"
ORDERS, CARRIER = "/orders", "/webhooks/carrier"
REPORT = {"id": "e-1", "order_id": "o-42", "tracking_no": "CH1", "outcome": "delivered"}
BODY = json.dumps(ORDER).encode()
KEY = {"Idempotency-Key": "k-1"}


class Stream:
    """Stores what is published, once under each id, or fails."""

    def __init__(self, error: BrokerError | None = None) -> None:
        self.stored: list[Outgoing] = []
        self._error = error

    async def publish(self, message: Outgoing) -> Published:
        if self._error is not None:
            raise self._error
        known = [one.headers[MSG_ID] for one in self.stored]
        if message.headers[MSG_ID] in known:
            return Published("COMMANDS", known.index(message.headers[MSG_ID]) + 1, True)
        self.stored.append(message)
        return Published("COMMANDS", len(self.stored), False)


def app(
    stream: Stream, *, per_s: float = 1_000.0, trusts_actor: bool = False, secrets: tuple[str, ...] = (SECRET,)
) -> Any:
    made = DoorApp(
        DOOR,
        cast(Broker, stream),
        version="1",
        per_s=per_s,
        secrets={"carrier": secrets},
        trusts_actor=trusts_actor,
        now=lambda: NOW,
    )
    return made.asgi


async def reported(stream: Stream, *, body: dict[str, Any] = REPORT, secret: str = SECRET, at: int = NOW) -> Said:
    text = json.dumps(body).encode()
    return await ask(app(stream, secrets=(SECRET, FORMER)), CARRIER, text, {"Signature": sign(secret, text, at)})
