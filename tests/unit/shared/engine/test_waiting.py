"""`api.CONTEXT.waiting`: everything in a context that waits, in pages."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from shared.simulation.testing import Simulation, simulation
from shared.wire.messages import MSG_ID
from shared.wire.waiting import Waiting
from tests.saying import said
from tests.unit.shopping import fill_shelves, order


@pytest.fixture
def shop() -> Iterator[Simulation]:
    with simulation(partitions=2) as running:
        fill_shelves(running)
        yield running


def waiting(shop: Simulation, context: str, **asked: Any) -> Waiting:
    return msgspec.json.decode(shop.request(f"api.{context}.waiting", msgspec.json.encode(asked)), type=Waiting)


def test_idle_context_has_nothing(shop: Simulation) -> None:
    found = waiting(shop, "payments")
    assert found.counts == {"call": 0, "parked": 0, "refused": 0, "unpublished": 0}
    assert (found.items, found.next) == ((), {})


def test_open_calls_are_reported_with_attempts_and_last_error_oldest_first(shop: Simulation) -> None:
    shop.kill("bank")
    for key in ("o-1", "o-2", "o-3"):
        shop.send(order(), key=key, message_id=f"m-{key}")
        shop.advance(seconds=1)
    shop.advance(seconds=30)
    found = waiting(shop, "payments")
    assert found.counts["call"] == 3
    first, *_ = found.items
    assert (first.kind, first.type, first.key) == ("call", "AuthorizationRequested", "o-1")
    assert first.attempts > 3
    assert "no responders" in first.text
    assert [item.key for item in found.items] == ["o-1", "o-2", "o-3"]
    assert first.since < found.at


def test_pages_of_one_kind_follow_each_other(shop: Simulation) -> None:
    shop.kill("bank")
    for key in ("o-1", "o-2", "o-3"):
        shop.send(order(), key=key, message_id=f"m-{key}")
        shop.advance(seconds=1)
    shop.advance(seconds=5)
    first = waiting(shop, "payments", limit=2)
    second = waiting(shop, "payments", kind="call", after=first.next["call"], limit=2)
    assert [item.key for item in (*first.items, *second.items)] == ["o-1", "o-2", "o-3"]
    assert second.next == {}


def test_parked_messages_are_reported_with_the_reason_of_the_first(shop: Simulation) -> None:
    for number in (1, 2):
        shop.publish(
            "evt.payments.PaymentSucceeded.o-1", b"x", {**said("o-1"), MSG_ID: f"payments/payment-o-1@{number}"}
        )
    shop.run_until_quiet()
    found = waiting(shop, "ordering")
    first, second = found.items
    assert (first.kind, first.key, first.type, first.id) == (
        "parked",
        "o-1",
        "PaymentSucceeded",
        "payments/payment-o-1@1",
    )
    assert "not JSON" in first.text
    assert (second.text, found.counts["parked"]) == ("", 2)


def test_refused_event_is_reported_once_and_those_behind_it_as_unpublished(shop: Simulation) -> None:
    shop.publish("evt.payments.Anything.o-1", b"{}", {MSG_ID: "payments/payment-o-1@1"})
    shop.send(order(), key="o-1", message_id="m-1")
    shop.advance(seconds=5)
    found = waiting(shop, "payments")
    kinds = [(item.kind, item.type, item.key) for item in found.items if item.kind != "call"]
    assert kinds[0] == ("refused", "AuthorizationRequested", "o-1")
    assert all(kind == "unpublished" for kind, _, _ in kinds[1:])
    assert found.counts["refused"] == 1


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"kind": "calls"}', b'{"after": 3}', b'{"limit": 0}', b'{"limit": 1001}']
)
def test_request_that_cannot_be_read_is_refused_with_an_example(shop: Simulation, body: bytes) -> None:
    headers, answer = shop.run(shop._broker.request("api.payments.waiting", body, {}, 1.0))
    assert answer == b""
    assert headers["Nats-Service-Error"].startswith('ask like {} or {"kind": "call", "after": 0}: ')
