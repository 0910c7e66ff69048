"""Whether the lines of one order are promised to it, all or none, and what becomes of them.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. A release that comes first forbids the
reservation. Units are committed, written off or back on the shelf by the last event of their reservation. An order may
wait for units that are short; units that come back serve the orders that wait, in the same decision.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.inventory.backorder import dequeued, has_room, queued, served, shortages
from contexts.inventory.commands import (
    CommitStock,
    ExpireBackorder,
    ReleaseStock,
    ReservationCommand,
    ReserveStock,
    SettleFailedShipment,
)
from contexts.inventory.events import (
    InventoryBackordered,
    InventoryRejected,
    InventoryReleased,
    InventoryReserved,
    ReservationEvent,
    StockCommitted,
    StockEvent,
    StockLevelChanged,
    StockWrittenOff,
)
from contexts.inventory.stock import StockItem, moved
from contexts.kernel import OrderId, Sku, SkuQuantity, merged

Status: TypeAlias = Literal["NEW", "RESERVED", "BACKORDERED", "REJECTED", "RELEASED", "COMMITTED", "WRITTEN_OFF"]
Answer: TypeAlias = tuple[ReservationEvent | StockEvent, ...]


class Reservation(Struct, frozen=True, kw_only=True):
    """The units that are promised to one order, or that it waits for: `lines` has each SKU once."""

    status: Status = "NEW"
    lines: tuple[SkuQuantity, ...] = ()


def skus_of(command: ReservationCommand) -> tuple[Sku, ...]:
    """The SKUs whose stock a reservation will read."""
    return tuple(line.sku for line in command.lines) if isinstance(command, ReserveStock) else ()


def skus_in(command: ReservationCommand, reservation: Reservation) -> tuple[Sku, ...]:
    """The SKUs whose stock a release, a commitment or a settlement will read."""
    return () if isinstance(command, ReserveStock) else tuple(line.sku for line in reservation.lines)


def decide(
    command: ReservationCommand, reservation: Reservation, stock: Mapping[str, StockItem], *, backorder_wait: timedelta
) -> Answer:
    """Decide on the command: no event when it was answered before, or when the goods are past it."""
    order_id, lines = command.order_id, reservation.lines
    match command, reservation.status:
        case ReserveStock(), "NEW":
            return _reserve(command, stock, backorder_wait)
        case ReleaseStock(reason="shipment_failed"), _:
            return ()  # ShipmentFailed says whether the goods are lost or here, and settles it.
        case ReleaseStock(), "BACKORDERED":
            given_up = InventoryReleased(order_id=order_id, lines=(), reason=command.reason)
            return (given_up, *_leave(order_id, lines, stock))
        case ReleaseStock(), "NEW" | "RESERVED":
            released = InventoryReleased(order_id=order_id, lines=lines, reason=command.reason)
            return (released, *_free(lines, stock, reserved=-1))
        case ExpireBackorder(), "BACKORDERED":
            rejected = InventoryRejected(order_id=order_id, shortages=shortages(order_id, lines, stock))
            return (rejected, *_leave(order_id, lines, stock))
        case CommitStock(), "RESERVED":
            return (StockCommitted(order_id=order_id, lines=lines), *_levels(lines, stock, on_hand=-1, reserved=-1))
        case SettleFailedShipment(stage="lost"), "RESERVED":
            return (StockWrittenOff(order_id=order_id, lines=lines), *_levels(lines, stock, on_hand=-1, reserved=-1))
        case SettleFailedShipment(stage="lost"), "COMMITTED":
            return (StockWrittenOff(order_id=order_id, lines=lines),)
        case SettleFailedShipment(stage="before_dispatch" | "returned"), "NEW" | "RESERVED":
            put_back = InventoryReleased(order_id=order_id, lines=lines, reason="shipment_failed")
            return (put_back, *_free(lines, stock, reserved=-1))
        case SettleFailedShipment(stage="before_dispatch" | "returned"), "COMMITTED":
            put_back = InventoryReleased(order_id=order_id, lines=lines, reason="shipment_failed")
            return (put_back, *_free(lines, stock, on_hand=+1))
        case ((ReserveStock() | ReleaseStock() | ExpireBackorder() | CommitStock() | SettleFailedShipment()), _):
            return ()
        case _:
            assert_never(command)


def evolve(reservation: Reservation, event: ReservationEvent) -> Reservation:
    """The reservation after one of its events."""
    match event:
        case InventoryReserved():
            assert reservation.status in ("NEW", "BACKORDERED"), reservation.status
            return Reservation(status="RESERVED", lines=event.lines)
        case InventoryBackordered():
            assert reservation.status == "NEW", reservation.status
            return Reservation(status="BACKORDERED", lines=event.lines)
        case InventoryRejected():
            assert reservation.status in ("NEW", "BACKORDERED"), reservation.status
            return Reservation(status="REJECTED")
        case InventoryReleased():
            assert reservation.status in ("NEW", "RESERVED", "BACKORDERED", "COMMITTED"), reservation.status
            return replace(reservation, status="RELEASED")
        case StockCommitted():
            assert reservation.status == "RESERVED", reservation.status
            return replace(reservation, status="COMMITTED")
        case StockWrittenOff():
            assert reservation.status in ("RESERVED", "COMMITTED"), reservation.status
            return replace(reservation, status="WRITTEN_OFF")
        case _:
            assert_never(event)


def _reserve(command: ReserveStock, stock: Mapping[str, StockItem], backorder_wait: timedelta) -> Answer:
    order_id = command.order_id
    lines = merged(command.lines)
    short = shortages(order_id, lines, stock)
    if not short:
        return (InventoryReserved(order_id=order_id, lines=lines), *_levels(lines, stock, reserved=+1))
    if command.allow_backorder and has_room(lines, stock):
        expires_at = command.asked_at + backorder_wait
        waits = InventoryBackordered(order_id=order_id, shortages=short, expires_at=expires_at, lines=lines)
        return (waits, *queued(order_id, lines))
    return (InventoryRejected(order_id=order_id, shortages=short),)


def _leave(order_id: OrderId, lines: tuple[SkuQuantity, ...], stock: Mapping[str, StockItem]) -> Answer:
    """The order waits no longer, so younger ones may be served."""
    left = dequeued(order_id, lines)
    return (*left, *served(stock, left))


def _free(
    lines: tuple[SkuQuantity, ...], stock: Mapping[str, StockItem], *, on_hand: int = 0, reserved: int = 0
) -> Answer:
    """The levels after units of each line became available, and the waiting orders that are served with them."""
    levels = _levels(lines, stock, on_hand=on_hand, reserved=reserved)
    return (*levels, *served(stock, levels))


def _levels(
    lines: tuple[SkuQuantity, ...], stock: Mapping[str, StockItem], *, on_hand: int = 0, reserved: int = 0
) -> tuple[StockLevelChanged, ...]:
    """The levels after each line was added to (+1) or taken from (-1) the units on hand and the reserved ones."""
    return tuple(
        moved(line.sku, stock[line.sku], on_hand=on_hand * line.quantity, reserved=reserved * line.quantity)
        for line in lines
    )
