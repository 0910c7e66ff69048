"""The events of other contexts that ordering reads, with only the fields it needs."""

from datetime import datetime

from msgspec import Struct

from contexts.kernel import CancellationReason, Money, OrderId, PaymentId, ReturnId, Sku, SkuQuantity


class PaymentSucceeded(Struct, frozen=True, kw_only=True):
    """The money for an order is ours."""

    order_id: OrderId
    payment_id: PaymentId


class PaymentFailed(Struct, frozen=True, kw_only=True):
    """The money for an order was refused."""

    order_id: OrderId


class InventoryBackordered(Struct, frozen=True, kw_only=True):
    """An order waits for its goods."""

    order_id: OrderId
    expires_at: datetime


class StockItemRegistered(Struct, frozen=True, kw_only=True):
    """There is such an article, at this price."""

    sku: Sku
    unit_price: Money


class StockLevelChanged(Struct, frozen=True, kw_only=True):
    """This many units of an article are available; `number` counts the levels of the article."""

    sku: Sku
    available: int
    number: int = 0


class AddressValidated(Struct, frozen=True, kw_only=True):
    """A parcel can go to the address of this attempt."""

    order_id: OrderId
    attempt: int


class AddressRejected(Struct, frozen=True, kw_only=True):
    """No parcel can go to the address of this attempt."""

    order_id: OrderId
    attempt: int
    reason: str


class PaymentApproved(Struct, frozen=True, kw_only=True):
    """The bank would take the payment details of this attempt."""

    order_id: OrderId
    attempt: int


class PaymentDeclined(Struct, frozen=True, kw_only=True):
    """The bank does not take the payment details of this attempt."""

    order_id: OrderId
    attempt: int
    reason: str


class InventoryRejected(Struct, frozen=True, kw_only=True):
    """The goods of an order are not there."""

    order_id: OrderId


class InventoryReleased(Struct, frozen=True, kw_only=True):
    """The goods of an order are no longer held for it."""

    order_id: OrderId
    reason: CancellationReason


class OrderShipped(Struct, frozen=True, kw_only=True):
    """The parcel is with the carrier."""

    order_id: OrderId
    tracking_no: str
    carrier: str


class OrderDelivered(Struct, frozen=True, kw_only=True):
    """The parcel is with the customer, since `delivered_at`."""

    order_id: OrderId
    tracking_no: str
    delivered_at: datetime


class ShipmentCancelled(Struct, frozen=True, kw_only=True):
    """The parcel stays here, and will not be sent."""

    order_id: OrderId


class ShipmentFailed(Struct, frozen=True, kw_only=True):
    """The parcel does not reach the customer."""

    order_id: OrderId


class PaymentRefunded(Struct, frozen=True, kw_only=True):
    """The customer has money back: for a return, or for the whole order."""

    order_id: OrderId
    amount: Money
    return_id: ReturnId | None = None


class ReturnReceived(Struct, frozen=True, kw_only=True):
    """The parcel of a return is here, with these lines."""

    order_id: OrderId
    return_id: ReturnId
    lines: tuple[SkuQuantity, ...]
