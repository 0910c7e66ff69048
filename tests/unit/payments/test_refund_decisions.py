"""Refunds of returned lines: priced once, one at a time, no more than was taken, and nothing where nothing is due."""

import pytest
from msgspec.structs import replace

from contexts.kernel import Line, Money, ReturnId, Sku, SkuQuantity
from contexts.payments.commands import RecordRefunded, RecordRefundRefused, RefundReturn, RetryDueRefund
from contexts.payments.events import (
    AuthorizationRequested,
    CancellationNoted,
    CaptureRequested,
    PaymentAuthorized,
    PaymentEvent,
    PaymentRefunded,
    PaymentSucceeded,
    RefundFailed,
    RefundRequested,
    ReturnPriced,
)
from tests.unit.payments.deciding import after, decide
from tests.unit.payments.test_payment_decisions import CANCEL, LATER, ORDER, PAID, PAYMENT, TOKEN

MUG = Sku("mug")
RETURN, OTHER = ReturnId("r-1"), ReturnId("r-2")


def paid(unit_minor: int, quantity: int, *, discount: int = 0) -> tuple[PaymentEvent, ...]:
    """The events of an order of mugs that was paid for."""
    total = Money(amount_minor=unit_minor * quantity - discount)
    lines = (Line(sku=MUG, quantity=quantity, unit_price=Money(amount_minor=unit_minor)),)
    return (
        AuthorizationRequested(
            order_id=ORDER, payment_id=PAYMENT, amount=total, method_token=TOKEN, lines=lines, discount=discount
        ),
        PaymentAuthorized(order_id=ORDER, payment_id=PAYMENT, amount=total),
        CaptureRequested(order_id=ORDER, payment_id=PAYMENT, amount=total),
        PaymentSucceeded(order_id=ORDER, payment_id=PAYMENT, amount=total),
    )


def mugs(quantity: int) -> tuple[SkuQuantity, ...]:
    return (SkuQuantity(sku=MUG, quantity=quantity),)


def comes_back(quantity: int, return_id: ReturnId = RETURN) -> RefundReturn:
    return RefundReturn(order_id=ORDER, return_id=return_id, lines=mugs(quantity))


def priced(quantity: int, minor: int, return_id: ReturnId = RETURN) -> ReturnPriced:
    amount = Money(amount_minor=minor)
    return ReturnPriced(order_id=ORDER, return_id=return_id, lines=mugs(quantity), amount=amount)


def asked(minor: int, return_id: ReturnId = RETURN, attempt: int = 1) -> RefundRequested:
    return RefundRequested(
        order_id=ORDER,
        payment_id=PAYMENT,
        amount=Money(amount_minor=minor),
        attempt=attempt,
        reason="returned",
        return_id=return_id,
    )


def refunded(minor: int, return_id: ReturnId = RETURN) -> PaymentRefunded:
    return PaymentRefunded(
        order_id=ORDER,
        payment_id=PAYMENT,
        amount=Money(amount_minor=minor),
        reason="returned",
        return_id=return_id,
    )


REFUSED = RecordRefundRefused(order_id=ORDER, attempt=1, reason="refund_refused", retry_at=LATER, return_id=RETURN)
FAILED = RefundFailed(order_id=ORDER, attempt=1, reason="refund_refused", retry_at=LATER, return_id=RETURN)


def test_returned_lines_are_priced_and_their_refund_is_asked() -> None:
    history = paid(300, 3)
    assert decide(comes_back(2), after(*history)) == (priced(2, 600), asked(600))
    assert decide(comes_back(2), after(*history, priced(2, 600), asked(600))) == ()


def test_return_that_is_worth_nothing_is_refunded_at_once_and_the_bank_is_not_asked() -> None:
    """Of ten articles for 1 less 9, the first bears no share of the discount, and the second one all that it costs."""
    first = (priced(1, 1), asked(1), refunded(1))
    history = (*paid(1, 10, discount=9), *first)
    assert decide(comes_back(1, OTHER), after(*history)) == (priced(1, 0, OTHER), refunded(0, OTHER))


