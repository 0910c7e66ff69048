"""The events of other contexts that support reads, with only the fields that an operator wants to know."""

from datetime import datetime

from msgspec import Struct

from contexts.kernel import FailureStage, OrderId, ReturnId, Sku


class RefundFailed(Struct, frozen=True, kw_only=True):
    """The bank has refused to give money back, for the `attempt`th time; without `retry_at` it cannot be asked."""

    order_id: OrderId
    attempt: int
    reason: str
    retry_at: datetime | None = None
    return_id: ReturnId | None = None


class PaymentRefunded(Struct, frozen=True, kw_only=True):
    """The customer has the money back: for a return, or for the whole order."""

    order_id: OrderId
    return_id: ReturnId | None = None


class ShipmentFailed(Struct, frozen=True, kw_only=True):
    """The parcel does not reach the customer."""

    order_id: OrderId
    stage: FailureStage


class ParcelOverdue(Struct, frozen=True, kw_only=True):
    """There is no news of a parcel."""

    order_id: OrderId
    tracking_no: str
    times: int = 1


class OrderDelivered(Struct, frozen=True, kw_only=True):
    """The parcel is with the customer."""

    order_id: OrderId


class NotificationFailed(Struct, frozen=True, kw_only=True):
    """A letter to the customer was refused for good."""

    order_id: OrderId
    template: str
    reason: str


class ReturnLapsed(Struct, frozen=True, kw_only=True):
    """The parcel of a return has not come in time."""

    order_id: OrderId
    return_id: ReturnId


class ReturnRefunded(Struct, frozen=True, kw_only=True):
    """The customer has the money of a return."""

    order_id: OrderId
    return_id: ReturnId


class StockLow(Struct, frozen=True, kw_only=True):
    """An article runs out soon, for the `number`th time."""

    sku: Sku
    available: int
    runs_out_at: datetime
    number: int
