"""The events of ordering: an order was placed, confirmed, sent on its way, or cancelled."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Struct

from contexts.kernel import Address, CancellationReason, CustomerId, Line, MethodToken, Money, OrderId, PaymentId
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
    """The order has reached its customer, and its end."""

    order_id: OrderId
    tracking_no: Annotated[str, TOLD]


OrderEvent: TypeAlias = (
    OrderPlaced
    | OrderDeadlineExtended
    | OrderConfirmed
    | OrderCancellationRequested
    | OrderCancellationRejected
    | OrderCancelled
    | ShipmentRecorded
    | DeliveryRecorded
)
