"""The tables of insights: orders, customers, stock and payments, each row a fold of the events of one key.

Pure: no I/O, clock, randomness or logging. An event whose row is not there, such as the refusal to cancel an unknown
order, changes nothing.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from contexts.insights.upstream import (
    DeliveryRecorded,
    OrderCancellationRejected,
    OrderCancellationRequested,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    PaymentAuthorized,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    PaymentVoided,
    RefundFailed,
    ReturnLapsed,
    ReturnRefunded,
    ReturnRequested,
    ShipmentRecorded,
    StockItemRegistered,
    StockLevelChanged,
)
from contexts.kernel import Address, CustomerId, Line, Money, OrderId, PaymentId, ReturnId, Sku
from shared.readside.views import Follows, On, Owner, Table, Told

PaymentStatus: TypeAlias = Literal["AUTHORIZED", "CAPTURED", "FAILED", "VOIDED", "REFUNDED"]
ReturnStatus: TypeAlias = Literal["REQUESTED", "REFUNDED", "LAPSED"]


class OrderRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order as its customer may see it; `reason` is why it was cancelled."""

    order_id: OrderId
    customer_id: CustomerId
    email: str
    state: str
    placed_at: datetime
    changed_at: datetime
    total: Money
    lines: tuple[Line, ...]
    address: Address
    discount: int = 0
    promotion_code: str | None = None
    reason: str | None = None
    carrier: str | None = None
    tracking_no: str | None = None
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None
    returns: dict[ReturnId, ReturnStatus] = {}


class CustomerRow(Struct, frozen=True, kw_only=True):
    """The orders of one customer in numbers; `ordered` is the sum of those that stand, in minor units by currency."""

    customer_id: CustomerId
    email: str
    orders: int
    cancelled: int
    ordered: dict[str, int]
    last_order_id: OrderId
    last_placed_at: datetime


class StockRow(Struct, frozen=True, kw_only=True):
    """An article on the shelf."""

    sku: Sku
    name: str = ""
    unit_price: Money | None = None
    on_hand: int = 0
    reserved: int = 0
    available: int = 0
    changed_at: datetime | None = None


class PaymentRow(Struct, frozen=True, kw_only=True):
    """The money of one order, in minor units; `reason` is the last refusal of the bank."""

    order_id: OrderId
    state: PaymentStatus
    changed_at: datetime
    payment_id: PaymentId | None = None
    currency: str | None = None
    authorized: int = 0
    captured: int = 0
    refunded: int = 0
    reason: str | None = None


def place(order: OrderRow | None, event: OrderPlaced, told: Told) -> OrderRow | None:
    """A new order; a second one of the same id changes nothing."""
    if order is not None:
        return order
    return OrderRow(
        order_id=event.order_id,
        customer_id=event.customer_id,
        email=event.email,
        state="PENDING",
        placed_at=told.at,
        changed_at=told.at,
        total=event.total,
        lines=event.lines,
        address=event.address,
        discount=event.discount,
        promotion_code=event.promotion_code,
    )


def confirm(order: OrderRow | None, _: OrderConfirmed, told: Told) -> OrderRow | None:
    """The order is paid."""
    return order and replace(order, state="CONFIRMED", changed_at=told.at)


def request_cancellation(order: OrderRow | None, _: OrderCancellationRequested, told: Told) -> OrderRow | None:
    """The order may be cancelled yet."""
    return order and replace(order, state="CANCELLING", changed_at=told.at)


def reject_cancellation(order: OrderRow | None, event: OrderCancellationRejected, told: Told) -> OrderRow | None:
    """The order goes on as it was."""
    return order and replace(order, state=event.state, changed_at=told.at)


def cancel(order: OrderRow | None, event: OrderCancelled, told: Told) -> OrderRow | None:
    """The order does not happen."""
    return order and replace(order, state="CANCELLED", reason=event.reason, changed_at=told.at)


def ship(order: OrderRow | None, event: ShipmentRecorded, told: Told) -> OrderRow | None:
    """The parcel is under way."""
    return order and replace(
        order,
        state="SHIPPED",
        carrier=event.carrier,
        tracking_no=event.tracking_no,
        shipped_at=told.at,
        changed_at=told.at,
    )


def deliver(order: OrderRow | None, _: DeliveryRecorded, told: Told) -> OrderRow | None:
    """The parcel has arrived."""
    return order and replace(order, state="DELIVERED", delivered_at=told.at, changed_at=told.at)


def request_return(order: OrderRow | None, event: ReturnRequested, told: Told) -> OrderRow | None:
    """Lines of the order come back."""
    return order and _with_return(order, event.return_id, "REQUESTED", told)


def refund_return(order: OrderRow | None, event: ReturnRefunded, told: Told) -> OrderRow | None:
    """The money of a return is the customer's."""
    return order and _with_return(order, event.return_id, "REFUNDED", told)


def lapse_return(order: OrderRow | None, event: ReturnLapsed, told: Told) -> OrderRow | None:
    """A return has not come."""
    return order and _with_return(order, event.return_id, "LAPSED", told)


def follow_order(customer: CustomerRow | None, before: OrderRow | None, order: OrderRow) -> CustomerRow:
    """The customer after one of their orders has changed."""
    money = order.total
    if customer is None:
        customer = CustomerRow(
            customer_id=order.customer_id,
            email=order.email,
            orders=0,
            cancelled=0,
            ordered={},
            last_order_id=order.order_id,
            last_placed_at=order.placed_at,
        )
    ordered = customer.ordered.get(money.currency, 0)
    if before is None:
        return replace(
            customer,
            email=order.email,
            orders=customer.orders + 1,
            ordered={**customer.ordered, money.currency: ordered + money.amount_minor},
            last_order_id=order.order_id,
            last_placed_at=order.placed_at,
        )
    if order.state == "CANCELLED" and before.state != "CANCELLED":
        return replace(
            customer,
            cancelled=customer.cancelled + 1,
            ordered={**customer.ordered, money.currency: ordered - money.amount_minor},
        )
    return customer


