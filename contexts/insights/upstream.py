"""The events of other contexts that insights reads, with only the fields that its tables keep."""

from typing import Literal, TypeAlias

from msgspec import Struct

from contexts.kernel import (
    Address,
    CancellationReason,
    CustomerId,
    Line,
    Money,
    OrderId,
    PaymentId,
    ReturnId,
    Sku,
)

Status: TypeAlias = Literal["UNKNOWN", "PENDING", "CONFIRMED", "CANCELLING", "SHIPPED", "DELIVERED", "CANCELLED"]


class OrderPlaced(Struct, frozen=True, kw_only=True):
    """There is an order."""

    order_id: OrderId
    customer_id: CustomerId
    email: str
    lines: tuple[Line, ...]
    total: Money
    address: Address
    discount: int = 0
    promotion_code: str | None = None


class OrderConfirmed(Struct, frozen=True, kw_only=True):
    """The order is paid."""

    order_id: OrderId


class OrderCancellationRequested(Struct, frozen=True, kw_only=True):
    """The customer wants a confirmed order cancelled."""

    order_id: OrderId


class OrderCancellationRejected(Struct, frozen=True, kw_only=True):
    """It is too late to cancel; `state` is where the order stands."""

    order_id: OrderId
    state: Status


class OrderCancelled(Struct, frozen=True, kw_only=True):
    """The order does not happen."""

    order_id: OrderId
    reason: CancellationReason


class ShipmentRecorded(Struct, frozen=True, kw_only=True):
    """The order is with the carrier."""

    order_id: OrderId
    tracking_no: str
    carrier: str


class DeliveryRecorded(Struct, frozen=True, kw_only=True):
    """The order has reached its customer."""

    order_id: OrderId


class ReturnRequested(Struct, frozen=True, kw_only=True):
    """The customer sends lines of the order back."""

    order_id: OrderId
    return_id: ReturnId


class ReturnRefunded(Struct, frozen=True, kw_only=True):
    """The customer has the money of a return."""

    order_id: OrderId
    return_id: ReturnId


class ReturnLapsed(Struct, frozen=True, kw_only=True):
    """The parcel of a return has not come."""

    order_id: OrderId
    return_id: ReturnId


class StockItemRegistered(Struct, frozen=True, kw_only=True):
    """There is such an article."""

    sku: Sku
    name: str
    unit_price: Money


class StockLevelChanged(Struct, frozen=True, kw_only=True):
    """This much of an article is on the shelf, and so much of it is promised."""

    sku: Sku
    on_hand: int
    reserved: int
    available: int


class PaymentAuthorized(Struct, frozen=True, kw_only=True):
    """The bank holds the amount."""

    order_id: OrderId
    payment_id: PaymentId
    amount: Money


class PaymentSucceeded(Struct, frozen=True, kw_only=True):
    """The money is the shop's."""

    order_id: OrderId
    payment_id: PaymentId
    amount: Money


class PaymentFailed(Struct, frozen=True, kw_only=True):
    """The money was refused."""

    order_id: OrderId
    stage: str
    reason: str


class PaymentVoided(Struct, frozen=True, kw_only=True):
    """Nothing is held any more."""

    order_id: OrderId
    payment_id: PaymentId


class PaymentRefunded(Struct, frozen=True, kw_only=True):
    """The amount is the customer's again."""

    order_id: OrderId
    payment_id: PaymentId
    amount: Money


class RefundFailed(Struct, frozen=True, kw_only=True):
    """The bank refused to give money back."""

    order_id: OrderId
    attempt: int
    reason: str


class OrderShipped(Struct, frozen=True, kw_only=True):
    """The parcel is with the carrier."""

    order_id: OrderId


class OrderDelivered(Struct, frozen=True, kw_only=True):
    """The parcel is with the customer."""

    order_id: OrderId
