"""Decodes deliveries as a context does, and lists the malformed orders that every way in refuses."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from msgspec import Struct

from contexts.ordering.commands import PlaceOrder
from shared.context import Answer, Context, Request
from shared.engine.api import api_of
from shared.engine.route.incoming import Decide, Incoming, Poison, Refuse, Stranger
from shared.engine.route.routing import Routing
from shared.ports.broker import Broker, Delivery, Outgoing, Published
from shared.wire.bodies import BODY_BYTES_AT_MOST
from shared.wire.messages import MSG_ID
from shared.wire.streams import COMMANDS
from tests.contract.declared import contexts
from tests.contract.examples import examples
from tests.saying import said

PARTITIONS = 4
AT_NS = 1_795_251_600_000_000_000
MEMBERS = {context.name: context for context in contexts()}
ROUTINGS = {name: Routing(context, partitions=PARTITIONS) for name, context in MEMBERS.items()}
NOT_IN_BODIES = ("asked_at", "acting_for")
ORDER: dict[str, Any] = {
    name: value for name, value in examples(PlaceOrder)[0].items() if name not in NOT_IN_BODIES
} | {"order_id": "o-42"}
SUBJECT = "cmd.ordering.PlaceOrder.3.o-42"


def form(subject: str) -> Mapping[str, str]:
    """The headers with which a context says an event, or the server a timer that is due."""
    kind, context, name, _, key = subject.split(".", 4)
    if kind == "due":
        return {"Nats-Scheduler": f"timer.{context}.{name}.{key}"}
    return {**said(key), MSG_ID: f"{context}/some-{key}@1"}


def taken(
    body: bytes, *, subject: str = SUBJECT, headers: Mapping[str, str] | None = None, stream: str = COMMANDS
) -> Incoming:
    """Decode one delivery in the context that its subject names, or in ordering."""
    return taken_by("ordering", stream, subject, headers or {}, body)


def taken_by(context: str, stream: str, subject: str, headers: Mapping[str, str], body: bytes) -> Incoming:
    routing = ROUTINGS[context]
    delivery = Delivery(
        sequence=7, consumer_sequence=7, pending=0, at_ns=AT_NS, subject=subject, headers=headers, body=body, reply=""
    )
    return routing.delivered(stream, 3, delivery)


def refused(message: Incoming) -> Refuse | None:
    return message.handling if isinstance(message.handling, Refuse) else None


def poisoned(message: Incoming) -> str:
    """Why the message is poison; empty when it is none."""
    return message.handling.reason if isinstance(message.handling, Poison) else ""


def strange(message: Incoming) -> str:
    """Why the message is a stranger's; empty when it is not."""
    return message.handling.reason if isinstance(message.handling, Stranger) else ""


def commanded(message: Incoming) -> Sequence[Any]:
    return message.handling.commands if isinstance(message.handling, Decide) else ()


def refusal(message: Incoming) -> tuple[str, str]:
    """Where the command is wrong, and what is said of it."""
    assert isinstance(message.handling, Refuse), message.handling
    assert message.handling.reason == "malformed"
    (detail,) = message.handling.details
    return detail.path, detail.message


def order(**changed: Any) -> bytes:
    return json.dumps({**ORDER, **changed}).encode()


def order_with(raw: bytes, **place: str) -> bytes:
    """The order with this JSON, be it none, in the place of a field of it or of its line."""
    field, value = next(iter(place.items()))
    return order(**{field: value} if field != "quantity" else {"lines": [{**ORDER["lines"][0], **place}]}).replace(
        json.dumps(value).encode(), raw
    )


