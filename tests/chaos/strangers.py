"""Messages among the events that no context has published: some show it by their form, and some are forged."""

from collections.abc import Callable, Mapping
from typing import Any

from shared.wire.messages import MSG_ID
from tests.chaos.planted import SHIPPED
from tests.chaos.run import Run


def spoilt(run: Run, key: str, **changes: Any) -> None:
    """Put a copy of an event at the end of EVENTS, as the next of its aggregate, with something else in it."""
    original = run.events()[run.find(SHIPPED, "OrderShipped")]
    body = original.body.replace(SHIPPED.encode(), key.encode())
    forged = original._replace(subject=original.subject.replace(SHIPPED, key), body=body)
    run.append(forged, Nats_Msg_Id=f"shipping/shipment-{key}@1")
    run.events()[-1] = run.events()[-1]._replace(**changes)


def headers_of(run: Run, **headers: str) -> dict[str, str]:
    """The headers of an event, with some otherwise."""
    original = run.events()[run.find(SHIPPED, "OrderShipped")]
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return {**original.headers, MSG_ID: "shipping/shipment-o-forged@1", **given}


STRANGERS: Mapping[str, Callable[[Run], dict[str, Any]]] = {
    "no headers": lambda _: {"headers": {}},
    "no id": lambda run: {"headers": {n: v for n, v in headers_of(run).items() if n != MSG_ID}},
    "the id of a client": lambda run: {"headers": headers_of(run, Nats_Msg_Id="m-1")},
    "the id of another context": lambda run: {"headers": headers_of(run, Nats_Msg_Id="bank/payment-o-forged@1")},
    "a version that is no number": lambda run: {"headers": headers_of(run, Nats_Msg_Id="shipping/shipment-o@x")},
    "version 0": lambda run: {"headers": headers_of(run, Nats_Msg_Id="shipping/shipment-o-forged@0")},
    "a version in another script": lambda run: {"headers": headers_of(run, Nats_Msg_Id="shipping/shipment-o@\u0661")},
    "a depth that is no number": lambda run: {"headers": headers_of(run, Causation_Depth="deep")},
    "a hash that is none": lambda run: {"headers": headers_of(run, Causation_Hash="what?")},
    "a time that is none": lambda run: {"headers": headers_of(run, Occurred_At="yesterday")},
    "a time without a zone": lambda run: {"headers": headers_of(run, Occurred_At="2026-11-21T09:00:00")},
    "a key that is none": lambda _: {"subject": "evt.shipping.OrderShipped.0.caf\u00e9"},
    "too short a subject": lambda _: {"subject": "evt.shipping"},
    "a partition that is no number": lambda _: {"subject": "evt.shipping.OrderShipped.zero.o-forged"},
    "a subject of another stream": lambda _: {"subject": "cmd.shipping.OrderShipped.0.o-forged"},
    "no body": lambda _: {"body": b""},
    "a body that is no text": lambda _: {"body": b'{"order_id":"\xff\xfe"}'},
    "a body that is no JSON": lambda _: {"body": b"order_id=o-forged"},
    "a body that is no object": lambda _: {"body": b"[1]"},
    "a body too deep": lambda _: {"body": b"[" * 100_000},
}
"""Changes after which a message has not the form of an event."""
FORGED: Mapping[str, Callable[[Run], dict[str, Any]]] = {
    "a version that is not the next": lambda run: {"headers": headers_of(run, Nats_Msg_Id="shipping/shipment-o@99")},
    "a context that is not there": lambda run: {
        "subject": "evt.nobody.OrderShipped.0.o-forged",
        "headers": headers_of(run, Nats_Msg_Id="nobody/shipment-o@1", Causation_Hash="00"),
    },
    "no field that its readers need": lambda _: {"body": b"{}"},
    "a field of another type": lambda _: {"body": b'{"order_id":[]}'},
}
"""Changes after which it has the form of an event that nobody has decided."""
