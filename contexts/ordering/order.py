"""Whether an order stands, is confirmed, or is cancelled: the judge of every race until the confirmation.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. From the confirmation to the dispatch
shipping is the judge: a cancellation then waits for its answer.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.kernel import CancellationReason, CustomerId, ReturnId, Sku, units_of
from contexts.ordering.commands import (
    CancelOrder,
    CancelPendingOrder,
    CancelUndeliverableOrder,
    ConfirmOrder,
    ExpireOrder,
    ExtendDeadline,
    FinishCancellation,
    OrderCommand,
    PlaceOrder,
    RecordDelivery,
    RecordShipment,
    RequestReturn,
)
from contexts.ordering.events import (
    DeliveryRecorded,
    NextReturnExpected,
    OrderCancellationRejected,
    OrderCancellationRequested,
    OrderCancelled,
    OrderConfirmed,
    OrderDeadlineExtended,
    OrderEvent,
    OrderPlaced,
    PromotionCode,
    ReturnCounted,
    ShipmentRecorded,
    Status,
)
from contexts.ordering.price import ListedPrice
from contexts.ordering.pricing import quote
from contexts.ordering.promotion import Promotion
from shared.context import Rejected


class Order(Struct, frozen=True, kw_only=True):
    """One order; `cancellation_reason` is why the customer wanted a confirmed one cancelled.

    `waits_for` names the context that decides about it while it is CANCELLING. `returned` are the units per SKU of all
    its returns; their timers come due at `returns_due_at`, which may be past.
    """

    status: Status = "UNKNOWN"
    placed: OrderPlaced | None = None
    cancellation_reason: str = ""
    cancellation_refused: bool = False
    extended_to: datetime | None = None
    waits_for: Literal["shipping"] | None = None
    delivered_at: datetime | None = None
    returns: tuple[ReturnId, ...] = ()
    returned: dict[Sku, int] = {}
    returns_due_at: datetime | None = None

    @property
    def expires_at(self) -> datetime:
        """The deadline that counts."""
        return self.extended_to or _placed(self).expires_at


def decide(
    command: OrderCommand,
    order: Order,
    prices: Mapping[Sku, ListedPrice],
    promotions: Mapping[PromotionCode, Promotion],
    *,
    order_deadline: timedelta,
    price_honoured: timedelta,
    currency: str,
    require_actor: bool = False,
) -> tuple[OrderEvent | Rejected, ...]:
    """Decide on the command: no event when it was answered before, or when the order is past it."""
    if require_actor and (refused := not_yours(command, order)):
        return (refused,)
    match command:
        case PlaceOrder():
            return _place(
                command,
                order,
                prices,
                promotions,
                order_deadline=order_deadline,
                price_honoured=price_honoured,
                currency=currency,
            )
        case CancelOrder():
            return _cancel(command, order)
        case ConfirmOrder() if order.status == "PENDING":
            address = _placed(order).address
            return (OrderConfirmed(order_id=command.order_id, payment_id=command.payment_id, address=address),)
        case CancelPendingOrder() if order.status == "PENDING":
            return (_cancelled(order, command.reason),)
        case ExtendDeadline() if order.status == "PENDING" and order.extended_to is None:
            # Stock that comes at the last moment still has to be paid for, so the usual time follows the wait.
            expires_at = command.backorder_expires_at + order_deadline
            return (OrderDeadlineExtended(order_id=command.order_id, expires_at=expires_at),)
        case ExpireOrder() if order.status == "PENDING" and command.expires_at >= order.expires_at:
            return (_cancelled(order, "expired"),)
        case FinishCancellation() if order.status == "CANCELLING":
            return (_cancelled(order, "customer"),)
        case CancelUndeliverableOrder() if order.status in ("CONFIRMED", "CANCELLING", "SHIPPED"):
            return (_cancelled(order, "shipment_failed"),)
        case RecordShipment() if order.status in ("CONFIRMED", "CANCELLING"):
            shipped = ShipmentRecorded(
                order_id=command.order_id, tracking_no=command.tracking_no, carrier=command.carrier
            )
            return (shipped, *_too_late_to_cancel(order, "SHIPPED"))
        case RecordDelivery() if order.status in ("CONFIRMED", "CANCELLING", "SHIPPED"):
            delivered = DeliveryRecorded(
                order_id=command.order_id, tracking_no=command.tracking_no, delivered_at=command.delivered_at
            )
            return (delivered, *_too_late_to_cancel(order, "DELIVERED"))
        case (
            ConfirmOrder()
            | CancelPendingOrder()
            | ExtendDeadline()
            | ExpireOrder()
            | FinishCancellation()
            | CancelUndeliverableOrder()
            | RecordShipment()
            | RecordDelivery()
        ):
            return ()
        case _:
            assert_never(command)


def evolve(order: Order, event: OrderEvent) -> Order:
    """The order after one of its events."""
    match event:
        case OrderPlaced():
            assert order.placed is None
            return Order(status="PENDING", placed=event)
        case OrderDeadlineExtended():
            assert order.status == "PENDING", order.status
            return replace(order, extended_to=event.expires_at)
        case OrderConfirmed():
            assert order.status == "PENDING", order.status
            return replace(order, status="CONFIRMED")
        case OrderCancellationRequested():
            assert order.status == "CONFIRMED", order.status
            return replace(order, status="CANCELLING", cancellation_reason=event.reason, waits_for="shipping")
        case OrderCancellationRejected():
            assert order.status == event.state, order.status
            return replace(order, cancellation_refused=True)
        case OrderCancelled():
            assert order.status == event.from_state, order.status
            return replace(order, status="CANCELLED", waits_for=None)
        case ShipmentRecorded():
            assert order.status in ("CONFIRMED", "CANCELLING"), order.status
            return replace(order, status="SHIPPED", waits_for=None)
        case DeliveryRecorded():
            assert order.status in ("CONFIRMED", "CANCELLING", "SHIPPED"), order.status
            return replace(order, status="DELIVERED", waits_for=None, delivered_at=event.delivered_at)
        case ReturnCounted():
            assert order.status == "DELIVERED", order.status
            returned = Counter(order.returned) + units_of(event.lines)
            returns = (*order.returns, event.return_id)
            return replace(order, returns=returns, returned=dict(returned), returns_due_at=event.expires_at)
        case NextReturnExpected():
            return replace(order, returns_due_at=event.expires_at)
        case _:
            assert_never(event)


def skus_of(command: OrderCommand) -> tuple[Sku, ...]:
    """The articles whose prices a placement reads."""
    return tuple(line.sku for line in command.lines) if isinstance(command, PlaceOrder) else ()


def codes_of(command: OrderCommand) -> tuple[PromotionCode, ...]:
    """The promotion that a placement reads."""
    if not isinstance(command, PlaceOrder) or command.promotion_code is None:
        return ()
    return (command.promotion_code,)


def _place(
    command: PlaceOrder,
    order: Order,
    prices: Mapping[Sku, ListedPrice],
    promotions: Mapping[PromotionCode, Promotion],
    *,
    order_deadline: timedelta,
    price_honoured: timedelta,
    currency: str,
) -> tuple[OrderPlaced | Rejected, ...]:
    if order.placed is not None:
        if _is_asked_again(command, order.placed):
            return ()
        return (Rejected.at("order_already_placed", "$", f"{command.order_id} is another order; use a new id"),)
    promotion = None if command.promotion_code is None else promotions[command.promotion_code]
    quoted = quote(command.lines, prices, promotion, at=command.asked_at, honoured=price_honoured, currency=currency)
    if isinstance(quoted, Rejected):
        return (quoted,)
    placed = OrderPlaced(
        order_id=command.order_id,
        customer_id=command.customer_id,
        email=command.email,
        lines=quoted.lines,
        discount=quoted.discount,
        total=quoted.total,
        address=command.address,
        method_token=command.method_token,
        allow_backorder=command.allow_backorder,
        expires_at=command.asked_at + order_deadline,
        promotion_code=command.promotion_code,
    )
    return (placed,)


def _is_asked_again(command: PlaceOrder, placed: OrderPlaced) -> bool:
    """Whether a command asks for the order that was placed, whatever the prices are now."""
    told = ("customer_id", "email", "address", "method_token", "allow_backorder", "promotion_code")
    return (
        all(getattr(command, name) == getattr(placed, name) for name in told)
        and len(command.lines) == len(placed.lines)
        and all(
            (line.sku, line.quantity, line.unit_price or bought.unit_price)
            == (bought.sku, bought.quantity, bought.unit_price)
            for line, bought in zip(command.lines, placed.lines, strict=True)
        )
    )


def not_yours(command: OrderCommand | RequestReturn, order: Order) -> Rejected | None:
    """The refusal of a command that is not sent in the name of the order's customer; None when it may be decided."""
    match command:
        case PlaceOrder():
            customer_id = command.customer_id
        case CancelOrder() | RequestReturn() if order.placed is not None:
            customer_id = order.placed.customer_id
        case _:
            return None
    problem = why_not_theirs(command.acting_for, customer_id)
    return Rejected.at("not_your_order", "$", f"{problem} of the order") if problem else None