BODIES = {
    "one byte too many": (b" " * BODY_BYTES_AT_MOST + b"{", "$", "65537 bytes are more than the 65536"),
    "a nest without end": (b"[" * BODY_BYTES_AT_MOST, "$", "not JSON that can be read"),
    "objects without end": (b'{"lines":' * 7_000, "$", "not JSON that can be read"),
    "a deep nest in a field": (order_with(b"[" * 20_000 + b"]" * 20_000, reason="?"), "$", "not JSON that can be read"),
    "nothing": (b"", "$", "not JSON"),
    "half of it": (order()[:-9], "$", "not JSON"),
    "two of it": (order() * 2, "$", "not JSON"),
    "null": (b"null", "$", "Expected `object`, got `null`"),
    "a list": (b"[]", "$", "Expected `object`, got `array`"),
    "a text": (b'"PlaceOrder"', "$", "Expected `object`, got `str`"),
    "not a number": (order_with(b"NaN", quantity="?"), "$", "NaN is not JSON"),
    "infinity": (order_with(b"-Infinity", quantity="?"), "$", "-Infinity is not JSON"),
    "a number beyond all numbers": (order_with(b"1e400", quantity="?"), "$.lines[0].quantity", "Number out of range"),
    "digits without end": (order_with(b"9" * 5_000, quantity="?"), "$", "4300 digits"),
    "many digits": (order_with(b"9" * 4_000, quantity="?"), "$.lines[0].quantity", "<= 1000000"),
    "a half": (order_with(b"1.5", quantity="?"), "$.lines[0].quantity", "Expected `int`, got `float`"),
    "yes": (order_with(b"true", quantity="?"), "$.lines[0].quantity", "Expected `int`, got `bool`"),
    "a number as text": (order_with(b'"2"', quantity="?"), "$.lines[0].quantity", "Expected `int`, got `str`"),
    "none of it": (order_with(b"0", quantity="?"), "$.lines[0].quantity", "Expected `int` >= 1"),
    "null in a field": (order(email=None), "$.email", "Expected `str`, got `null`"),
    "no lines": (order(lines=[]), "$.lines", "length >= 1"),
    "lines without end": (order(lines=ORDER["lines"] * 101), "$.lines", "length <= 100"),
    "an unknown field": (order(tip=1), "$", "unknown field `tip`"),
    "a field twice": (order()[:-1] + b', "email": "eve@shop.example"}', "$", "the key 'email' stands twice"),
    "a field twice further in": (order_with(b'2, "quantity": 1', quantity="?"), "$", "the key 'quantity' stands twice"),
    "what is not UTF-8": (order_with(b'"\xff"', email="?"), "$", "not JSON that can be read"),
    "half a character": (order_with(b'"\\ud800"', email="?"), "$", "not JSON that can be read"),
    "UTF-16": (order().decode().encode("utf-16"), "$", "not JSON that can be read"),
    "the key of another": (order(order_id="o-43"), "$.order_id", "names 'o-43' but the subject names 'o-42'"),
    "a time of its own": (order(asked_at="2020-01-01T00:00:00Z"), "$.asked_at", "set by the stream; leave it out"),
    "a currency in small letters": (
        order(lines=[{**ORDER["lines"][0], "unit_price": {"amount_minor": 1, "currency": "eur"}}]),
        "$.lines[0].unit_price.currency",
        "^[A-Z]{3}",
    ),
}
OF_ANY_KEY = {name: case for name, case in BODIES.items() if case[1] != "$.order_id"}


class Door:
    """Where accepted commands go."""

    def __init__(self) -> None:
        self.published: list[Outgoing] = []

    async def publish(self, message: Outgoing) -> Published:
        self.published.append(message)
        return Published(COMMANDS, len(self.published), False)


async def asked(body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """The answer of the endpoint to an order: status, place, problem."""
    return await asked_of(MEMBERS["ordering"], PlaceOrder, Request(headers or {}, body))


async def asked_of(context: Context, command: type[Struct], request: Request) -> tuple[int, str, str]:
    door = Door()
    answer = await api_of(context, cast(Broker, door))[f"api.{context.name}.{command.__name__}"](request)
    assert answer is not None
    return told(answer, door.published)


def told(answer: Answer, published: list[Outgoing]) -> tuple[int, str, str]:
    said = json.loads(answer.body)
    if answer.error is None:
        assert len(published) == 1
        return 200, said["message_id"], ""
    assert published == []
    assert len(answer.error[1]) <= 200
    return said["status"], said["errors"][0]["path"], said["detail"]
