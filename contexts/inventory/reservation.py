"""Whether the lines of one order are promised to it, all or none, and what becomes of them.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. A release that comes first forbids the
reservation. Units are committed, written off or back on the shelf by the last event of their reservation.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Literal, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.inventory.commands import (
    CommitStock,
    ReleaseStock,
    ReservationCommand,
    ReserveStock,
    SettleFailedShipment,
)
from contexts.inventory.events import (
    InventoryRejected,
    InventoryReleased,
    InventoryReserved,
    ReservationEvent,
    Shortage,
    StockCommitted,
    StockLevelChanged,
    StockWrittenOff,
)
from contexts.inventory.stock import StockItem, moved
from contexts.kernel import Sku, SkuQuantity

Status: TypeAlias = Literal["NEW", "RESERVED", "REJECTED", "RELEASED", "COMMITTED", "WRITTEN_OFF"]


class Reservation(Struct, frozen=True, kw_only=True):
    """The units that are promised to one order: `lines` has each SKU once."""

    status: Status = "NEW"
    lines: tuple[SkuQuantity, ...] = ()


def skus_of(command: ReservationCommand) -> tuple[Sku, ...]:
    """The SKUs whose stock a reservation will read."""
    return tuple(line.sku for line in command.lines) if isinstance(command, ReserveStock) else ()


def skus_in(command: ReservationCommand, reservation: Reservation) -> tuple[Sku, ...]:
    """The SKUs whose stock a release, a commitment or a settlement will read."""
    return () if isinstance(command, ReserveStock) else tuple(line.sku for line in reservation.lines)


def decide(
    command: ReservationCommand, reservation: Reservation, stock: Mapping[str, StockItem]
) -> tuple[ReservationEvent | StockLevelChanged, ...]:
    """Decide on the command: no event when it was answered before, or when the goods are past it."""
    order_id, lines = command.order_id, reservation.lines
    match command, reservation.status:
        case ReserveStock(), "NEW":
            return _reserve(command, stock)
        case ReleaseStock(reason="shipment_failed"), _:
            return ()  # Whether the goods are lost or here is said by ShipmentFailed, which settles it.
        case ReleaseStock(), "NEW" | "RESERVED":
            released = InventoryReleased(order_id=order_id, lines=lines, reason=command.reason)
            return (released, *_levels(lines, stock, reserved=-1))
        case CommitStock(), "RESERVED":
            return (StockCommitted(order_id=order_id, lines=lines), *_levels(lines, stock, on_hand=-1, reserved=-1))
        case SettleFailedShipment(stage="lost"), "RESERVED":
            return (StockWrittenOff(order_id=order_id, lines=lines), *_levels(lines, stock, on_hand=-1, reserved=-1))
        case SettleFailedShipment(stage="lost"), "COMMITTED":
            return (StockWrittenOff(order_id=order_id, lines=lines),)
        case SettleFailedShipment(stage="before_dispatch" | "returned"), "NEW" | "RESERVED":
            put_back = InventoryReleased(order_id=order_id, lines=lines, reason="shipment_failed")
            return (put_back, *_levels(lines, stock, reserved=-1))
        case SettleFailedShipment(stage="before_dispatch" | "returned"), "COMMITTED":
            put_back = InventoryReleased(order_id=order_id, lines=lines, reason="shipment_failed")
            return (put_back, *_levels(lines, stock, on_hand=+1))
        case ((ReserveStock() | ReleaseStock() | CommitStock() | SettleFailedShipment()), _):
            return ()
        case _:
            assert_never(command)


def evolve(reservation: Reservation, event: ReservationEvent) -> Reservation:
    """The reservation after one of its events."""
    match event:
        case InventoryReserved():
            assert reservation.status == "NEW", reservation.status
            return Reservation(status="RESERVED", lines=event.lines)
        case InventoryRejected():
            assert reservation.status == "NEW", reservation.status
            return Reservation(status="REJECTED")
        case InventoryReleased():
            assert reservation.status in ("NEW", "RESERVED", "COMMITTED"), reservation.status
            return replace(reservation, status="RELEASED")
        case StockCommitted():
            assert reservation.status == "RESERVED", reservation.status
            return replace(reservation, status="COMMITTED")
        case StockWrittenOff():
            assert reservation.status in ("RESERVED", "COMMITTED"), reservation.status
            return replace(reservation, status="WRITTEN_OFF")
        case _:
            assert_never(event)


def _reserve(command: ReserveStock, stock: Mapping[str, StockItem]) -> tuple[ReservationEvent | StockLevelChanged, ...]:
    wanted: Counter[Sku] = Counter()
    for line in command.lines:
        wanted[line.sku] += line.quantity
    shortages = tuple(
        Shortage(sku=sku, requested=quantity, available=stock[sku].available)
        for sku, quantity in wanted.items()
        if quantity > stock[sku].available
    )
    if shortages:
        return (InventoryRejected(order_id=command.order_id, shortages=shortages),)
    lines = tuple(SkuQuantity(sku=sku, quantity=quantity) for sku, quantity in wanted.items())
    return (InventoryReserved(order_id=command.order_id, lines=lines), *_levels(lines, stock, reserved=+1))


def _levels(
    lines: tuple[SkuQuantity, ...], stock: Mapping[str, StockItem], *, on_hand: int = 0, reserved: int = 0
) -> tuple[StockLevelChanged, ...]:
    """The levels after each line was added to (+1) or taken from (-1) what is on hand, and what is reserved."""
    return tuple(
        moved(line.sku, stock[line.sku], on_hand=on_hand * line.quantity, reserved=reserved * line.quantity)
        for line in lines
    )
