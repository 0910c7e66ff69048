"""How money of one order goes back: for lines that came back, or for the whole order.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. One refund of a payment is under way at
a time: those of further returns wait, and a refund of the whole order takes what no return has claimed.
"""

from typing import assert_never

from msgspec.structs import replace

from contexts.kernel import Money, OrderId, ReturnId
from contexts.payments.commands import (
    RecordRefunded,
    RecordRefundRefused,
    RefundCommand,
    RefundReturn,
    RetryDueRefund,
    RetryRefund,
)
from contexts.payments.events import (
    PaymentEvent,
    PaymentRefunded,
    RefundFailed,
    RefundReason,
    RefundRequested,
    ReturnPriced,
)
from contexts.payments.payment import Payment, ReturnRefund, evolve, refund_all
from contexts.payments.worth import still_returnable, worth_minor
from shared.context import Rejected


def decide(command: RefundCommand, payment: Payment) -> tuple[PaymentEvent | Rejected, ...]:
    """Decide on the command: no event when it was answered before, or when nothing is left to give back."""
    order_id = command.order_id
    match command:
        case RefundReturn() if command.return_id not in payment.returns:
            return _price(command, payment)
        case RecordRefunded() if payment.status == "REFUNDING" and command.return_id == payment.refunding:
            amount = replace(payment.amount, amount_minor=payment.refund_minor)
            done = _refunded(order_id, payment, amount, _reason(payment), payment.refunding)
            return (done, *_next_refund(order_id, evolve(payment, done)))
        case RecordRefundRefused() if payment.status == "REFUNDING" and _is_this_attempt(command, payment):
            failed = RefundFailed(
                order_id=order_id,
                attempt=command.attempt,
                reason=command.reason,
                retry_at=command.retry_at,
                return_id=command.return_id,
            )
            return (failed,)
        case RetryDueRefund() if payment.status == "REFUND_REFUSED" and _is_this_attempt(command, payment):
            return (_refund_again(order_id, payment),)
        case RetryRefund() if payment.status == "REFUND_REFUSED":
            return (_refund_again(order_id, payment),)
        case RetryRefund() if payment.status not in ("REFUNDING", "REFUNDED"):
            return (Rejected.at("nothing_to_refund", "$", "the bank has refused no refund of this order"),)
        case RefundReturn() | RecordRefunded() | RecordRefundRefused() | RetryDueRefund() | RetryRefund():
            return ()
        case _:
            assert_never(command)


def _price(command: RefundReturn, payment: Payment) -> tuple[PaymentEvent, ...]:
    """Say what a return is worth, and have it refunded as soon as no other refund is under way."""
    order_id, return_id = command.order_id, command.return_id
    if payment.status not in ("CAPTURED", "REFUNDING", "REFUND_REFUSED", "REFUNDED"):
        return ()
    if not payment.lines:  # The order was placed before payments kept prices.
        return (RefundFailed(order_id=order_id, attempt=1, reason="not_possible", return_id=return_id),)
    lines = still_returnable(command.lines, payment.lines, payment.returned)
    minor = min(worth_minor(lines, payment.lines, payment.discount, payment.returned), payment.left_minor)
    amount = replace(payment.amount, amount_minor=minor)
    priced = ReturnPriced(order_id=order_id, return_id=return_id, lines=lines, amount=amount)
    if minor == 0:
        return (priced, _refunded(order_id, payment, amount, "returned", return_id))
    if payment.status not in ("CAPTURED", "REFUNDED"):
        return (priced,)
    return (priced, _refund_return(order_id, payment, ReturnRefund(return_id=return_id, amount_minor=minor)))


def _is_this_attempt(command: RecordRefundRefused | RetryDueRefund, payment: Payment) -> bool:
    return (command.attempt, command.return_id) == (payment.refund_attempt, payment.refunding)


def _reason(payment: Payment) -> RefundReason:
    """Why the refund that is under way was asked."""
    if payment.refunding is not None:
        return "returned"
    assert payment.undone_for is not None, payment
    return payment.undone_for


def _next_refund(order_id: OrderId, payment: Payment) -> tuple[RefundRequested, ...]:
    """The refund that waited for the last one: of a return, and at last of the whole order."""
    if payment.waiting:
        return (_refund_return(order_id, payment, payment.waiting[0]),)
    if payment.undone_for is not None and payment.left_minor > 0:
        return (refund_all(order_id, payment, payment.undone_for),)
    return ()


def _refunded(
    order_id: OrderId, payment: Payment, amount: Money, reason: RefundReason, return_id: ReturnId | None
) -> PaymentRefunded:
    return PaymentRefunded(
        order_id=order_id, payment_id=payment.payment_id, amount=amount, reason=reason, return_id=return_id
    )


def _refund_return(order_id: OrderId, payment: Payment, refund: ReturnRefund) -> RefundRequested:
    return RefundRequested(
        order_id=order_id,
        payment_id=payment.payment_id,
        amount=replace(payment.amount, amount_minor=refund.amount_minor),
        attempt=1,
        reason="returned",
        return_id=refund.return_id,
    )


def _refund_again(order_id: OrderId, payment: Payment) -> RefundRequested:
    return RefundRequested(
        order_id=order_id,
        payment_id=payment.payment_id,
        amount=replace(payment.amount, amount_minor=payment.refund_minor),
        attempt=payment.refund_attempt + 1,
        reason=_reason(payment),
        return_id=payment.refunding,
    )
