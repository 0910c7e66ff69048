"""How many units of one SKU are on the shelves, and how many of them are promised.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once, as long as what is asked has an id of
its own among the last hundred. Units count whether or not their article is registered: a delivery may come first.
"""

from typing import TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.inventory.commands import (
    ON_HAND_AT_MOST,
    AdjustStock,
    Refusal,
    RegisterStockItem,
    ReplenishStock,
)
from contexts.inventory.events import (
    StockAdjusted,
    StockEvent,
    StockItemRegistered,
    StockLevelChanged,
    StockReplenished,
)
from shared.context import Detail, Rejected
from shared.kernel import Sku

IDS_REMEMBERED = 100
"""An older delivery or adjustment that is sent again counts again; a message id is known for ever."""

StockCommand: TypeAlias = RegisterStockItem | ReplenishStock | AdjustStock


class StockItem(Struct, frozen=True, kw_only=True):
    """One SKU; `deliveries` and `adjustments` are the quantities by their ids, oldest first."""

    registered: StockItemRegistered | None = None
    on_hand: int = 0
    reserved: int = 0
    deliveries: dict[str, int] = {}
    adjustments: dict[str, int] = {}

    @property
    def available(self) -> int:
        """What may still be promised."""
        return self.on_hand - self.reserved


def decide(command: StockCommand, item: StockItem) -> tuple[StockEvent | Rejected, ...]:
    """What comes of the command: nothing when it was answered before."""
    match command:
        case RegisterStockItem():
            registered = StockItemRegistered(sku=command.sku, name=command.name, unit_price=command.unit_price)
            if item.registered is None:
                return (registered,)
            again = item.registered == registered
            return () if again else (_rejected("registered_otherwise", "$", f"it is {item.registered.name}"),)
        case ReplenishStock():
            if command.delivery_id in item.deliveries:
                return _again("$.delivery_id", command.quantity, item.deliveries[command.delivery_id])
            replenished = StockReplenished(sku=command.sku, quantity=command.quantity, delivery_id=command.delivery_id)
            return _counted(replenished, command.quantity, item, "$.quantity")
        case AdjustStock():
            if command.adjustment_id in item.adjustments:
                return _again("$.adjustment_id", command.delta, item.adjustments[command.adjustment_id])
            adjusted = StockAdjusted(
                sku=command.sku, delta=command.delta, reason=command.reason, adjustment_id=command.adjustment_id
            )
            return _counted(adjusted, command.delta, item, "$.delta")
        case _:
            assert_never(command)


def evolve(item: StockItem, event: StockEvent) -> StockItem:
    """The SKU after one of its events; its level is what StockLevelChanged says."""
    match event:
        case StockItemRegistered():
            assert item.registered is None
            return replace(item, registered=event)
        case StockReplenished():
            return replace(item, deliveries=_remembering(item.deliveries, event.delivery_id, event.quantity))
        case StockAdjusted():
            if event.adjustment_id is None:
                return item
            return replace(item, adjustments=_remembering(item.adjustments, event.adjustment_id, event.delta))
        case StockLevelChanged():
            assert 0 <= event.reserved <= event.on_hand, event
            assert event.available == event.on_hand - event.reserved, event
            return replace(item, on_hand=event.on_hand, reserved=event.reserved)
        case _:
            assert_never(event)


def moved(sku: Sku, item: StockItem, *, on_hand: int = 0, reserved: int = 0) -> StockLevelChanged:
    """The level after so many units more, or less, are on hand and reserved."""
    on_hand += item.on_hand
    reserved += item.reserved
    return StockLevelChanged(sku=sku, on_hand=on_hand, reserved=reserved, available=on_hand - reserved)


def _counted(
    counted: StockReplenished | StockAdjusted, delta: int, item: StockItem, path: str
) -> tuple[StockEvent | Rejected, ...]:
    if item.on_hand + delta > ON_HAND_AT_MOST:
        return (_rejected("too_many_units", path, f"{item.on_hand} are on hand, and {ON_HAND_AT_MOST} is the most"),)
    if item.available + delta < 0:
        problem = f"{item.on_hand} are on hand and {item.reserved} of them reserved"
        return (_rejected("not_enough_stock", path, problem),)
    return (counted, moved(counted.sku, item, on_hand=delta))


def _again(path: str, asked: int, counted: int) -> tuple[Rejected, ...]:
    """Quiet when it is the same; another quantity under a known id is a mistake that must be heard of."""
    return () if asked == counted else (_rejected("id_known_otherwise", path, f"it was counted before, as {counted}"),)


def _remembering(known: dict[str, int], identity: str, quantity: int) -> dict[str, int]:
    return dict([*known.items(), (identity, quantity)][-IDS_REMEMBERED:])


def _rejected(reason: Refusal, path: str, problem: str) -> Rejected:
    return Rejected(reason=reason, details=(Detail(path=path, message=problem),))
