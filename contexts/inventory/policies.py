"""Inventory's reactions: the whole table stands at the foot."""

from contexts.inventory.commands import (
    CommitStock,
    ExpireBackorder,
    ReleaseStock,
    ReserveStock,
    RestockReturn,
    SettleFailedShipment,
)
from contexts.inventory.events import InventoryBackordered
from contexts.inventory.upstream import (
    OrderCancelled,
    OrderPlaced,
    OrderShipped,
    PaymentFailed,
    ReturnReceived,
    ShipmentFailed,
)
from shared.context import Policy, Timer


def whenever_order_placed_reserve_its_lines(event: OrderPlaced) -> list[ReserveStock]:
    """Reserves all lines or none; the order may wait for them (P10)."""
    return [
        ReserveStock(
            order_id=event.order_id, lines=event.lines, allow_backorder=event.allow_backorder, asked_at=event.at
        )
    ]


def whenever_order_shipped_commit_its_stock(event: OrderShipped) -> list[CommitStock]:
    """Takes the goods off the shelf (P17)."""
    return [CommitStock(order_id=event.order_id)]


def whenever_payment_failed_release_the_reservation(event: PaymentFailed) -> list[ReleaseStock]:
    """Compensates whenever_order_placed_reserve_its_lines, and may come before it (P20)."""
    return [ReleaseStock(order_id=event.order_id, reason="payment_failed")]


def whenever_order_cancelled_release_the_reservation(event: OrderCancelled) -> list[ReleaseStock]:
    """Compensates whenever_order_placed_reserve_its_lines, and may come before it (P24)."""
    return [ReleaseStock(order_id=event.order_id, reason=event.reason)]


def whenever_shipment_failed_put_stock_back_or_write_it_off(event: ShipmentFailed) -> list[SettleFailedShipment]:
    """Compensates whenever_order_shipped_commit_its_stock, and may come before it (P31)."""
    return [SettleFailedShipment(order_id=event.order_id, stage=event.stage)]


def whenever_return_received_put_its_stock_back(event: ReturnReceived) -> list[RestockReturn]:
    """Counts the lines in, each sku once (P53)."""
    return [
        RestockReturn(sku=line.sku, quantity=line.quantity, order_id=event.order_id, return_id=event.return_id)
        for line in event.lines
    ]


def whenever_a_backorder_expires_reject_it(event: InventoryBackordered) -> list[ExpireBackorder]:
    """Compensates whenever_order_placed_reserve_its_lines, unless the order was served by then (P37)."""
    return [ExpireBackorder(order_id=event.order_id)]


POLICIES: tuple[Policy, ...] = (
    Policy("ordering", OrderPlaced, whenever_order_placed_reserve_its_lines),
    Policy("shipping", OrderShipped, whenever_order_shipped_commit_its_stock),
    Policy("payments", PaymentFailed, whenever_payment_failed_release_the_reservation),
    Policy("ordering", OrderCancelled, whenever_order_cancelled_release_the_reservation),
    Policy("shipping", ShipmentFailed, whenever_shipment_failed_put_stock_back_or_write_it_off),
    Policy("shipping", ReturnReceived, whenever_return_received_put_its_stock_back),
)

TIMERS: tuple[Timer, ...] = (
    Timer(
        name="BackorderExpiry",
        armed_by=InventoryBackordered,
        at=lambda backordered: backordered.expires_at,
        whenever_due=whenever_a_backorder_expires_reject_it,
    ),
)