def test_refund_of_nothing_leaves_the_payment_as_it_was() -> None:
    history = paid(1, 10, discount=9)
    nothing = (priced(1, 0, OTHER), refunded(0, OTHER))
    before, then = after(*history), after(*history, *nothing)
    assert (then.status, then.left_minor, then.waiting) == (before.status, before.left_minor, ())
    assert decide(comes_back(1, OTHER), then) == ()


def test_refund_of_nothing_does_not_end_the_refund_that_is_under_way() -> None:
    history = (*paid(300, 1), priced(1, 300), asked(300))
    nothing_left = (replace(priced(1, 0, OTHER), lines=()), refunded(0, OTHER))
    assert decide(comes_back(1, OTHER), after(*history)) == nothing_left
    state = after(*history, *nothing_left)
    assert (state.status, state.refunding) == ("REFUNDING", RETURN)
    assert decide(RecordRefunded(order_id=ORDER, return_id=RETURN), state) == (refunded(300),)


def test_return_waits_for_the_refund_that_is_under_way() -> None:
    history = (*paid(300, 3), priced(1, 300), asked(300))
    assert decide(comes_back(1, OTHER), after(*history)) == (priced(1, 300, OTHER),)
    answered = decide(RecordRefunded(order_id=ORDER, return_id=RETURN), after(*history, priced(1, 300, OTHER)))
    assert answered == (refunded(300), asked(300, OTHER))


def test_payment_that_is_refunded_in_part_gives_back_what_is_left() -> None:
    """For another return, or for the whole order; after that nothing is left."""
    history = (*paid(300, 3), priced(1, 300), asked(300), refunded(300))
    assert after(*history).status == "REFUNDED"
    assert decide(comes_back(1, OTHER), after(*history)) == (priced(1, 300, OTHER), asked(300, OTHER))
    (rest,) = decide(CANCEL, after(*history))
    assert isinstance(rest, RefundRequested)
    assert (rest.amount.amount_minor, rest.return_id) == (600, None)
    assert decide(CANCEL, after(*history, rest, replace(refunded(600), reason="customer", return_id=None))) == ()


def test_refused_refund_of_a_return_is_asked_again_when_it_is_due() -> None:
    history = (*paid(300, 3), priced(1, 300), asked(300))
    assert decide(REFUSED, after(*history)) == (FAILED,)
    due = RetryDueRefund(order_id=ORDER, attempt=1, return_id=RETURN)
    assert decide(due, after(*history, FAILED)) == (asked(300, attempt=2),)
    assert decide(replace(due, return_id=OTHER), after(*history, FAILED)) == ()


def test_order_that_ends_while_a_return_is_refunded_gives_the_rest_back_after_it() -> None:
    history = (*paid(300, 3), priced(1, 300), asked(300))
    noted = CancellationNoted(order_id=ORDER, reason="customer")
    assert decide(CANCEL, after(*history)) == (noted,)
    rest = RefundRequested(
        order_id=ORDER, payment_id=PAYMENT, amount=Money(amount_minor=600), attempt=1, reason="customer"
    )
    answered = decide(RecordRefunded(order_id=ORDER, return_id=RETURN), after(*history, noted))
    assert answered == (refunded(300), rest)


@pytest.mark.parametrize("history", [(), paid(300, 3)[:1]], ids=["new", "authorizing"])
def test_return_of_an_order_that_is_not_paid_for_is_quiet(history: tuple[PaymentEvent, ...]) -> None:
    assert decide(comes_back(1), after(*history)) == ()


def test_return_of_an_order_without_known_prices_needs_a_person() -> None:
    """A release that kept no prices has placed it: the bank is not asked, now or later."""
    failed = RefundFailed(order_id=ORDER, attempt=1, reason="not_possible", return_id=RETURN)
    assert decide(comes_back(1), after(*PAID)) == (failed,)
    assert decide(comes_back(1), after(*PAID, failed)) == ()
    assert after(*PAID, failed).status == "CAPTURED"
