"""Which waiting orders are served when units become available: the oldest first, each with all its lines or none.

Pure: no I/O, clock, randomness or logging. A waiting order stands in the queue of every SKU that it wants, and each
queue has the older order first. The units that it wants are set aside from all younger orders, also while another SKU
of it is short: so no younger order starves it. It never waits for a younger order, so no two orders wait for each
other. Units beyond those that older orders want go to younger ones at once, and an order that expires gives way.
"""

from collections.abc import Iterator, Mapping

from contexts.inventory.events import (
    BackorderDequeued,
    BackorderQueued,
    InventoryReserved,
    Shortage,
    StockEvent,
    StockLevelChanged,
)
from contexts.inventory.stock import StockItem, Waiting, evolve, moved
from contexts.kernel import OrderId, Sku, SkuQuantity

BACKORDERS_AT_MOST = 100
"""How many orders wait for one SKU; further ones are rejected as if they had not allowed it."""


class Shelves:
    """The stock that a decision reads, with the changes that it has made so far."""

    def __init__(self, stock: Mapping[str, StockItem], changes: tuple[StockEvent, ...] = ()) -> None:
        self._stock = stock
        self._changed: dict[Sku, StockItem] = {}
        self.change(changes)

    def __getitem__(self, sku: Sku) -> StockItem:
        return self._changed.get(sku) or self._stock[sku]

    def change(self, changes: tuple[StockEvent, ...]) -> None:
        """Apply events of the stock."""
        for event in changes:
            self._changed[event.sku] = evolve(self[event.sku], event)


def shortages(
    order_id: OrderId, lines: tuple[SkuQuantity, ...], stock: Mapping[str, StockItem]
) -> tuple[Shortage, ...]:
    """The SKUs of which the order cannot have its units now, because they are not there or older orders want them."""
    return tuple(
        Shortage(sku=line.sku, requested=line.quantity, available=max(0, stock[line.sku].available_to(order_id)))
        for line in lines
        if line.quantity > stock[line.sku].available_to(order_id)
    )


def queued(order_id: OrderId, lines: tuple[SkuQuantity, ...]) -> tuple[BackorderQueued, ...]:
    """The order waits at the end of the queue of each of its SKUs."""
    skus = tuple(line.sku for line in lines)
    return tuple(BackorderQueued(sku=line.sku, order_id=order_id, quantity=line.quantity, skus=skus) for line in lines)


def dequeued(order_id: OrderId, lines: tuple[SkuQuantity, ...]) -> tuple[BackorderDequeued, ...]:
    """The order leaves every queue."""
    return tuple(BackorderDequeued(sku=line.sku, order_id=order_id) for line in lines)


def has_room(lines: tuple[SkuQuantity, ...], stock: Mapping[str, StockItem]) -> bool:
    """Whether one more order may wait for each of these SKUs."""
    return all(len(stock[line.sku].waiting) < BACKORDERS_AT_MOST for line in lines)


def served(
    stock: Mapping[str, StockItem], changes: tuple[StockEvent, ...]
) -> tuple[InventoryReserved | StockEvent, ...]:
    """The events of the waiting orders that can have all their units after these changes of the stock.

    Serving an order takes the units that were set aside for it, so it never changes what another one may have: one
    pass over the queues of the changed SKUs finds them all.
    """
    changed = dict.fromkeys(change.sku for change in changes)
    if not any(stock[sku].waiting for sku in changed):
        return ()
    shelves = Shelves(stock, changes)
    events: list[InventoryReserved | StockEvent] = []
    for sku in changed:
        for waiting in shelves[sku].waiting:
            if all(_has_units(shelves[wanted], waiting) for wanted in (sku, *waiting.skus)):
                reserved = InventoryReserved(order_id=waiting.order_id, lines=tuple(_lines(waiting, shelves)))
                taken = tuple(moved(line.sku, shelves[line.sku], reserved=line.quantity) for line in reserved.lines)
                leaving: tuple[StockLevelChanged | BackorderDequeued, ...] = (
                    *taken,
                    *dequeued(waiting.order_id, reserved.lines),
                )
                shelves.change(leaving)
                events += (reserved, *leaving)
    return tuple(events)


def _has_units(item: StockItem, order: Waiting) -> bool:
    return item.available_to(order.order_id) >= _place(item, order).quantity


def _lines(order: Waiting, shelves: Shelves) -> Iterator[SkuQuantity]:
    for sku in order.skus:
        yield SkuQuantity(sku=sku, quantity=_place(shelves[sku], order).quantity)


def _place(item: StockItem, order: Waiting) -> Waiting:
    """The place of the order in the queue of another of its SKUs."""
    return next(waiting for waiting in item.waiting if waiting.order_id == order.order_id)
