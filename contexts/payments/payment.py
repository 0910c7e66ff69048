"""Whether the money of one order is held, taken, let go or given back.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. The capture is the pivot: before it a
payment is voided, after it it is refunded, and a cancellation that meets it half way waits for its outcome.
"""

from typing import Literal, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.kernel import CancellationReason, Money, OrderId, PaymentId
from contexts.payments.commands import (
    AuthorizePayment,
    CapturePayment,
    PaymentCommand,
    RecordAuthorizationRefused,
    RecordAuthorized,
    RecordCaptured,
    RecordCaptureRefused,
    RecordRefunded,
    RecordRefundRefused,
    RecordVoided,
    RetryDueRefund,
    RetryRefund,
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
    VoidReason,
    VoidRequested,
)
from shared.context import Rejected

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


class Payment(Struct, frozen=True, kw_only=True):
    """The money of one order; `undone_for` is why it goes back, once it does."""

    status: Status = "NEW"
    payment_id: PaymentId = PaymentId("")
    amount: Money = Money(amount_minor=0)
    reserved: bool = False
    authorized: bool = False
    undone_for: CancellationReason | None = None
    refund_attempt: int = 0

    @property
    def awaits_authorization(self) -> bool:
        """Whether the bank has not answered the authorization yet; a void may be asked for meanwhile."""
        return self.status in ("AUTHORIZING", "VOIDING") and not self.authorized


def decide(command: PaymentCommand, payment: Payment) -> tuple[PaymentEvent | Rejected, ...]:
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
            return (taken, _refund(order_id, payment, payment.undone_for)) if payment.undone_for else (taken,)
        case RecordCaptureRefused() if payment.status == "CAPTURING":
            failed = PaymentFailed(order_id=order_id, stage="capture", reason=command.reason)
            return (failed, _void(order_id, payment, "capture_refused"))
        case RecordVoided() if payment.status == "VOIDING":
            return (PaymentVoided(order_id=order_id, payment_id=payment.payment_id),)
        case RecordRefunded() | RecordRefundRefused() | RetryDueRefund() | RetryRefund():
            return _refunding(command, payment)
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
            return replace(payment, status="AUTHORIZING", payment_id=event.payment_id, amount=event.amount)
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
        case RefundRequested():
            assert payment.status in ("CAPTURED", "REFUND_REFUSED"), payment.status
            return replace(payment, status="REFUNDING", undone_for=event.reason, refund_attempt=event.attempt)
        case PaymentRefunded():
            return replace(payment, status="REFUNDED")
        case RefundFailed():
            return replace(payment, status="REFUND_REFUSED")
        case _:
            assert_never(event)


def payment_id_of(order_id: OrderId) -> PaymentId:
    """The one payment of an order: the same on every machine and every attempt."""
    return PaymentId(f"pay-{order_id}")


def _authorization(command: AuthorizePayment) -> AuthorizationRequested:
    return AuthorizationRequested(
        order_id=command.order_id,
        payment_id=payment_id_of(command.order_id),
        amount=command.amount,
        method_token=command.method_token,
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
            return (_refund(command.order_id, payment, command.reason),)
        case _:
            return ()


def _refunding(
    command: RecordRefunded | RecordRefundRefused | RetryDueRefund | RetryRefund, payment: Payment
) -> tuple[PaymentEvent | Rejected, ...]:
    refused = payment.status == "REFUND_REFUSED"
    asked = payment.undone_for
    match command:
        case RecordRefunded() if payment.status == "REFUNDING" and asked:
            done = PaymentRefunded(
                order_id=command.order_id, payment_id=payment.payment_id, amount=payment.amount, reason=asked
            )
            return (done,)
        case RecordRefundRefused() if payment.status == "REFUNDING" and command.attempt == payment.refund_attempt:
            failed = RefundFailed(
                order_id=command.order_id, attempt=command.attempt, reason=command.reason, retry_at=command.retry_at
            )
            return (failed,)
        case RetryDueRefund() if refused and asked and command.attempt == payment.refund_attempt:
            return (_refund(command.order_id, payment, asked),)
        case RetryRefund() if refused and asked:
            return (_refund(command.order_id, payment, asked),)
        case RetryRefund() if payment.status not in ("REFUNDING", "REFUNDED"):
            return (Rejected(reason="nothing_to_refund"),)
        case _:
            return ()


def _capture(order_id: OrderId, payment: Payment) -> CaptureRequested:
    return CaptureRequested(order_id=order_id, payment_id=payment.payment_id, amount=payment.amount)


def _void(order_id: OrderId, payment: Payment, reason: VoidReason) -> VoidRequested:
    return VoidRequested(order_id=order_id, payment_id=payment.payment_id, reason=reason)


def _refund(order_id: OrderId, payment: Payment, reason: CancellationReason) -> RefundRequested:
    return RefundRequested(
        order_id=order_id,
        payment_id=payment.payment_id,
        amount=payment.amount,
        attempt=payment.refund_attempt + 1,
        reason=reason,
    )