def why_not_theirs(acting_for: str, customer_id: CustomerId) -> str:
    """Why the sender of a command is not this customer, for a refusal; empty when it is."""
    if acting_for == customer_id:
        return ""
    sender = f"it acts for {acting_for!r}" if acting_for else "it does not say for whom it acts"
    return f"{sender}, who is not the customer"


def _cancel(command: CancelOrder, order: Order) -> tuple[OrderEvent | Rejected, ...]:
    """Publish OrderCancellationRejected once in a state; reject later requests in that state as commands."""
    match order.status:
        case "PENDING":
            return (_cancelled(order, "customer"),)
        case "CONFIRMED":
            return (OrderCancellationRequested(order_id=command.order_id, reason=command.reason),)
        case "UNKNOWN" | "SHIPPED" | "DELIVERED" if not order.cancellation_refused:
            rejected = OrderCancellationRejected(order_id=command.order_id, reason=command.reason, state=order.status)
            return (rejected,)
        case "UNKNOWN":
            return (Rejected.at("order_unknown", "$", "there is no such order; it was not placed"),)
        case "SHIPPED" | "DELIVERED":
            return (Rejected.at("too_late_to_cancel", "$", f"the order is {order.status}"),)
        case _:
            return ()


def _too_late_to_cancel(order: Order, status: Status) -> tuple[OrderCancellationRejected, ...]:
    """The answer to a cancellation that was waiting for shipping, if one was."""
    if order.status != "CANCELLING":
        return ()
    reason = order.cancellation_reason
    return (OrderCancellationRejected(order_id=_placed(order).order_id, reason=reason, state=status),)


def _cancelled(order: Order, reason: CancellationReason) -> OrderCancelled:
    placed = _placed(order)
    return OrderCancelled(order_id=placed.order_id, reason=reason, from_state=order.status, lines=placed.lines)


def _placed(order: Order) -> OrderPlaced:
    assert order.placed is not None, order.status
    return order.placed
