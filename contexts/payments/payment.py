"""Whether the money of one order is held, taken or let go, and what is left to give back.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. The capture is the pivot: before it a
payment is voided, after it it is refunded, and a cancellation that meets it half way waits for its outcome. refund.py
decides how money goes back.
"""

from typing import Literal, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.kernel import CancellationReason, Line, Money, OrderId, PaymentId, ReturnId, SkuQuantity
from contexts.payments.commands import (
    AuthorizePayment,
    CapturePayment,
    PaymentCommand,
    RecordAuthorizationRefused,
    RecordAuthorized,
    RecordCaptured,
    RecordCaptureRefused,
    RecordVoided,
    UndoPayment,
)
from contexts.payments.events import (
    AuthorizationRequested,
    CancellationNoted,
    CaptureRequested,
    PaymentAuthorized,
    PaymentEvent,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    PaymentVoided,
    RefundFailed,
    RefundRequested,
    ReservationNoted,
    ReturnPriced,
    VoidReason,
    VoidRequested,
)

Status: TypeAlias = Literal[
    "NEW",
    "AUTHORIZING",
    "AUTHORIZED",
    "CAPTURING",
    "CAPTURED",
    "FAILED",
    "VOIDING",
    "VOIDED",
    "REFUNDING",
    "REFUND_REFUSED",
    "REFUNDED",
]


class ReturnRefund(Struct, frozen=True, kw_only=True):
    """The amount that a return gives back, in minor units."""

    return_id: ReturnId
    amount_minor: int


class Payment(Struct, frozen=True, kw_only=True):
    """The money of one order; `undone_for` is why all of it goes back, once it does. REFUNDED is in whole or in part.

    `returned` are the units that came back, `returns` the returns with them. `waiting` are the refunds that the bank
    was not asked for yet, and `claimed_minor` is the sum of all refunds, done or not. `refunding` is the return whose
    refund is under way, None for that of the whole order, and `refund_minor` its amount.
    """

    status: Status = "NEW"
    payment_id: PaymentId = PaymentId("")
    amount: Money = Money(amount_minor=0)
    reserved: bool = False
    authorized: bool = False
    undone_for: CancellationReason | None = None
    refund_attempt: int = 0
    lines: tuple[Line, ...] = ()
    discount: int = 0
    returns: tuple[ReturnId, ...] = ()
    returned: tuple[SkuQuantity, ...] = ()
    waiting: tuple[ReturnRefund, ...] = ()
    claimed_minor: int = 0
    refunded_minor: int = 0
    refunding: ReturnId | None = None
    refund_minor: int = 0

    @property
    def left_minor(self) -> int:
        """The part of the amount that no refund has claimed."""
        return self.amount.amount_minor - self.claimed_minor

    @property
    def awaits_authorization(self) -> bool:
        """Whether the bank has not answered the authorization yet; a void may be asked for meanwhile."""
        return self.status in ("AUTHORIZING", "VOIDING") and not self.authorized


def decide(command: PaymentCommand, payment: Payment) -> tuple[PaymentEvent, ...]:
    """Decide on the command: no event when it was answered before, or when the payment is past it."""
    order_id = command.order_id
    match command:
        case AuthorizePayment() if payment.status == "NEW":
            return (_authorization(command),)
        case CapturePayment():
            return _capture_when_held(order_id, payment)
        case UndoPayment():
            return _undo(command, payment)
        case RecordAuthorized() if payment.awaits_authorization:
            held = PaymentAuthorized(order_id=order_id, payment_id=payment.payment_id, amount=payment.amount)
            wanted = payment.reserved and payment.status == "AUTHORIZING"
            return (held, _capture(order_id, payment)) if wanted else (held,)
        case RecordAuthorizationRefused() if payment.awaits_authorization:
            return (PaymentFailed(order_id=order_id, stage="authorize", reason=command.reason),)
        case RecordCaptured() if payment.status == "CAPTURING":
            taken = PaymentSucceeded(order_id=order_id, payment_id=payment.payment_id, amount=payment.amount)
            return (taken, refund_all(order_id, payment, payment.undone_for)) if payment.undone_for else (taken,)
        case RecordCaptureRefused() if payment.status == "CAPTURING":
            failed = PaymentFailed(order_id=order_id, stage="capture", reason=command.reason)
            return (failed, _void(order_id, payment, "capture_refused"))
        case RecordVoided() if payment.status == "VOIDING":
            return (PaymentVoided(order_id=order_id, payment_id=payment.payment_id),)
        case (
            AuthorizePayment()
            | RecordAuthorized()
            | RecordAuthorizationRefused()
            | RecordCaptured()
            | RecordCaptureRefused()
            | RecordVoided()
        ):
            return ()
        case _:
            assert_never(command)


