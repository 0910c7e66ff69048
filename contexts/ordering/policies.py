"""Ordering's reactions: the whole table stands at the foot."""

from contexts.ordering.commands import (
    CancelPendingOrder,
    CancelUndeliverableOrder,
    ConfirmOrder,
    ExpireOrder,
    FinishCancellation,
    ListPrice,
    RecordDelivery,
    RecordShipment,
)
from contexts.ordering.events import OrderPlaced
from contexts.ordering.upstream import (
    InventoryRejected,
    InventoryReleased,
    OrderDelivered,
    OrderShipped,
    PaymentFailed,
    PaymentSucceeded,
    ShipmentCancelled,
    ShipmentFailed,
    StockItemRegistered,
)
from shared.context import Policy, Timer


def whenever_payment_succeeded_confirm_the_order(event: PaymentSucceeded) -> list[ConfirmOrder]:
    """Confirms the order while it is pending (P14)."""
    return [ConfirmOrder(order_id=event.order_id, payment_id=event.payment_id)]


def whenever_order_shipped_record_it(event: OrderShipped) -> list[RecordShipment]:
    """Also rejects a cancellation that waits for shipping (P18, P28)."""
    return [RecordShipment(order_id=event.order_id, tracking_no=event.tracking_no, carrier=event.carrier)]


def whenever_order_delivered_record_it(event: OrderDelivered) -> list[RecordDelivery]:
    """May come before the news of the shipment (P18)."""
    return [RecordDelivery(order_id=event.order_id, tracking_no=event.tracking_no)]


def whenever_payment_failed_cancel_the_order(event: PaymentFailed) -> list[CancelPendingOrder]:
    """Compensates the placement, as does the release that the same failure leads to (P21)."""
    return [CancelPendingOrder(order_id=event.order_id, reason="payment_failed")]


def whenever_inventory_released_cancel_the_order(event: InventoryReleased) -> list[CancelPendingOrder]:
    """Compensates the placement; a release that follows a cancellation finds nothing left to cancel (P21)."""
    return [CancelPendingOrder(order_id=event.order_id, reason=event.reason)]


def whenever_inventory_rejected_cancel_the_order(event: InventoryRejected) -> list[CancelPendingOrder]:
    """Compensates the placement (P22)."""
    return [CancelPendingOrder(order_id=event.order_id, reason="out_of_stock")]


def whenever_shipment_cancelled_finish_the_cancellation(event: ShipmentCancelled) -> list[FinishCancellation]:
    """Compensates whenever_payment_succeeded_confirm_the_order (P27)."""
    return [FinishCancellation(order_id=event.order_id)]


def whenever_shipment_failed_cancel_the_order(event: ShipmentFailed) -> list[CancelUndeliverableOrder]:
    """Compensates whenever_payment_succeeded_confirm_the_order (P32)."""
    return [CancelUndeliverableOrder(order_id=event.order_id)]


def whenever_the_deadline_of_an_order_passes_expire_it(event: OrderPlaced) -> list[ExpireOrder]:
    """Compensates the placement, unless the order is confirmed by then (P29)."""
    return [ExpireOrder(order_id=event.order_id)]


def whenever_stock_item_registered_list_its_price(event: StockItemRegistered) -> list[ListPrice]:
    """Makes the article known to ordering: no order for it is taken before (P50)."""
    return [ListPrice(sku=event.sku, unit_price=event.unit_price)]


POLICIES: tuple[Policy, ...] = (
    Policy("payments", PaymentSucceeded, whenever_payment_succeeded_confirm_the_order),
    Policy("shipping", OrderShipped, whenever_order_shipped_record_it),
    Policy("shipping", OrderDelivered, whenever_order_delivered_record_it),
    Policy("payments", PaymentFailed, whenever_payment_failed_cancel_the_order),
    Policy("inventory", InventoryReleased, whenever_inventory_released_cancel_the_order),
    Policy("inventory", InventoryRejected, whenever_inventory_rejected_cancel_the_order),
    Policy("shipping", ShipmentCancelled, whenever_shipment_cancelled_finish_the_cancellation),
    Policy("shipping", ShipmentFailed, whenever_shipment_failed_cancel_the_order),
    Policy("inventory", StockItemRegistered, whenever_stock_item_registered_list_its_price, from_beginning=True),
)

TIMERS: tuple[Timer, ...] = (
    Timer(
        name="OrderDeadline",
        armed_by=OrderPlaced,
        at=lambda placed: placed.expires_at,
        whenever_due=whenever_the_deadline_of_an_order_passes_expire_it,
    ),
)