def register(stock: StockRow | None, event: StockItemRegistered, told: Told) -> StockRow:
    """An article has its name and its first price."""
    stock = stock or StockRow(sku=event.sku)
    return replace(stock, name=event.name, unit_price=event.unit_price, changed_at=told.at)


def level(stock: StockRow | None, event: StockLevelChanged, told: Told) -> StockRow:
    """Units came, left, or are promised."""
    return replace(
        stock or StockRow(sku=event.sku),
        on_hand=event.on_hand,
        reserved=event.reserved,
        available=event.available,
        changed_at=told.at,
    )


def authorize(_: PaymentRow | None, event: PaymentAuthorized, told: Told) -> PaymentRow:
    """The money is held."""
    return PaymentRow(
        order_id=event.order_id,
        state="AUTHORIZED",
        changed_at=told.at,
        payment_id=event.payment_id,
        currency=event.amount.currency,
        authorized=event.amount.amount_minor,
    )


def capture(payment: PaymentRow | None, event: PaymentSucceeded, told: Told) -> PaymentRow:
    """The money is the shop's."""
    return replace(
        payment or PaymentRow(order_id=event.order_id, state="CAPTURED", changed_at=told.at),
        state="CAPTURED",
        changed_at=told.at,
        payment_id=event.payment_id,
        currency=event.amount.currency,
        captured=event.amount.amount_minor,
    )


def fail(payment: PaymentRow | None, event: PaymentFailed, told: Told) -> PaymentRow:
    """The money was refused."""
    payment = payment or PaymentRow(order_id=event.order_id, state="FAILED", changed_at=told.at)
    return replace(payment, state="FAILED", changed_at=told.at, reason=event.reason)


def void(payment: PaymentRow | None, event: PaymentVoided, told: Told) -> PaymentRow:
    """Nothing is held, and nothing will be."""
    payment = payment or PaymentRow(order_id=event.order_id, state="VOIDED", changed_at=told.at)
    return replace(payment, state="VOIDED", changed_at=told.at, payment_id=event.payment_id)


def refund(payment: PaymentRow | None, event: PaymentRefunded, told: Told) -> PaymentRow | None:
    """Money has gone back, for a return or for the whole order."""
    return payment and replace(
        payment,
        state="REFUNDED",
        changed_at=told.at,
        refunded=payment.refunded + event.amount.amount_minor,
        reason=None,
    )


def refuse_refund(payment: PaymentRow | None, event: RefundFailed, told: Told) -> PaymentRow | None:
    """The bank has not given the money back yet."""
    return payment and replace(payment, changed_at=told.at, reason=event.reason)


def skus_of(order: OrderRow) -> Iterable[str]:
    """The articles of an order."""
    return {line.sku for line in order.lines}


def text_of(order: OrderRow) -> str:
    """The words by which an order is found: who ordered, what, and where it went."""
    place = order.address
    words = (order.order_id, order.customer_id, order.email, *skus_of(order), place.street, place.city, place.country)
    return " ".join((*words, place.postal_code, order.promotion_code or ""))


NOT_YOUR_ORDER = "not_your_order"
"""The reason by which a query is refused, as ordering refuses a command about the order of another customer."""
ORDERS = Table(
    name="orders",
    row=OrderRow,
    on=(
        On("ordering", OrderPlaced, place),
        On("ordering", OrderConfirmed, confirm),
        On("ordering", OrderCancellationRequested, request_cancellation),
        On("ordering", OrderCancellationRejected, reject_cancellation),
        On("ordering", OrderCancelled, cancel),
        On("ordering", ShipmentRecorded, ship),
        On("ordering", DeliveryRecorded, deliver),
        On("ordering", ReturnRequested, request_return),
        On("ordering", ReturnRefunded, refund_return),
        On("ordering", ReturnLapsed, lapse_return),
    ),
    columns=("customer_id", "state", "placed_at"),
    lists={"sku": skus_of},
    text=text_of,
    bucket=True,
    owner=Owner("customer_id", NOT_YOUR_ORDER),
)
CUSTOMERS = Table(
    name="customers",
    row=CustomerRow,
    follows=Follows("orders", lambda order: order.customer_id, follow_order),
    bucket=True,
    owner=Owner("customer_id", NOT_YOUR_ORDER),
)
STOCK = Table(
    name="stock",
    row=StockRow,
    on=(On("inventory", StockItemRegistered, register), On("inventory", StockLevelChanged, level)),
    bucket=True,
)
PAYMENTS = Table(
    name="payments",
    row=PaymentRow,
    on=(
        On("payments", PaymentAuthorized, authorize),
        On("payments", PaymentSucceeded, capture),
        On("payments", PaymentFailed, fail),
        On("payments", PaymentVoided, void),
        On("payments", PaymentRefunded, refund),
        On("payments", RefundFailed, refuse_refund),
    ),
    columns=("state",),
    bucket=True,
    owner=Owner("customer_id", NOT_YOUR_ORDER, table="orders"),
)


def _with_return(order: OrderRow, return_id: ReturnId, status: ReturnStatus, told: Told) -> OrderRow:
    return replace(order, returns={**order.returns, return_id: status}, changed_at=told.at)
