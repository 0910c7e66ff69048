"""The events of other contexts that notifications reads, with only the fields that a customer wants to know."""

from datetime import datetime

from msgspec import Struct

from contexts.kernel import CancellationReason, FailureStage, Money, OrderId, ReturnId, Sku


class AlertSet(Struct, frozen=True, kw_only=True):
    """The shelf has too few units of an article for a basket; `email` is empty while it is not known.

    `number` counts the alerts of the basket from 1; a release that did not count them has left 0.
    """

    order_id: OrderId
    sku: Sku
    requested: int
    available: int
    email: str = ""
    number: int = 0


class AlertCleared(Struct, frozen=True, kw_only=True):
    """The shelf has enough for the basket again, or the basket wants less; `number` is that of the last alert set."""

    order_id: OrderId
    number: int = 0


class OrderPlaced(Struct, frozen=True, kw_only=True):
    """The customer's address, and the amount of the order."""

    order_id: OrderId
    email: str
    total: Money


class InventoryBackordered(Struct, frozen=True, kw_only=True):
    """The order waits for stock until then."""

    order_id: OrderId
    expires_at: datetime


class OrderConfirmed(Struct, frozen=True, kw_only=True):
    """The order will be sent."""

    order_id: OrderId


class OrderCancelled(Struct, frozen=True, kw_only=True):
    """The order does not happen."""

    order_id: OrderId
    reason: CancellationReason


class OrderCancellationRejected(Struct, frozen=True, kw_only=True):
    """It is too late to cancel."""

    order_id: OrderId


class OrderShipped(Struct, frozen=True, kw_only=True):
    """The parcel is with the carrier."""

    order_id: OrderId
    tracking_no: str
    carrier: str


class OrderDelivered(Struct, frozen=True, kw_only=True):
    """The parcel is with the customer."""

    order_id: OrderId


class ShipmentFailed(Struct, frozen=True, kw_only=True):
    """The parcel does not reach the customer."""

    order_id: OrderId
    stage: FailureStage


class PaymentRefunded(Struct, frozen=True, kw_only=True):
    """The customer has the money back: for a return, or for the whole order."""

    order_id: OrderId
    amount: Money
    return_id: ReturnId | None = None


class RefundFailed(Struct, frozen=True, kw_only=True):
    """The bank has refused to give the money back, and is asked again."""

    order_id: OrderId


class ParcelOverdue(Struct, frozen=True, kw_only=True):
    """There is no news of the parcel."""

    order_id: OrderId
    tracking_no: str


class TicketOpened(Struct, frozen=True, kw_only=True):
    """A person looks at this case of the order."""

    order_id: OrderId
    case: str


class TicketResolved(Struct, frozen=True, kw_only=True):
    """The case is closed."""

    order_id: OrderId
    case: str


class ReturnRequested(Struct, frozen=True, kw_only=True):
    """The customer sends lines back, whose parcel is expected by `expires_at`."""

    order_id: OrderId
    return_id: ReturnId
    expires_at: datetime


class ReturnRefunded(Struct, frozen=True, kw_only=True):
    """The customer has the money of a return."""

    order_id: OrderId
    return_id: ReturnId
    amount: Money
