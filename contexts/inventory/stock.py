"""How many units of one SKU are on the shelves, how many of them are promised, and which orders wait for more.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. movement.py decides
which deliveries and corrections count, and backorder.py which waiting order is served.
"""

from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.inventory.commands import RegisterStockItem
from contexts.inventory.events import (
    BackorderDequeued,
    BackorderQueued,
    StockAdjusted,
    StockEvent,
    StockItemRegistered,
    StockLevelChanged,
    StockReplenished,
    StockReturned,
)
from contexts.kernel import OrderId, Sku
from shared.context import Rejected


class Waiting(Struct, frozen=True, kw_only=True):
    """An order that waits for units of a SKU; `skus` are all SKUs that it wants, this one among them."""

    order_id: OrderId
    quantity: int
    skus: tuple[Sku, ...]


class StockItem(Struct, frozen=True, kw_only=True):
    """One SKU. The orders that wait for it stand in `waiting`, the oldest first."""

    registered: StockItemRegistered | None = None
    on_hand: int = 0
    reserved: int = 0
    levels: int = 0
    waiting: tuple[Waiting, ...] = ()

    @property
    def available(self) -> int:
        """The units that may still be promised."""
        return self.on_hand - self.reserved

    def available_to(self, order_id: OrderId) -> int:
        """The units that may be promised to this order: those that no older waiting order wants. May be below zero."""
        units = self.available
        for waiting in self.waiting:
            if waiting.order_id == order_id:
                break
            units -= waiting.quantity
        return units


def decide(command: RegisterStockItem, item: StockItem) -> tuple[StockEvent | Rejected, ...]:
    """Decide on the command: no event when it was answered before."""
    registered = StockItemRegistered(sku=command.sku, name=command.name, unit_price=command.unit_price)
    if item.registered is None:
        return (registered,)
    if item.registered == registered:
        return ()
    return (Rejected.at("registered_otherwise", "$", f"it is {item.registered.name}"),)


def evolve(item: StockItem, event: StockEvent) -> StockItem:
    """The SKU after one of its events; its level is what StockLevelChanged says."""
    match event:
        case StockItemRegistered():
            assert item.registered is None
            return replace(item, registered=event)
        case StockReplenished() | StockAdjusted() | StockReturned():
            return item  # Its level follows, in StockLevelChanged.
        case StockLevelChanged():
            assert 0 <= event.reserved <= event.on_hand, event
            assert event.available == event.on_hand - event.reserved, event
            return replace(item, on_hand=event.on_hand, reserved=event.reserved, levels=item.levels + 1)
        case BackorderQueued():
            waiting = Waiting(order_id=event.order_id, quantity=event.quantity, skus=event.skus)
            return replace(item, waiting=(*item.waiting, waiting))
        case BackorderDequeued():
            left = tuple(waiting for waiting in item.waiting if waiting.order_id != event.order_id)
            assert len(left) == len(item.waiting) - 1, event
            return replace(item, waiting=left)
        case _:
            assert_never(event)


def moved(sku: Sku, item: StockItem, *, on_hand: int = 0, reserved: int = 0) -> StockLevelChanged:
    """The level after a change of the units on hand and of the reserved ones."""
    on_hand += item.on_hand
    reserved += item.reserved
    available, number = on_hand - reserved, item.levels + 1
    return StockLevelChanged(sku=sku, on_hand=on_hand, reserved=reserved, available=available, number=number)
