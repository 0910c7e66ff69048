"""Whether an order stands, is confirmed, or is cancelled: the judge of every race until the confirmation.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. From the confirmation to the dispatch
shipping is the judge: a cancellation then waits for what it says.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Literal, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.kernel import MINOR_UNITS_AT_MOST, QUANTITY_AT_MOST, CancellationReason, Money, ReturnId, Sku
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
)
from contexts.ordering.events import (
    DeliveryRecorded,
    OrderCancellationRejected,
    OrderCancellationRequested,
    OrderCancelled,
    OrderConfirmed,
    OrderDeadlineExtended,
    OrderEvent,
    OrderPlaced,
    ReturnCounted,
    ShipmentRecorded,
    Status,
)
from shared.context import Detail, Rejected


class Order(Struct, frozen=True, kw_only=True):
    """One order; `cancellation_reason` is why the customer wanted a confirmed one cancelled.

    `waits_for` names the context that decides about it while it is CANCELLING. `returned` are the units per SKU of all
    its returns, whose parcels are expected by `returns_until` at the latest.
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
    returns_until: datetime | None = None

    @property
    def expires_at(self) -> datetime:
        """The deadline that counts."""
        return self.extended_to or _placed(self).expires_at


def decide(
    command: OrderCommand, order: Order, *, order_deadline: timedelta, currency: str
) -> tuple[OrderEvent | Rejected, ...]:
    """Decide on the command: no event when it was answered before, or when the order is past it."""
    match command:
        case PlaceOrder():
            return _place(command, order, order_deadline, currency)
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
            returned = Counter(order.returned)
            for line in event.lines:
                returned[line.sku] += line.quantity
            returns = (*order.returns, event.return_id)
            return replace(order, returns=returns, returned=dict(returned), returns_until=event.expires_at)
        case _:
            assert_never(event)


def _place(
    command: PlaceOrder, order: Order, order_deadline: timedelta, currency: str
) -> tuple[OrderPlaced | Rejected, ...]:
    if order.placed is None:
        return (_refused(command, currency) or _placement(command, command.asked_at + order_deadline),)
    if _placement(command, order.placed.expires_at) == order.placed:
        return ()
    return (Rejected.at("order_already_placed", "$", f"{command.order_id} is another order; use a new id"),)


def _placement(command: PlaceOrder, expires_at: datetime) -> OrderPlaced:
    return OrderPlaced(
        order_id=command.order_id,
        customer_id=command.customer_id,
        email=command.email,
        lines=command.lines,
        total=Money(amount_minor=_total_minor(command), currency=command.lines[0].unit_price.currency),
        address=command.address,
        method_token=command.method_token,
        allow_backorder=command.allow_backorder,
        expires_at=expires_at,
    )


def _total_minor(command: PlaceOrder) -> int:
    return sum(line.quantity * line.unit_price.amount_minor for line in command.lines)


def _refused(command: PlaceOrder, currency: str) -> Rejected | None:
    foreign = tuple(
        Detail(path=f"$.lines[{number}].unit_price.currency", message=f"the shop charges in {currency}")
        for number, line in enumerate(command.lines)
        if line.unit_price.currency != currency
    )
    if foreign:
        return Rejected(reason="wrong_currency", details=foreign)
    units: Counter[str] = Counter()
    for number, line in enumerate(command.lines):
        units[line.sku] += line.quantity
        if units[line.sku] > QUANTITY_AT_MOST:
            problem = f"an order has at most {QUANTITY_AT_MOST} units of one sku"
            return Rejected.at("too_many_units", f"$.lines[{number}].quantity", problem)
    if _total_minor(command) > MINOR_UNITS_AT_MOST:
        problem = f"they come to more than {MINOR_UNITS_AT_MOST} minor units"
        return Rejected.at("total_too_large", "$.lines", problem)
    return None


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
            return (Rejected.at("order_unknown", "$", "nobody has placed this order"),)
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