def evolve(payment: Payment, event: PaymentEvent) -> Payment:
    """The payment after one of its events."""
    match event:
        case AuthorizationRequested():
            assert payment.status == "NEW", payment.status
            return replace(
                payment,
                status="AUTHORIZING",
                payment_id=event.payment_id,
                amount=event.amount,
                lines=event.lines,
                discount=event.discount,
            )
        case ReservationNoted():
            return replace(payment, reserved=True)
        case PaymentAuthorized():
            status: Status = "VOIDING" if payment.status == "VOIDING" else "AUTHORIZED"
            return replace(payment, status=status, authorized=True)
        case CaptureRequested():
            assert payment.status == "AUTHORIZED", payment.status
            return replace(payment, status="CAPTURING", reserved=True)
        case CancellationNoted():
            return replace(payment, undone_for=event.reason)
        case PaymentSucceeded():
            assert payment.status == "CAPTURING", payment.status
            return replace(payment, status="CAPTURED")
        case PaymentFailed():
            return replace(payment, status="FAILED")
        case VoidRequested():
            assert payment.status in ("AUTHORIZING", "AUTHORIZED", "FAILED"), payment.status
            return replace(payment, status="VOIDING")
        case PaymentVoided():
            return replace(payment, status="VOIDED", payment_id=event.payment_id)
        case ReturnPriced():
            return _evolve_priced(payment, event)
        case RefundRequested():
            assert payment.status in ("CAPTURED", "REFUNDED", "REFUND_REFUSED"), payment.status
            return _evolve_requested(payment, event)
        case PaymentRefunded():
            return _evolve_refunded(payment, event)
        case RefundFailed():
            if payment.status != "REFUNDING" or event.return_id != payment.refunding:
                assert event.return_id is not None, event
                return replace(payment, returns=(*payment.returns, event.return_id))  # It has no known price.
            return replace(payment, status="REFUND_REFUSED")
        case _:
            assert_never(event)


def payment_id_of(order_id: OrderId) -> PaymentId:
    """The one payment of an order: the same on every machine and every attempt."""
    return PaymentId(f"pay-{order_id}")


def refund_all(order_id: OrderId, payment: Payment, reason: CancellationReason) -> RefundRequested:
    """Ask for all that no return has claimed; requires that no other refund is under way."""
    return RefundRequested(
        order_id=order_id,
        payment_id=payment.payment_id,
        amount=replace(payment.amount, amount_minor=payment.left_minor),
        attempt=1,
        reason=reason,
    )


def _authorization(command: AuthorizePayment) -> AuthorizationRequested:
    return AuthorizationRequested(
        order_id=command.order_id,
        payment_id=payment_id_of(command.order_id),
        amount=command.amount,
        method_token=command.method_token,
        lines=command.lines,
        discount=command.discount,
    )


def _capture_when_held(order_id: OrderId, payment: Payment) -> tuple[PaymentEvent, ...]:
    if payment.status == "AUTHORIZED":
        return (_capture(order_id, payment),)
    if payment.status in ("NEW", "AUTHORIZING") and not payment.reserved:
        return (ReservationNoted(order_id=order_id),)
    return ()


def _undo(command: UndoPayment, payment: Payment) -> tuple[PaymentEvent, ...]:
    match payment.status:
        case "NEW":
            return (PaymentVoided(order_id=command.order_id, payment_id=payment_id_of(command.order_id)),)
        case "AUTHORIZING" | "AUTHORIZED":
            return (_void(command.order_id, payment, command.reason),)
        case "CAPTURING" if payment.undone_for is None:
            return (CancellationNoted(order_id=command.order_id, reason=command.reason),)
        case "CAPTURED":
            return (refund_all(command.order_id, payment, command.reason),)
        case "REFUNDED" if payment.left_minor > 0:
            return (refund_all(command.order_id, payment, command.reason),)
        case "REFUNDING" | "REFUND_REFUSED" if payment.refunding is not None and payment.undone_for is None:
            return (CancellationNoted(order_id=command.order_id, reason=command.reason),)
        case _:
            return ()


def _evolve_priced(payment: Payment, event: ReturnPriced) -> Payment:
    minor = event.amount.amount_minor
    refund = ReturnRefund(return_id=event.return_id, amount_minor=minor)
    return replace(
        payment,
        returns=(*payment.returns, event.return_id),
        returned=(*payment.returned, *event.lines),
        waiting=(*payment.waiting, refund) if minor else payment.waiting,
        claimed_minor=payment.claimed_minor + minor,
    )


def _evolve_requested(payment: Payment, event: RefundRequested) -> Payment:
    minor = event.amount.amount_minor
    payment = replace(
        payment,
        status="REFUNDING",
        refunding=event.return_id,
        refund_attempt=event.attempt,
        refund_minor=minor,
        waiting=tuple(refund for refund in payment.waiting if refund.return_id != event.return_id),
    )
    if event.return_id is not None or event.reason == "returned":
        return payment
    claimed_minor = payment.claimed_minor + (minor if event.attempt == 1 else 0)
    return replace(payment, undone_for=event.reason, claimed_minor=claimed_minor)


def _evolve_refunded(payment: Payment, event: PaymentRefunded) -> Payment:
    if event.return_id != payment.refunding or payment.status != "REFUNDING":
        return payment  # A return that was worth nothing, of which the bank was not asked.
    return replace(
        payment,
        status="REFUNDED",
        refunded_minor=payment.refunded_minor + event.amount.amount_minor,
        refunding=None,
        refund_minor=0,
    )


def _capture(order_id: OrderId, payment: Payment) -> CaptureRequested:
    return CaptureRequested(order_id=order_id, payment_id=payment.payment_id, amount=payment.amount)


def _void(order_id: OrderId, payment: Payment, reason: VoidReason) -> VoidRequested:
    return VoidRequested(order_id=order_id, payment_id=payment.payment_id, reason=reason)
