"""The commands of ordering: clients send PlaceOrder, CancelOrder and RequestReturn; policies and timers the others."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from contexts.kernel import (
    Address,
    CancellationReason,
    CustomerId,
    Email,
    Line,
    MethodToken,
    Money,
    OrderId,
    PaymentId,
    ReturnId,
    ReturnIdText,
    SkuQuantity,
    Text,
    refuse_card_number,
)
from shared.wire.messages import FROM_STREAM, FROM_SUBJECT, NEVER, TOLD

LINES_AT_MOST = 100

Refusal: TypeAlias = Literal[
    "order_already_placed",
    "wrong_currency",
    "too_many_units",
    "total_too_large",
    "too_late_to_cancel",
    "order_unknown",
    "not_delivered",
    "window_closed",
    "too_many",
    "id_known_otherwise",
]
"""Why an order is not taken at all, not cancelled when that was refused before, or not taken back."""


class PlaceOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Buy these lines; the deadline of the order counts from when this was asked."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    customer_id: Annotated[CustomerId, Meta(min_length=1, max_length=200)]
    email: Email
    lines: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=LINES_AT_MOST)]
    address: Address
    method_token: Annotated[MethodToken, Meta(min_length=1, max_length=500)]
    allow_backorder: bool = False
    asked_at: Annotated[datetime, FROM_STREAM] = NEVER

    def __post_init__(self) -> None:
        refuse_card_number(self.method_token, "$.method_token")


class CancelOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The customer does not want the order any more; `reason` is in the customer's words."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    reason: Annotated[Text, TOLD]


class RequestReturn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Send these lines of a delivered order back; the window counts to when this was asked."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    return_id: Annotated[ReturnIdText, TOLD]
    lines: Annotated[tuple[SkuQuantity, ...], Meta(min_length=1, max_length=LINES_AT_MOST)]
    reason: Annotated[Text, TOLD]
    asked_at: Annotated[datetime, FROM_STREAM] = NEVER


class RecordReturnReceipt(Struct, frozen=True, kw_only=True):
    """The parcel of a return has come."""

    order_id: OrderId
    return_id: ReturnId
    lines: tuple[SkuQuantity, ...]


class RecordReturnRefund(Struct, frozen=True, kw_only=True):
    """The customer has the money of a return; may come before the news of its parcel."""

    order_id: OrderId
    return_id: ReturnId
    amount: Money


class LapseReturns(Struct, frozen=True, kw_only=True):
    """The parcels that were expected by `due_at` have not come."""

    order_id: OrderId
    due_at: datetime


class ConfirmOrder(Struct, frozen=True, kw_only=True):
    """The money is in."""

    order_id: OrderId
    payment_id: PaymentId


class CancelPendingOrder(Struct, frozen=True, kw_only=True):
    """The order lacks its goods or its money."""

    order_id: OrderId
    reason: CancellationReason


class ExtendDeadline(Struct, frozen=True, kw_only=True):
    """The order waits for stock until `backorder_expires_at`."""

    order_id: OrderId
    backorder_expires_at: datetime


class ExpireOrder(Struct, frozen=True, kw_only=True):
    """The deadline `expires_at` of the order has passed. Stale once the deadline was extended."""

    order_id: OrderId
    expires_at: datetime


class FinishCancellation(Struct, frozen=True, kw_only=True):
    """Shipping has stopped the parcel: the customer may have the order cancelled."""

    order_id: OrderId


class CancelUndeliverableOrder(Struct, frozen=True, kw_only=True):
    """The parcel does not reach the customer."""

    order_id: OrderId


class RecordShipment(Struct, frozen=True, kw_only=True):
    """The parcel is with the carrier, too late to cancel."""

    order_id: OrderId
    tracking_no: str
    carrier: str


class RecordDelivery(Struct, frozen=True, kw_only=True):
    """The parcel is with the customer; may come before the news that it was sent."""

    order_id: OrderId
    tracking_no: str
    delivered_at: datetime | None = None


OrderCommand: TypeAlias = (
    PlaceOrder
    | CancelOrder
    | ConfirmOrder
    | CancelPendingOrder
    | ExtendDeadline
    | ExpireOrder
    | FinishCancellation
    | CancelUndeliverableOrder
    | RecordShipment
    | RecordDelivery
)
ReturnCommand: TypeAlias = RequestReturn | RecordReturnReceipt | RecordReturnRefund
