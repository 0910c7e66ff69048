"""The events of ordering: an order was placed, confirmed, sent on its way, or cancelled."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from contexts.kernel import (
    Address,
    CancellationReason,
    CustomerId,
    Line,
    MethodToken,
    Money,
    OrderId,
    PaymentId,
    ReturnId,
    SkuQuantity,
)
from shared.wire.messages import TOLD

Status: TypeAlias = Literal["UNKNOWN", "PENDING", "CONFIRMED", "CANCELLING", "SHIPPED", "DELIVERED", "CANCELLED"]
"""The state of an order; an UNKNOWN order has not been placed yet."""


class OrderPlaced(Struct, frozen=True, kw_only=True):
    """The order stands: it is confirmed or cancelled by `expires_at`. The total is the sum of its lines."""

    order_id: OrderId
    customer_id: CustomerId
    email: str
    lines: tuple[Line, ...]
    total: Money
    address: Address
    method_token: MethodToken
    allow_backorder: bool
    expires_at: datetime
    discount: Annotated[int, Meta(ge=0)] = 0


class OrderDeadlineExtended(Struct, frozen=True, kw_only=True):
    """The order waits for stock, so it may be pending until `expires_at`: said once for an order."""

    order_id: OrderId
    expires_at: datetime


class OrderConfirmed(Struct, frozen=True, kw_only=True):
    """The money is in, so the parcel may go to this address."""

    order_id: OrderId
    payment_id: PaymentId
    address: Address


class OrderCancellationRequested(Struct, frozen=True, kw_only=True):
    """The customer wants a confirmed order cancelled: shipping says whether there is still time."""

    order_id: OrderId
    reason: Annotated[str, TOLD]


class OrderCancellationRejected(Struct, frozen=True, kw_only=True):
    """It is too late to cancel the order, or it is not known; `state` says which, `reason` is why it was wanted."""

    order_id: OrderId
    reason: Annotated[str, TOLD]
    state: Annotated[Status, TOLD]


class OrderCancelled(Struct, frozen=True, kw_only=True):
    """The order does not happen, and never will: said once, with the state and the lines it had."""

    order_id: OrderId
    reason: Annotated[CancellationReason, TOLD]
    from_state: Status
    lines: tuple[Line, ...]


class ShipmentRecorded(Struct, frozen=True, kw_only=True):
    """The order counts as shipped."""

    order_id: OrderId
    tracking_no: Annotated[str, TOLD]
    carrier: str


class DeliveryRecorded(Struct, frozen=True, kw_only=True):
    """The order has reached its customer, and its end; an event of an earlier release does not tell when."""

    order_id: OrderId
    tracking_no: Annotated[str, TOLD]
    delivered_at: datetime | None = None


class ReturnCounted(Struct, frozen=True, kw_only=True):
    """These units of the order are on their way back, or will be; they count as returned for ever.

    It arms the deadline of all returns of the order, which have one key and so one timer.
    """

    order_id: OrderId
    return_id: Annotated[ReturnId, TOLD]
    lines: tuple[SkuQuantity, ...]
    expires_at: datetime


class ReturnRequested(Struct, frozen=True, kw_only=True):
    """The customer sends these lines back; the parcel is expected by `expires_at`."""

    order_id: OrderId
    return_id: Annotated[ReturnId, TOLD]
    lines: tuple[SkuQuantity, ...]
    reason: Annotated[str, TOLD]
    expires_at: datetime


class ReturnReceiptRecorded(Struct, frozen=True, kw_only=True):
    """The parcel of the return has come, perhaps after the return lapsed; these lines were in it."""

    order_id: OrderId
    return_id: Annotated[ReturnId, TOLD]
    lines: tuple[SkuQuantity, ...]


class ReturnRefunded(Struct, frozen=True, kw_only=True):
    """The customer has the money for these lines: the end of the return, said once."""

    order_id: OrderId
    return_id: Annotated[ReturnId, TOLD]
    lines: tuple[SkuQuantity, ...]
    amount: Money


class ReturnLapsed(Struct, frozen=True, kw_only=True):
    """The parcel has not come in time. When it comes later, the lines are refunded all the same."""

    order_id: OrderId
    return_id: Annotated[ReturnId, TOLD]
    lines: tuple[SkuQuantity, ...]


OrderEvent: TypeAlias = (
    OrderPlaced
    | OrderDeadlineExtended
    | OrderConfirmed
    | OrderCancellationRequested
    | OrderCancellationRejected
    | OrderCancelled
    | ShipmentRecorded
    | DeliveryRecorded
    | ReturnCounted
)
ReturnEvent: TypeAlias = ReturnRequested | ReturnReceiptRecorded | ReturnRefunded | ReturnLapsed
