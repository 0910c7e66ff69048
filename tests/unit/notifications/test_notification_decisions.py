"""One letter of each kind about an order, and none before its address is known."""

from itertools import permutations

import pytest

from contexts.kernel import OrderId
from contexts.notifications.commands import ConfirmReceipt, NotificationCommand, RecordNotSent, RecordSent, TellCustomer
from contexts.notifications.decider import Notification, decide, evolve
from contexts.notifications.events import (
    CustomerNotified,
    NotificationEvent,
    NotificationFailed,
    NotificationHeld,
    NotificationQueued,
)

ORDER = OrderId("o-42")
EMAIL = "ada@shop.example"

RECEIPT = ConfirmReceipt(order_id=ORDER, email=EMAIL, subject="Received", text="Thank you.")
SHIPPED = TellCustomer(order_id=ORDER, template="order_shipped", subject="Sent", text="It is on its way.")
CONFIRMED = TellCustomer(order_id=ORDER, template="order_confirmed", subject="Confirmed", text="Paid.")
SENT = RecordSent(order_id=ORDER, template="order_received", channel="smtp")
NOT_SENT = RecordNotSent(order_id=ORDER, template="order_received", reason="address_refused")

RECEIPT_QUEUED = NotificationQueued(
    order_id=ORDER, template="order_received", email=EMAIL, subject="Received", text="Thank you."
)
SHIPPED_QUEUED = NotificationQueued(
    order_id=ORDER, template="order_shipped", email=EMAIL, subject="Sent", text="It is on its way."
)
CONFIRMED_QUEUED = NotificationQueued(
    order_id=ORDER, template="order_confirmed", email=EMAIL, subject="Confirmed", text="Paid."
)
SHIPPED_HELD = NotificationHeld(order_id=ORDER, template="order_shipped", subject="Sent", text="It is on its way.")
CONFIRMED_HELD = NotificationHeld(order_id=ORDER, template="order_confirmed", subject="Confirmed", text="Paid.")
NOTIFIED = CustomerNotified(order_id=ORDER, template="order_received", channel="smtp")
FAILED = NotificationFailed(order_id=ORDER, template="order_received", reason="address_refused")


def after(*events: NotificationEvent) -> Notification:
    notification = Notification()
    for event in events:
        notification = evolve(notification, event)
    return notification


def test_order_that_is_placed_is_confirmed_to_its_address() -> None:
    assert decide(RECEIPT, after()) == (RECEIPT_QUEUED,)


def test_later_news_goes_to_the_same_address() -> None:
    assert decide(SHIPPED, after(RECEIPT_QUEUED)) == (SHIPPED_QUEUED,)


def test_news_that_comes_before_the_order_is_held_and_follows_the_receipt() -> None:
    assert decide(CONFIRMED, after()) == (CONFIRMED_HELD,)
    assert decide(SHIPPED, after(CONFIRMED_HELD)) == (SHIPPED_HELD,)
    assert decide(RECEIPT, after(CONFIRMED_HELD, SHIPPED_HELD)) == (RECEIPT_QUEUED, CONFIRMED_QUEUED, SHIPPED_QUEUED)


def test_letter_that_was_held_is_held_no_more_once_it_is_queued() -> None:
    state = after(SHIPPED_HELD, RECEIPT_QUEUED, SHIPPED_QUEUED)
    assert state.held == ()
    assert state.letters == {"order_received": "QUEUED", "order_shipped": "QUEUED"}


def test_letter_that_left_is_reported() -> None:
    assert decide(SENT, after(RECEIPT_QUEUED)) == (NOTIFIED,)


def test_letter_that_nobody_takes_is_reported_and_not_tried_again() -> None:
    assert decide(NOT_SENT, after(RECEIPT_QUEUED)) == (FAILED,)
    assert decide(RECEIPT, after(RECEIPT_QUEUED, FAILED)) == ()


@pytest.mark.parametrize("outcome", [SENT, NOT_SENT])
def test_outcome_too_early_or_too_late_is_quiet(outcome: NotificationCommand) -> None:
    assert decide(outcome, after()) == ()
    assert decide(outcome, after(RECEIPT_QUEUED, NOTIFIED)) == ()
    assert decide(outcome, after(RECEIPT_QUEUED, FAILED)) == ()


@pytest.mark.parametrize(
    ("command", "history"),
    [
        (RECEIPT, ()),
        (RECEIPT, (SHIPPED_HELD,)),
        (SHIPPED, ()),
        (SHIPPED, (RECEIPT_QUEUED,)),
        (SENT, (RECEIPT_QUEUED,)),
        (NOT_SENT, (RECEIPT_QUEUED,)),
    ],
)
def test_asking_twice_gives_the_answer_once(
    command: NotificationCommand, history: tuple[NotificationEvent, ...]
) -> None:
    answer = decide(command, after(*history))
    assert answer
    assert decide(command, after(*history, *answer)) == ()


def test_one_letter_of_each_kind_in_any_order_of_news() -> None:
    news: tuple[NotificationCommand, ...] = (RECEIPT, CONFIRMED, SHIPPED)
    for order in permutations(news + news):
        events: list[NotificationEvent] = []
        for command in order:
            events += decide(command, after(*events))
        queued = [event.template for event in events if isinstance(event, NotificationQueued)]
        assert sorted(queued) == ["order_confirmed", "order_received", "order_shipped"], order
