"""The events of ordering: baskets, orders and how they go on, the price list, promotions, and the known stock."""

from datetime import datetime
from typing import Annotated, Literal, NewType, TypeAlias

from msgspec import Meta, Struct, field

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
    Sku,
    SkuQuantity,
)
from shared.wire.messages import TOLD

PromotionCode = NewType("PromotionCode", str)
RequestId = NewType("RequestId", str)

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


class OrderDeadlineExtended(Struct, frozen=True, kw_only=True):
    """The order waits for stock, so it may be pending until `expires_at`: published once for an order."""

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
    """The order does not happen, and never will: published once, with the state and the lines it had."""

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

    It arms the timer of the order's returns for the earliest of them: a timer of a key replaces the one before.
    """

    order_id: OrderId
    return_id: Annotated[ReturnId, TOLD]
    lines: tuple[SkuQuantity, ...]
    expires_at: datetime


class NextReturnExpected(Struct, frozen=True, kw_only=True):
    """A deadline of returns has passed, and the next of their parcels is expected by `expires_at`."""

    order_id: OrderId
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
    """The customer has the money for these lines: the end of the return, published once."""

    order_id: OrderId
    return_id: Annotated[ReturnId, TOLD]
    lines: tuple[SkuQuantity, ...]
    amount: Money


class ReturnLapsed(Struct, frozen=True, kw_only=True):
    """The parcel has not come in time. When it comes later, the lines are refunded all the same."""

    order_id: OrderId
    return_id: Annotated[ReturnId, TOLD]
    lines: tuple[SkuQuantity, ...]


class PriceListed(Struct, frozen=True, kw_only=True):
    """The shop sells the article at this price: published once for each article."""

    sku: Annotated[Sku, TOLD]
    unit_price: Money


class PriceChanged(Struct, frozen=True, kw_only=True):
    """The article has another price from `changed_at` on; orders are taken at the previous one for a while.

    Prices that were not valid any more at `honoured_since` are forgotten.
    """

    sku: Annotated[Sku, TOLD]
    unit_price: Money
    previous: Money
    changed_at: datetime
    honoured_since: datetime | None = None


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


class ItemsAddedToBasket(Struct, frozen=True, kw_only=True):
    """The customer wants these lines too; `change` counts the changes of the basket's lines from 1."""

    order_id: OrderId
    customer_id: CustomerId
    lines: tuple[SkuQuantity, ...]
    change: int = 0
    request_id: RequestId | None = None


class ItemsRemovedFromBasket(Struct, frozen=True, kw_only=True):
    """The customer does not want these lines any more; `change` counts the changes of the basket's lines."""

    order_id: OrderId
    customer_id: CustomerId
    lines: tuple[SkuQuantity, ...]
    change: int = 0
    request_id: RequestId | None = None


class BasketUpdated(Struct, frozen=True, kw_only=True):
    """The basket as the customer sees it, at the current prices, after this change of its lines."""

    order_id: OrderId
    lines: tuple[Line, ...]
    total: Money
    change: int = 0


class AlertSet(Struct, frozen=True, kw_only=True):
    """The shelf has fewer units of an article than the basket; `email` is empty while it is not known.

    `number` counts the alerts of the basket from 1; a release that did not count them has left 0.
    """

    order_id: OrderId
    sku: Annotated[Sku, TOLD]
    requested: int
    available: int
    email: str = ""
    number: int = 0


class AlertCleared(Struct, frozen=True, kw_only=True):
    """The shelf has enough for the basket again, or the basket wants less; `number` is that of the last alert set."""

    order_id: OrderId
    sku: Annotated[Sku, TOLD]
    requested: int
    available: int
    number: int = 0


class AddressSubmitted(Struct, frozen=True, kw_only=True):
    """The parcel is to go to this address, if shipping finds it valid; `attempt` counts from 1."""

    order_id: OrderId
    attempt: int
    address: Address


class PaymentDetailsSubmitted(Struct, frozen=True, kw_only=True):
    """The order is to be paid by this method, if the bank approves it; `attempt` counts from 1."""

    order_id: OrderId
    attempt: int
    customer_id: CustomerId
    method_token: MethodToken
    email: str = ""


class AddressAnswerRecorded(Struct, frozen=True, kw_only=True):
    """Shipping has answered the latest address; `reason` is empty when it is valid."""

    order_id: OrderId
    attempt: int
    reason: Annotated[str, TOLD]


class PaymentAnswerRecorded(Struct, frozen=True, kw_only=True):
    """The bank has answered the latest payment details; `reason` is empty when it approves them."""

    order_id: OrderId
    attempt: int
    reason: Annotated[str, TOLD]


class BasketTouched(Struct, frozen=True, kw_only=True):
    """The customer has changed the basket; it is abandoned at `idle_at` unless it changes again."""

    order_id: OrderId
    idle_at: datetime


class BasketCheckedOut(Struct, frozen=True, kw_only=True):
    """The basket has become the order of the same id."""

    order_id: OrderId


class BasketAbandoned(Struct, frozen=True, kw_only=True):
    """The customer has not come back in time; the basket is closed."""

    order_id: OrderId


class StockNoted(Struct, frozen=True, kw_only=True):
    """Ordering knows that this many units are available; `number` is that of inventory's level."""

    sku: Annotated[Sku, TOLD]
    available: int
    number: int


class BasketFollowed(Struct, frozen=True, kw_only=True):
    """An open basket wants the article, and hears of its price and its stock; `is_short` when an alert is set."""

    sku: Annotated[Sku, TOLD]
    order_id: OrderId
    is_short: bool


class BasketLeft(Struct, frozen=True, kw_only=True):
    """The basket does not want the article any more, or is closed."""

    sku: Annotated[Sku, TOLD]
    order_id: OrderId


BasketEvent: TypeAlias = (
    ItemsAddedToBasket
    | ItemsRemovedFromBasket
    | BasketUpdated
    | AlertSet
    | AlertCleared
    | AddressSubmitted
    | PaymentDetailsSubmitted
    | AddressAnswerRecorded
    | PaymentAnswerRecorded
    | BasketTouched
    | BasketCheckedOut
    | BasketAbandoned
)
ShelfEvent: TypeAlias = StockNoted | BasketFollowed | BasketLeft
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
    | NextReturnExpected
)
ReturnEvent: TypeAlias = ReturnRequested | ReturnReceiptRecorded | ReturnRefunded | ReturnLapsed
PriceEvent: TypeAlias = PriceListed | PriceChanged
PromotionEvent: TypeAlias = PromotionAnnounced | PromotionEnded
