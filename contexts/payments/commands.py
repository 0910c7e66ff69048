"""The commands of payments: clients send RetryRefund; the others come from its policies, its timer and the bank."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Struct

from contexts.kernel import CancellationReason, Line, MethodToken, Money, OrderId, ReturnId, SkuQuantity
from contexts.payments.events import BankRefusal
from shared.wire.messages import FROM_SUBJECT

Refusal: TypeAlias = Literal["nothing_to_refund"]
"""Why a command of a client is rejected."""


class RetryRefund(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask the bank for a refused refund again now, without waiting for the timer."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")


class AuthorizePayment(Struct, frozen=True, kw_only=True):
    """Have the amount held; the lines and the discount tell what a return is worth."""

    order_id: OrderId
    amount: Money
    method_token: MethodToken
    lines: tuple[Line, ...] = ()
    discount: int = 0


class CapturePayment(Struct, frozen=True, kw_only=True):
    """The goods are reserved: take the money as soon as it is held."""

    order_id: OrderId


class UndoPayment(Struct, frozen=True, kw_only=True):
    """The order does not happen: void what is held, refund what was taken, forbid what has not been asked yet."""

    order_id: OrderId
    reason: CancellationReason


class RefundReturn(Struct, frozen=True, kw_only=True):
    """These lines of a delivered order came back: give their price back."""

    order_id: OrderId
    return_id: ReturnId
    lines: tuple[SkuQuantity, ...]


class RecordAuthorized(Struct, frozen=True, kw_only=True):
    """The bank holds the amount."""

    order_id: OrderId


class RecordAuthorizationRefused(Struct, frozen=True, kw_only=True):
    """The bank refuses to hold the amount."""

    order_id: OrderId
    reason: BankRefusal


class RecordCaptured(Struct, frozen=True, kw_only=True):
    """The bank has moved the money to us."""

    order_id: OrderId


class RecordCaptureRefused(Struct, frozen=True, kw_only=True):
    """The bank refuses to move the money; it still holds it."""

    order_id: OrderId
    reason: BankRefusal


class RecordVoided(Struct, frozen=True, kw_only=True):
    """The bank holds nothing for this payment."""

    order_id: OrderId


class RecordRefunded(Struct, frozen=True, kw_only=True):
    """The bank has given the money back."""

    order_id: OrderId
    return_id: ReturnId | None = None


class RecordRefundRefused(Struct, frozen=True, kw_only=True):
    """The bank refuses to give the money back; it may be asked again from `retry_at` on."""

    order_id: OrderId
    attempt: int
    reason: BankRefusal
    retry_at: datetime
    return_id: ReturnId | None = None


class RetryDueRefund(Struct, frozen=True, kw_only=True):
    """The wait after this attempt is over. Stale once an operator has asked again."""

    order_id: OrderId
    attempt: int
    return_id: ReturnId | None = None


class VerifyMethod(Struct, frozen=True, kw_only=True):
    """A customer wants to pay by this method; `attempt` counts the customer's submissions."""

    order_id: OrderId
    attempt: int
    method_token: MethodToken


class RecordMethodApproved(Struct, frozen=True, kw_only=True):
    """The bank would take the method."""

    order_id: OrderId
    attempt: int


class RecordMethodDeclined(Struct, frozen=True, kw_only=True):
    """The bank does not take the method."""

    order_id: OrderId
    attempt: int
    reason: BankRefusal


MethodCommand: TypeAlias = VerifyMethod | RecordMethodApproved | RecordMethodDeclined
PaymentCommand: TypeAlias = (
    AuthorizePayment
    | CapturePayment
    | UndoPayment
    | RecordAuthorized
    | RecordAuthorizationRefused
    | RecordCaptured
    | RecordCaptureRefused
    | RecordVoided
)
RefundCommand: TypeAlias = RefundReturn | RecordRefunded | RecordRefundRefused | RetryDueRefund | RetryRefund
