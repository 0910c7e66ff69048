"""`api.CONTEXT.about`: a context answers all that it knows of a key, without waiting for anything."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest

from shared.ports.broker import BrokerUnavailableError
from shared.simulation.testing import Simulation, simulation
from shared.wire.about import ITEMS_AT_MOST, About
from shared.wire.messages import MSG_ID
from tests.saying import said as form_of
from tests.unit.shopping import fill_shelves, order

KEY = "o-1"


@pytest.fixture
def shop() -> Iterator[Simulation]:
    with simulation(partitions=2) as running:
        fill_shelves(running)
        yield running


def about(shop: Simulation, context: str, key: str = KEY) -> About:
    answer = shop.request(f"api.{context}.about", msgspec.json.encode({"key": key}))
    return msgspec.json.decode(answer, type=About)


def place(shop: Simulation, key: str = KEY) -> None:
    shop.send(order(), key=key, message_id=f"m-{key}")


def test_context_tells_state_deadlines_and_position(shop: Simulation) -> None:
    shop.kill("bank")
    place(shop)
    shop.advance(seconds=5)
    said = about(shop, "ordering")
    (aggregate,) = said.aggregates
    assert (aggregate.id, aggregate.version, aggregate.last_event) == ("order-o-1", 1, "OrderPlaced")
    assert msgspec.json.decode(aggregate.state)["status"] == "PENDING"
    (deadline,) = said.deadlines
    assert (deadline.timer, deadline.id) == ("OrderDeadline", "ordering/order-o-1@1/OrderDeadline")
    assert deadline.due_at == msgspec.json.decode(aggregate.state)["placed"]["expires_at"]
    assert {position.stream: position.behind for position in said.positions} == {
        "EVENTS": 0,
        "COMMANDS": 0,
        "TIMERS": 0,
    }
    assert (said.calls, said.parked, said.unpublished, said.unreadable) == ((), (), (), "")


def test_open_call_tells_whom_it_asks_how_often_and_when_again(shop: Simulation) -> None:
    shop.kill("bank")
    place(shop)
    shop.advance(seconds=30)
    said = about(shop, "payments")
    (call,) = said.calls
    assert (call.event, call.id, call.asks) == (
        "AuthorizationRequested",
        "payments/payment-o-1@1",
        "svc.bank.authorize",
    )
    assert call.attempts > 3
    assert "no responders" in call.last_error
    assert call.since < said.at < call.next_try_at
    shop.start("bank")
    shop.run_until_quiet()
    assert about(shop, "payments").calls == ()


def test_deadline_that_was_decided_is_not_armed_any_more() -> None:
    with simulation(partitions=2, order_deadline=timedelta(seconds=10)) as shop:
        fill_shelves(shop)
        shop.kill("bank")
        place(shop)
        shop.advance(seconds=5)
        assert [deadline.timer for deadline in about(shop, "ordering").deadlines] == ["OrderDeadline"]
        shop.advance(seconds=15)
        assert about(shop, "ordering").deadlines == ()


def test_parked_message_is_reported_with_its_reason_and_the_later_ones_behind_it(shop: Simulation) -> None:
    for number in (1, 2):
        shop.publish(
            f"evt.payments.PaymentSucceeded.{KEY}",
            b"not JSON",
            {**form_of(KEY), MSG_ID: f"payments/payment-{KEY}@{number}"},
        )
    shop.run_until_quiet()
    first, second = about(shop, "ordering").parked
    assert first.number == "ordering/1"
    assert first.id == f"payments/payment-{KEY}@1"
    assert first.reason
    assert second.reason == ""


def test_refused_event_is_reported_with_what_the_broker_says(shop: Simulation) -> None:
    shop.publish(f"evt.payments.Anything.{KEY}", b"{}", {MSG_ID: f"payments/payment-{KEY}@1"})
    place(shop)
    shop.advance(seconds=5)
    unpublished = about(shop, "payments").unpublished
    assert unpublished[0].id == f"payments/payment-{KEY}@1"
    assert "another message" in unpublished[0].refused


def test_context_without_a_process_does_not_answer(shop: Simulation) -> None:
    shop.kill("payments")
    with pytest.raises(BrokerUnavailableError):
        about(shop, "payments")


@pytest.mark.parametrize("key", ["o-1", "o-2", "o-3", "o-4"])
def test_owner_of_the_partition_answers_alone(shop: Simulation, key: str) -> None:
    shop.start("ordering")
    shop.run_until_quiet()
    place(shop, key)
    shop.run_until_quiet()
    assert [aggregate.id for aggregate in about(shop, "ordering", key).aggregates] == [f"order-{key}"]


def test_unknown_key_is_answered_with_nothing(shop: Simulation) -> None:
    said = about(shop, "ordering", "nobody")
    assert (said.aggregates, said.deadlines, said.more) == ((), (), ())


@pytest.mark.parametrize("body", [b"", b"{}", b'{"key": 1}', b'{"key": "a b"}', b'{"key": "o-1", "more": 1}', b"\xff"])
def test_request_that_names_no_key_is_refused(shop: Simulation, body: bytes) -> None:
    headers = shop.run(shop._broker.request("api.ordering.about", body, {}, 1.0))[0]
    assert headers["Nats-Service-Error-Code"] == "400"
    assert headers["Nats-Service-Error"].startswith('ask like {"key": "k-42"}: ')


def test_answer_is_bounded_and_says_of_which_kind_there_is_more(shop: Simulation) -> None:
    for number in range(1, ITEMS_AT_MOST + 3):
        shop.publish(
            f"evt.payments.PaymentSucceeded.{KEY}",
            b"not JSON",
            {**form_of(KEY), MSG_ID: f"payments/payment-{KEY}@{number}"},
        )
    shop.run_until_quiet()
    said = about(shop, "ordering")
    assert (len(said.parked), said.more) == (ITEMS_AT_MOST, ("parked",))
