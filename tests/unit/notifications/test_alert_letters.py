"""The letter about an alert of a basket: written once, withdrawn while it waits, not written again for an old alert."""

import pytest
from msgspec.structs import replace

from contexts.kernel import OrderId, Sku
from contexts.notifications.commands import NotificationCommand, WithdrawLetter
from contexts.notifications.decider import Notification, decide, evolve
from contexts.notifications.events import (
    NotificationEvent,
    NotificationHeld,
    NotificationQueued,
    NotificationWithdrawn,
)
from contexts.notifications.policies import (
    whenever_an_alert_is_cleared_withdraw_its_letter,
    whenever_an_alert_is_set_tell_the_customer,
    whenever_order_cancelled_tell_the_customer,
)
from contexts.notifications.upstream import AlertCleared, AlertSet, OrderCancelled

BASKET = OrderId("b-1")
(FIRST,) = whenever_an_alert_is_set_tell_the_customer(
    AlertSet(order_id=BASKET, sku=Sku("mug"), requested=7, available=5, number=1)
)
SECOND = replace(FIRST, alert=2)
WITHDRAW = WithdrawLetter(order_id=BASKET, template="stock_short", alert=1)
HELD = NotificationHeld(order_id=BASKET, template="stock_short", subject=FIRST.subject, text=FIRST.text)
WITHDRAWN = NotificationWithdrawn(order_id=BASKET, template="stock_short", alert=1)
ADDRESS = "ann@example.com"
QUEUED = NotificationQueued(
    order_id=BASKET, template="stock_short", email=ADDRESS, subject=FIRST.subject, text=FIRST.text
)


def after(*events: NotificationEvent) -> Notification:
    notification = Notification()
    for event in events:
        notification = evolve(notification, event)
    return notification


def test_letter_waits_for_an_address_and_is_withdrawn_when_its_alert_is_cleared() -> None:
    (withdraw,) = whenever_an_alert_is_cleared_withdraw_its_letter(AlertCleared(order_id=BASKET, number=1))
    assert decide(FIRST, after()) == (HELD,)
    assert decide(withdraw, after(HELD)) == (WITHDRAWN,)
    assert decide(withdraw, after(HELD, WITHDRAWN)) == ()
    assert decide(withdraw, after(QUEUED)) == ()


@pytest.mark.parametrize("again", [FIRST, replace(FIRST, email=ADDRESS), replace(FIRST, alert=0)])
def test_alert_that_is_over_is_quiet_when_it_is_heard_again(again: NotificationCommand) -> None:
    assert decide(again, after(HELD, WITHDRAWN)) == ()


def test_alert_that_was_set_after_the_withdrawal_has_its_letter() -> None:
    assert decide(SECOND, after(HELD, WITHDRAWN)) == (HELD,)


def test_clearance_that_is_heard_again_does_not_withdraw_a_later_letter() -> None:
    assert decide(WITHDRAW, after(HELD, WITHDRAWN, HELD)) == ()
    assert decide(replace(WITHDRAW, alert=2), after(HELD, WITHDRAWN, HELD)) == (replace(WITHDRAWN, alert=2),)


def test_alert_that_waited_beside_the_withdrawn_one_is_over_too() -> None:
    """The second alert led to no letter of its own, so nothing but the number tells that it was heard."""
    assert decide(SECOND, after(HELD)) == ()
    (withdrawn,) = decide(replace(WITHDRAW, alert=2), after(HELD))
    assert decide(SECOND, after(HELD, withdrawn)) == ()


def test_alerts_of_an_earlier_release_have_no_number_and_are_told() -> None:
    unnumbered, withdrawn = replace(FIRST, alert=0), replace(WITHDRAWN, alert=0)
    assert decide(unnumbered, after()) == (HELD,)
    assert decide(unnumbered, after(HELD, withdrawn)) == (HELD,)


def test_letter_that_waits_leaves_with_the_first_alert_that_has_an_address() -> None:
    known = replace(SECOND, email=ADDRESS)
    assert decide(known, after(HELD)) == (QUEUED,)
    assert decide(known, after(HELD, QUEUED)) == ()
    assert after(HELD, QUEUED).held == ()


def test_letter_about_the_order_does_not_go_to_the_address_of_an_alert() -> None:
    """The customer may name another address before the order is placed."""
    cancelled = OrderCancelled(order_id=BASKET, reason="customer")
    (told,) = whenever_order_cancelled_tell_the_customer(cancelled)
    (answer,) = decide(told, after(QUEUED))
    assert isinstance(answer, NotificationHeld)
