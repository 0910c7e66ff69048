"""The events of payments: a method is approved; the money of an order was held, taken, let go or given back."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Struct

from contexts.kernel import CancellationReason, Line, MethodToken, Money, OrderId, PaymentId, ReturnId, SkuQuantity
from shared.wire.messages import TOLD

BankRefusal: TypeAlias = Literal["insufficient_funds", "declined", "capture_refused", "refund_refused", "not_possible"]
"""Why a bank says no; `not_possible` is a payment that is not in a state for what was asked."""

VoidReason: TypeAlias = CancellationReason | Literal["capture_refused"]

RefundReason: TypeAlias = CancellationReason | Literal["returned"]
"""Why money goes back: the order does not happen, or lines of it came back."""


class AuthorizationRequested(Struct, frozen=True, kw_only=True):
    """The bank is to be asked to hold the amount: the lines less the discount, which is in minor units."""

    order_id: OrderId
    payment_id: PaymentId
    amount: Money
    method_token: MethodToken
    lines: tuple[Line, ...] = ()
    discount: int = 0


class ReservationNoted(Struct, frozen=True, kw_only=True):
    """The goods are reserved, and the money is not held yet: the capture follows the authorization."""

    order_id: OrderId


class PaymentAuthorized(Struct, frozen=True, kw_only=True):
    """The bank holds the amount for us."""

    order_id: OrderId
    payment_id: PaymentId
    amount: Money


class CaptureRequested(Struct, frozen=True, kw_only=True):
    """The goods are reserved and the money is held: the bank is to be asked for it. From here nothing is voided."""

    order_id: OrderId
    payment_id: PaymentId
    amount: Money


class CancellationNoted(Struct, frozen=True, kw_only=True):
    """The order was cancelled while the capture was under way: the money goes back once it is ours."""

    order_id: OrderId
    reason: Annotated[CancellationReason, TOLD]


class PaymentSucceeded(Struct, frozen=True, kw_only=True):
    """The money is ours."""

    order_id: OrderId
    payment_id: PaymentId
    amount: Money


class PaymentFailed(Struct, frozen=True, kw_only=True):
    """The money for the order was refused; none of it is ours."""

    order_id: OrderId
    stage: Annotated[Literal["authorize", "capture"], TOLD]
    reason: Annotated[BankRefusal, TOLD]


class VoidRequested(Struct, frozen=True, kw_only=True):
    """The bank is to be asked to let the held amount go; no capture follows."""

    order_id: OrderId
    payment_id: PaymentId
    reason: Annotated[VoidReason, TOLD]


class PaymentVoided(Struct, frozen=True, kw_only=True):
    """Nothing is held for the order, and nothing ever will be."""

    order_id: OrderId
    payment_id: PaymentId


class ReturnPriced(Struct, frozen=True, kw_only=True):
    """These lines came back and are worth this amount, less their own discount."""

    order_id: OrderId
    return_id: Annotated[ReturnId, TOLD]
    lines: tuple[SkuQuantity, ...]
    amount: Money


class RefundRequested(Struct, frozen=True, kw_only=True):
    """The bank is to be asked to give money back, for a return or for the whole order; `attempt` counts from 1."""

    order_id: OrderId
    payment_id: PaymentId
    amount: Money
    attempt: int
    reason: Annotated[RefundReason, TOLD]
    return_id: ReturnId | None = None


class PaymentRefunded(Struct, frozen=True, kw_only=True):
    """The customer has the amount back: for a return, or all that was left of the payment."""

    order_id: OrderId
    payment_id: PaymentId
    amount: Money
    reason: Annotated[RefundReason, TOLD]
    return_id: ReturnId | None = None


class RefundFailed(Struct, frozen=True, kw_only=True):
    """The bank refused to give the money back; it is asked again at `retry_at`, or when an operator retries.

    Without `retry_at` it cannot be asked: no price is known for the lines of a return.
    """

    order_id: OrderId
    attempt: int
    reason: Annotated[BankRefusal, TOLD]
    retry_at: datetime | None = None
    return_id: ReturnId | None = None


class MethodVerificationRequested(Struct, frozen=True, kw_only=True):
    """The bank is to be asked whether it would take this method, for the payment details of this attempt."""

    order_id: OrderId
    attempt: int
    method_token: MethodToken


class PaymentApproved(Struct, frozen=True, kw_only=True):
    """The bank would take the payment details of this attempt; nothing is charged."""

    order_id: OrderId
    attempt: int


class PaymentDeclined(Struct, frozen=True, kw_only=True):
    """The bank does not take the payment details of this attempt."""

    order_id: OrderId
    attempt: int
    reason: Annotated[BankRefusal, TOLD]


MethodEvent: TypeAlias = MethodVerificationRequested | PaymentApproved | PaymentDeclined
PaymentEvent: TypeAlias = (
    AuthorizationRequested
    | ReservationNoted
    | PaymentAuthorized
    | CaptureRequested
    | CancellationNoted
    | PaymentSucceeded
    | PaymentFailed
    | VoidRequested
    | PaymentVoided
    | ReturnPriced
    | RefundRequested
    | PaymentRefunded
    | RefundFailed
)
