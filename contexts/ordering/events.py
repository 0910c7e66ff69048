"""The events of ordering: orders and how they go on, the price list, and promotions."""

from datetime import datetime
from typing import Annotated, Literal, NewType, TypeAlias

from msgspec import Meta, Struct, field

from contexts.kernel import Address, CancellationReason, CustomerId, Line, MethodToken, Money, OrderId, PaymentId, Sku
from shared.wire.messages import TOLD

PromotionCode = NewType("PromotionCode", str)

Status: TypeAlias = Literal["UNKNOWN", "PENDING", "CONFIRMED", "CANCELLING", "SHIPPED", "DELIVERED", "CANCELLED"]
"""The state of an order; an UNKNOWN order has not been placed yet."""


class OrderPlaced(Struct, frozen=True, kw_only=True):
    """The order stands: it is confirmed or cancelled by `expires_at`.

    Its lines have the prices that were decided. The total is their sum less the discount, which is in minor units.
    """

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
    promotion_code: PromotionCode | None = None


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


class PriceListed(Struct, frozen=True, kw_only=True):
    """The shop sells the article at this price: said once for each article."""

    sku: Annotated[Sku, TOLD]
    unit_price: Money


class PriceChanged(Struct, frozen=True, kw_only=True):
    """The article has another price from `changed_at` on; orders are taken at the previous one for a while."""

    sku: Annotated[Sku, TOLD]
    unit_price: Money
    previous: Money
    changed_at: datetime


class PromotionAnnounced(Struct, frozen=True, kw_only=True):
    """Orders that name this code have this percentage off these articles, or off all, within its time."""

    code: Annotated[PromotionCode, TOLD]
    percent_off: int
    skus: tuple[Sku, ...]
    begins: datetime = field(name="from")
    until: datetime
    minimum_total: Money | None


class PromotionEnded(Struct, frozen=True, kw_only=True):
    """No more orders have the promotion."""

    code: Annotated[PromotionCode, TOLD]


OrderEvent: TypeAlias = (
    OrderPlaced
    | OrderConfirmed
    | OrderCancellationRequested
    | OrderCancellationRejected
    | OrderCancelled
    | ShipmentRecorded
    | DeliveryRecorded
)
PriceEvent: TypeAlias = PriceListed | PriceChanged
PromotionEvent: TypeAlias = PromotionAnnounced | PromotionEnded
