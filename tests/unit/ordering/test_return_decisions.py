"""Ordering takes lines of a delivered order back, in time and no more than were bought, and ends each return once."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from contexts.kernel import Money, ReturnId, Sku, SkuQuantity
from contexts.ordering import order as of_order
from contexts.ordering.commands import (
    LapseReturns,
    RecordReturnReceipt,
    RecordReturnRefund,
    RequestReturn,
    ReturnCommand,
)
from contexts.ordering.events import (
    NextReturnExpected,
    OrderEvent,
    ReturnCounted,
    ReturnEvent,
    ReturnLapsed,
    ReturnReceiptRecorded,
    ReturnRefunded,
    ReturnRequested,
)
from contexts.ordering.order import Order
from contexts.ordering.policies import whenever_payment_refunded_record_the_end_of_its_return
from contexts.ordering.returns import RETURNS_AT_MOST, Return, evolve, lapse
from contexts.ordering.returns import decide as decide_in_a_shop
from contexts.ordering.upstream import PaymentRefunded
from shared.context import Rejected
from tests.unit.ordering.test_order_decisions import ASKED_AT, CONFIRMED, DELIVERED, ORDER, PLACED, cancelled

WINDOW, WAIT = timedelta(days=30), timedelta(days=14)
decide = partial(decide_in_a_shop, return_window=WINDOW, return_wait=WAIT)

RETURN = ReturnId("r-1")
ONE_MUG = (SkuQuantity(sku=Sku("mug"), quantity=1),)
TWO_MUGS = (SkuQuantity(sku=Sku("mug"), quantity=2),)
AMOUNT = Money(amount_minor=1250)
EXPIRES_AT = ASKED_AT + WAIT

ARRIVED = (PLACED, CONFIRMED, replace(DELIVERED, delivered_at=ASKED_AT))
REQUEST = RequestReturn(order_id=ORDER, return_id=RETURN, lines=ONE_MUG, reason="too blue", asked_at=ASKED_AT)
RECEIVE = RecordReturnReceipt(order_id=ORDER, return_id=RETURN, lines=ONE_MUG)
REFUND = RecordReturnRefund(order_id=ORDER, return_id=RETURN, amount=AMOUNT)

REQUESTED = ReturnRequested(order_id=ORDER, return_id=RETURN, lines=ONE_MUG, reason="too blue", expires_at=EXPIRES_AT)
COUNTED = ReturnCounted(order_id=ORDER, return_id=RETURN, lines=ONE_MUG, expires_at=EXPIRES_AT)
RECEIVED = ReturnReceiptRecorded(order_id=ORDER, return_id=RETURN, lines=ONE_MUG)
REFUNDED = ReturnRefunded(order_id=ORDER, return_id=RETURN, lines=ONE_MUG, amount=AMOUNT)
LAPSED = ReturnLapsed(order_id=ORDER, return_id=RETURN, lines=ONE_MUG)

HISTORIES: dict[str, tuple[ReturnEvent, ...]] = {
    "unknown": (),
    "requested": (REQUESTED,),
    "lapsed": (REQUESTED, LAPSED),
    "received": (REQUESTED, RECEIVED),
    "received_late": (REQUESTED, LAPSED, RECEIVED),
    "refunded": (REQUESTED, RECEIVED, REFUNDED),
    "refunded_before_the_receipt_is_heard_of": (REQUESTED, REFUNDED),
}
ANSWERS: dict[tuple[str, ReturnCommand], tuple[object, ...]] = {
    ("unknown", REQUEST): (REQUESTED, COUNTED),
    ("requested", RECEIVE): (RECEIVED,),
    ("requested", REFUND): (REFUNDED,),
    ("lapsed", RECEIVE): (RECEIVED,),
    ("lapsed", REFUND): (REFUNDED,),
    ("received", REFUND): (REFUNDED,),
    ("received_late", REFUND): (REFUNDED,),
}
"""Every answer there is. Any other command in any other state is too early, too late or asked before, and is quiet."""


def after(*events: ReturnEvent) -> Return:
    state = Return()
    for event in events:
        state = evolve(state, event)
    return state


def orders(*events: OrderEvent) -> Mapping[str, Order]:
    state = Order()
    for event in events:
        state = of_order.evolve(state, event)
    return {ORDER: state}


def refusal(command: RequestReturn, *events: OrderEvent) -> Rejected:
    (refused,) = decide(command, after(), orders(*events))
    assert isinstance(refused, Rejected)
    return refused


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("command", [REQUEST, RECEIVE, REFUND], ids=lambda command: type(command).__name__)
def test_every_command_in_every_state(history: str, command: ReturnCommand) -> None:
    order = orders(*ARRIVED) if history == "unknown" else orders(*ARRIVED, COUNTED)
    assert decide(command, after(*HISTORIES[history]), order) == ANSWERS.get((history, command), ())


@pytest.mark.parametrize("history", [(), (PLACED,), (PLACED, CONFIRMED), (PLACED, cancelled("customer", "PENDING"))])
def test_order_that_was_not_delivered_is_not_returned(history: tuple[OrderEvent, ...]) -> None:
    assert refusal(REQUEST, *history).reason == "not_delivered"


def test_window_closes_a_while_after_the_delivery() -> None:
    last = replace(REQUEST, asked_at=ASKED_AT + WINDOW)
    assert isinstance(decide(last, after(), orders(*ARRIVED))[0], ReturnRequested)
    late = replace(REQUEST, asked_at=ASKED_AT + WINDOW + timedelta(seconds=1))
    refused = refusal(late, *ARRIVED)
    assert (refused.reason, refused.details[0].message) == (
        "window_closed",
        "it could be returned until 2026-12-21T09:00:00+00:00",
    )


def test_window_of_an_order_of_an_earlier_release_counts_from_its_deadline() -> None:
    """Its delivery does not tell when it was."""
    late = replace(REQUEST, asked_at=PLACED.expires_at + WINDOW + timedelta(seconds=1))
    assert refusal(late, PLACED, CONFIRMED, DELIVERED).reason == "window_closed"


def test_no_more_units_are_returned_than_were_bought_and_the_line_is_named() -> None:
    refused = refusal(replace(REQUEST, lines=TWO_MUGS), *ARRIVED, COUNTED)
    assert refused == Rejected.at("too_many", "$.lines[0].quantity", "1 of mug can still be returned")
    assert refusal(replace(REQUEST, lines=TWO_MUGS + ONE_MUG), *ARRIVED).reason == "too_many"


def test_line_of_a_sku_that_stands_twice_is_named_where_the_client_wrote_it() -> None:
    asked = (*ONE_MUG, *ONE_MUG, SkuQuantity(sku=Sku("tea"), quantity=5))
    refused = refusal(replace(REQUEST, lines=asked), *ARRIVED)
    assert refused == Rejected.at("too_many", "$.lines[2].quantity", "1 of tea can still be returned")
    three_mugs = replace(REQUEST, lines=(*ONE_MUG, *TWO_MUGS))
    assert refusal(three_mugs, *ARRIVED).details[0].path == "$.lines[1].quantity"


def test_order_has_a_bounded_number_of_returns() -> None:
    many = [replace(COUNTED, return_id=ReturnId(f"r-{n}"), lines=()) for n in range(RETURNS_AT_MOST)]
    assert refusal(REQUEST, *ARRIVED, *many).details[0].message == "the order has 20 returns, which is the most"


@pytest.mark.parametrize("earlier", [timedelta(days=3), timedelta(days=20)], ids=["to_come", "past"])
def test_return_has_its_own_time_and_leaves_the_timer_at_the_earliest(earlier: timedelta) -> None:
    """One that was due before may still wait for its timer."""
    before = replace(COUNTED, return_id=ReturnId("r-0"), expires_at=EXPIRES_AT - earlier)
    requested, counted = decide(REQUEST, after(), orders(*ARRIVED, before))
    assert (requested, counted) == (REQUESTED, replace(COUNTED, expires_at=EXPIRES_AT - earlier))


def test_timer_of_the_order_goes_on_to_the_next_return_and_says_so_once() -> None:
    other, in_a_day = ReturnId("r-2"), EXPIRES_AT + timedelta(days=1)
    second = replace(REQUESTED, return_id=other, expires_at=in_a_day)
    counted = (COUNTED, replace(COUNTED, return_id=other))
    states: dict[tuple[str, str], Return] = {(ORDER, RETURN): after(REQUESTED), (ORDER, other): after(second)}
    due = LapseReturns(order_id=ORDER, due_at=EXPIRES_AT)
    expected = NextReturnExpected(order_id=ORDER, expires_at=in_a_day)
    assert lapse(due, orders(*ARRIVED, *counted)[ORDER], states) == (LAPSED, expected)
    states[ORDER, RETURN] = after(REQUESTED, LAPSED)
    assert lapse(due, orders(*ARRIVED, *counted, expected)[ORDER], states) == ()
    last = LapseReturns(order_id=ORDER, due_at=in_a_day)
    assert lapse(last, orders(*ARRIVED, *counted, expected)[ORDER], states) == (replace(LAPSED, return_id=other),)


@pytest.mark.parametrize("other", [{"lines": TWO_MUGS}, {"reason": "too red"}], ids=["lines", "reason"])
def test_known_id_does_not_stand_for_another_return(other: dict[str, object]) -> None:
    again = replace(REQUEST, **other)
    (refused,) = decide(again, after(REQUESTED), orders(*ARRIVED, COUNTED))
    assert isinstance(refused, Rejected)
    assert refused.reason == "id_known_otherwise"


@pytest.mark.parametrize("history", HISTORIES)
def test_only_a_return_whose_parcel_is_not_here_lapses(history: str) -> None:
    order = orders(*ARRIVED, COUNTED)[ORDER]
    returns: dict[tuple[str, str], Return] = {(ORDER, RETURN): after(*HISTORIES[history])}
    due = LapseReturns(order_id=ORDER, due_at=EXPIRES_AT)
    assert lapse(due, order, returns) == ((LAPSED,) if history == "requested" else ())
    early = LapseReturns(order_id=ORDER, due_at=EXPIRES_AT - timedelta(seconds=1))
    assert lapse(early, order, returns) == ()


def test_refund_of_a_whole_order_ends_no_return() -> None:
    assert whenever_payment_refunded_record_the_end_of_its_return(PaymentRefunded(order_id=ORDER, amount=AMOUNT)) == []


@pytest.mark.parametrize("actor", ["", "c-8"])
def test_return_by_another_customer_is_refused_where_actors_are_required(actor: str) -> None:
    of = orders(*ARRIVED)
    (refused,) = decide(replace(REQUEST, acting_for=actor), Return(), of, require_actor=True)
    assert isinstance(refused, Rejected)
    assert refused.reason == "not_your_order"
    mine = replace(REQUEST, acting_for=PLACED.customer_id)
    assert decide(mine, Return(), of, require_actor=True) == (REQUESTED, COUNTED)
