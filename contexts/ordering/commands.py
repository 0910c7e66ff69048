"""The commands of ordering: clients send those about baskets, orders and prices; policies and timers the others."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

from contexts.kernel import (
    LINES_AT_MOST,
    Address,
    CancellationReason,
    CustomerId,
    Email,
    MethodToken,
    Money,
    OrderId,
    PaymentId,
    Quantity,
    ReturnId,
    ReturnIdText,
    Sku,
    SkuQuantities,
    SkuQuantity,
    SkuText,
    Text,
    refuse_card_number,
    refuse_no_price,
)
from contexts.ordering.events import PromotionCode, RequestId
from shared.wire.messages import FROM_ACTOR, FROM_STREAM, FROM_SUBJECT, NEVER, TOLD

SKUS_AT_MOST = 500
"""No promotion names more articles; one that names none is for all."""

RequestIdText = Annotated[RequestId, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
"""A name that the client gives to one change of a basket."""

Refusal: TypeAlias = Literal[
    "order_already_placed",
    "unknown_sku",
    "price_changed",
    "unknown_promotion",
    "wrong_currency",
    "too_many_units",
    "total_too_large",
    "too_late_to_cancel",
    "order_unknown",
    "not_delivered",
    "window_closed",
    "too_many",
    "id_known_otherwise",
    "announced_otherwise",
    "promotion_ended",
    "ends_before_it_begins",
    "basket_unknown",
    "basket_closed",
    "basket_not_ready",
    "other_customer",
    "not_your_order",
    "not_your_basket",
    "not_in_basket",
    "too_many_lines",
]
"""Why an order is not taken, cancelled again or taken back, and why a basket, a price or a promotion stays as it is."""

Code: TypeAlias = Annotated[PromotionCode, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Actor: TypeAlias = Annotated[str, FROM_ACTOR]
"""The customer in whose name a command is sent; empty when its sender does not say."""
Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]


class OrderLine(Struct, frozen=True, kw_only=True):
    """A quantity of one article, at the price that the customer saw, if the client names it."""

    sku: SkuText
    quantity: Quantity
    unit_price: Money | None = None


class PlaceOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Buy these lines; the deadline of the order counts from when this was asked."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    customer_id: Annotated[CustomerId, Meta(min_length=1, max_length=200)]
    email: Email
    lines: Annotated[tuple[OrderLine, ...], Meta(min_length=1, max_length=LINES_AT_MOST)]
    address: Address
    method_token: Annotated[MethodToken, Meta(min_length=1, max_length=500)]
    allow_backorder: bool = False
    promotion_code: Code | None = None
    asked_at: Annotated[datetime, FROM_STREAM] = NEVER
    acting_for: Actor = ""

    def __post_init__(self) -> None:
        refuse_card_number(self.method_token, "$.method_token")


class CancelOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The customer does not want the order any more; `reason` is in the customer's words."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    reason: Annotated[Text, TOLD]
    acting_for: Actor = ""


class RequestReturn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Send these lines of a delivered order back; the window counts to when this was asked."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    return_id: Annotated[ReturnIdText, TOLD]
    lines: SkuQuantities
    reason: Annotated[Text, TOLD]
    asked_at: Annotated[datetime, FROM_STREAM] = NEVER
    acting_for: Actor = ""


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


class ListPrice(Struct, frozen=True, kw_only=True):
    """Inventory has registered the article at this price."""

    sku: Sku
    unit_price: Money


class ChangePrice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sell an article at another price from now on."""

    sku: Annotated[Sku, FROM_SUBJECT] = Sku("")
    unit_price: Money
    asked_at: Annotated[datetime, FROM_STREAM] = NEVER

    def __post_init__(self) -> None:
        refuse_no_price(self.unit_price, "$.unit_price.amount_minor")


PriceCommand: TypeAlias = ListPrice | ChangePrice


class AnnouncePromotion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take a percentage off these articles, or off all, for orders from `from` until `until` of at least a total."""

    code: Annotated[PromotionCode, FROM_SUBJECT] = PromotionCode("")
    percent_off: Annotated[int, Meta(ge=1, le=90)]
    skus: Annotated[tuple[SkuText, ...], Meta(max_length=SKUS_AT_MOST)] = ()
    begins: Moment = field(name="from")
    until: Moment
    minimum_total: Money | None = None


class EndPromotion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take no more orders with the promotion, for ever."""

    code: Annotated[PromotionCode, FROM_SUBJECT] = PromotionCode("")


PromotionCommand: TypeAlias = AnnouncePromotion | EndPromotion


class AddItemsToBasket(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put lines into a basket, once for each `request_id`, if it has one; the first ones open it."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    customer_id: Annotated[CustomerId, Meta(min_length=1, max_length=200)]
    lines: SkuQuantities
    request_id: RequestIdText | None = None
    asked_at: Annotated[datetime, FROM_STREAM] = NEVER
    acting_for: Actor = ""


class RemoveItemsFromBasket(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take lines out of a basket, once for each `request_id`, if it has one."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    lines: SkuQuantities
    request_id: RequestIdText | None = None
    asked_at: Annotated[datetime, FROM_STREAM] = NEVER
    acting_for: Actor = ""


class SubmitAddress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Have the parcel sent to this address."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    address: Address
    asked_at: Annotated[datetime, FROM_STREAM] = NEVER
    acting_for: Actor = ""


class SubmitPaymentDetails(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pay by this method; never a card number."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    email: Email
    method_token: Annotated[MethodToken, Meta(min_length=1, max_length=500)]
    asked_at: Annotated[datetime, FROM_STREAM] = NEVER
    acting_for: Actor = ""

    def __post_init__(self) -> None:
        refuse_card_number(self.method_token, "$.method_token")


class CheckOutBasket(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Place the order that the basket holds."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    allow_backorder: bool = False
    promotion_code: Code | None = None
    asked_at: Annotated[datetime, FROM_STREAM] = NEVER
    acting_for: Actor = ""


class CheckBasket(Struct, frozen=True, kw_only=True):
    """Price the lines after this change, and compare them with the known stock."""

    order_id: OrderId
    change: int


class RecordAddressAnswer(Struct, frozen=True, kw_only=True):
    """Shipping has answered an address; `reason` is empty when it is valid."""

    order_id: OrderId
    attempt: int
    reason: str = ""


class RecordPaymentAnswer(Struct, frozen=True, kw_only=True):
    """The bank has answered payment details; `reason` is empty when it approves them."""

    order_id: OrderId
    attempt: int
    reason: str = ""


class AbandonBasket(Struct, frozen=True, kw_only=True):
    """The basket was idle until `idle_at`. Stale once it has changed."""

    order_id: OrderId
    idle_at: datetime


BasketCommand: TypeAlias = (
    AddItemsToBasket
    | RemoveItemsFromBasket
    | SubmitAddress
    | SubmitPaymentDetails
    | RecordAddressAnswer
    | RecordPaymentAnswer
    | AbandonBasket
)


class NoteStock(Struct, frozen=True, kw_only=True):
    """Inventory has this many available units of the article; `number` counts its levels."""

    sku: Sku
    available: int
    number: int


class ShowPrice(Struct, frozen=True, kw_only=True):
    """The price of the article has changed: show it in the baskets that want it."""

    sku: Sku


ShelfCommand: TypeAlias = NoteStock | ShowPrice
