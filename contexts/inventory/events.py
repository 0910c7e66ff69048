"""The events of inventory: units on the shelves, and the orders to which they are promised."""

from datetime import datetime
from typing import Annotated, TypeAlias

from msgspec import Struct

from contexts.kernel import CancellationReason, Money, OrderId, ReturnId, Sku, SkuQuantity
from shared.wire.messages import TOLD


class StockItemRegistered(Struct, frozen=True, kw_only=True):
    """There is such an article, at this price."""

    sku: Annotated[Sku, TOLD]
    name: str
    unit_price: Money


class StockReplenished(Struct, frozen=True, kw_only=True):
    """A delivery was counted in: published once for each `delivery_id`."""

    sku: Annotated[Sku, TOLD]
    quantity: int
    delivery_id: str


class StockAdjusted(Struct, frozen=True, kw_only=True):
    """The count was corrected by `delta`."""

    sku: Annotated[Sku, TOLD]
    delta: int
    reason: Annotated[str, TOLD]
    adjustment_id: str | None = None


class StockReturned(Struct, frozen=True, kw_only=True):
    """Units of a delivered order came back, and are on the shelf: published once for each return and sku."""

    sku: Annotated[Sku, TOLD]
    quantity: int
    return_id: ReturnId
    order_id: OrderId


class StockMovementRecorded(Struct, frozen=True, kw_only=True):
    """Units were counted under this id (`delivery:d-1`, `adjustment:a-1`, `return:o-1/r-1`): once each, for ever."""

    sku: Annotated[Sku, TOLD]
    movement_id: str
    quantity: int


class StockLevelChanged(Struct, frozen=True, kw_only=True):
    """The units on hand, and the reserved ones among them: 0 <= reserved <= on_hand, and the others are available.

    `number` counts the levels of the article from 1; a release that did not count them has left 0.
    """

    sku: Annotated[Sku, TOLD]
    on_hand: int
    reserved: int
    available: int
    number: int = 0


class BackorderQueued(Struct, frozen=True, kw_only=True):
    """An order waits for these units of the sku, behind the orders that wait already; `skus` are all that it wants."""

    sku: Annotated[Sku, TOLD]
    order_id: Annotated[OrderId, TOLD]
    quantity: int
    skus: tuple[Sku, ...]


class BackorderDequeued(Struct, frozen=True, kw_only=True):
    """The order does not wait for the sku any more: it has its units, or will not have them."""

    sku: Annotated[Sku, TOLD]
    order_id: Annotated[OrderId, TOLD]


class Shortage(Struct, frozen=True, kw_only=True):
    """One article that is short: the quantity that the order wants, and the quantity that is available."""

    sku: Sku
    requested: int
    available: int


class InventoryReserved(Struct, frozen=True, kw_only=True):
    """All lines of the order are promised to it, each sku once."""

    order_id: OrderId
    lines: tuple[SkuQuantity, ...]


class InventoryBackordered(Struct, frozen=True, kw_only=True):
    """No line of the order is promised yet: the order waits for these articles until `expires_at`."""

    order_id: OrderId
    shortages: tuple[Shortage, ...]
    expires_at: datetime
    lines: tuple[SkuQuantity, ...]


class InventoryRejected(Struct, frozen=True, kw_only=True):
    """No line of the order is promised, because these articles are short; also when a backorder has expired."""

    order_id: OrderId
    shortages: tuple[Shortage, ...]


class InventoryReleased(Struct, frozen=True, kw_only=True):
    """These lines are available again. Without lines, nothing was held for the order, and nothing ever will be."""

    order_id: OrderId
    lines: tuple[SkuQuantity, ...]
    reason: Annotated[CancellationReason, TOLD]


class StockCommitted(Struct, frozen=True, kw_only=True):
    """These lines have left with the carrier."""

    order_id: OrderId
    lines: tuple[SkuQuantity, ...]


class StockWrittenOff(Struct, frozen=True, kw_only=True):
    """These lines are lost, whether they were counted as committed before or not."""

    order_id: OrderId
    lines: tuple[SkuQuantity, ...]


StockEvent: TypeAlias = (
    StockItemRegistered
    | StockReplenished
    | StockAdjusted
    | StockReturned
    | StockLevelChanged
    | BackorderQueued
    | BackorderDequeued
)
ReservationEvent: TypeAlias = (
    InventoryReserved | InventoryBackordered | InventoryRejected | InventoryReleased | StockCommitted | StockWrittenOff
)
