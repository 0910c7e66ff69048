"""Whether a delivery, a correction or a return counts: once per id, for ever.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. Each movement is an aggregate of its
own, decided in one transaction with the stock of its SKU, so the stock's state does not grow with every delivery.
Only a registered article has units, so a delivery that comes before the registration is refused. The same transaction
serves the orders that wait for the units (P35).
"""

from collections.abc import Mapping
from typing import assert_never

from msgspec import Struct

from contexts.inventory.backorder import served
from contexts.inventory.commands import ON_HAND_AT_MOST, AdjustStock, MovementCommand, ReplenishStock, RestockReturn
from contexts.inventory.events import (
    InventoryReserved,
    StockAdjusted,
    StockEvent,
    StockMovementRecorded,
    StockReplenished,
    StockReturned,
)
from contexts.inventory.stock import StockItem, moved
from shared.context import Rejected


class StockMovement(Struct, frozen=True, kw_only=True):
    """The units that were counted under one id; None when the id is new."""

    quantity: int | None = None


def decide(
    command: MovementCommand, movement: StockMovement, stock: Mapping[str, StockItem]
) -> tuple[StockEvent | StockMovementRecorded | InventoryReserved | Rejected, ...]:
    """Count the units, unless they were counted under this id before."""
    item = stock[command.sku]
    counted: StockReplenished | StockAdjusted | StockReturned
    match command:
        case ReplenishStock():
            delta, path, id_path = command.quantity, "$.quantity", "$.delivery_id"
            counted = StockReplenished(sku=command.sku, quantity=delta, delivery_id=command.delivery_id)
        case AdjustStock():
            delta, path, id_path = command.delta, "$.delta", "$.adjustment_id"
            identity, reason = command.adjustment_id, command.reason
            counted = StockAdjusted(sku=command.sku, delta=delta, reason=reason, adjustment_id=identity)
        case RestockReturn():
            delta, path, id_path = command.quantity, "$.quantity", "$.return_id"
            counted = StockReturned(
                sku=command.sku, quantity=delta, return_id=command.return_id, order_id=command.order_id
            )
        case _:
            assert_never(command)
    if movement.quantity == delta:
        return ()
    if movement.quantity is not None:
        return (Rejected.at("id_known_otherwise", id_path, f"it was counted before, as {movement.quantity}"),)
    if item.registered is None:
        return (Rejected.at("not_registered", "$", f"there is no {command.sku}; send RegisterStockItem first"),)
    if item.on_hand + delta > ON_HAND_AT_MOST:
        return (Rejected.at("too_many_units", path, f"{item.on_hand} are on hand, and {ON_HAND_AT_MOST} is the most"),)
    if item.available + delta < 0:
        problem = f"{item.on_hand} are on hand and {item.reserved} of them reserved"
        return (Rejected.at("not_enough_stock", path, problem),)
    level = moved(command.sku, item, on_hand=delta)
    follows = (level, *served(stock, (level,)))
    if command.movement_id is None:
        return (counted, *follows)
    return (counted, StockMovementRecorded(sku=command.sku, movement_id=command.movement_id, quantity=delta), *follows)


def evolve(movement: StockMovement, event: StockMovementRecorded) -> StockMovement:
    """The movement after it was counted."""
    assert movement.quantity is None, movement
    return StockMovement(quantity=event.quantity)


def skus_of(command: MovementCommand) -> tuple[str, ...]:
    """The SKUs whose stock the decision reads."""
    return (command.sku,)
