"""The stock of one article as ordering knows it, and the open baskets that want the article.

Pure: no I/O, clock, randomness or logging. Inventory alone promises units; ordering only advises. From PLENTY on a
level is noted when it has moved by more than an eighth or clears an alert, so that busy articles do not cost an event
for every order.
"""

from collections.abc import Mapping
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.kernel import MINOR_UNITS_AT_MOST, Money, OrderId, Sku
from contexts.ordering.basket import Basket
from contexts.ordering.commands import NoteStock, ShelfCommand, ShowPrice
from contexts.ordering.events import (
    AlertCleared,
    BasketEvent,
    BasketFollowed,
    BasketLeft,
    BasketUpdated,
    ShelfEvent,
    StockNoted,
)
from contexts.ordering.price import ListedPrice

PLENTY = 1_000
"""From this many available units on, the known level may be wrong by an eighth."""
BASKETS_AT_MOST = 1_000
"""A shelf follows no more open baskets: others get no alert, and see a new price when they change."""


class Shelf(Struct, frozen=True, kw_only=True):
    """One article, as of inventory's level `number`. `baskets` says of each open basket whether an alert is set."""

    available: int = 0
    number: int = 0
    baskets: dict[OrderId, bool] = {}

    def lacks(self, quantity: int) -> bool:
        """Whether the units are known to be too few: also the most that there may be by now."""
        return self.available + self.slack < quantity

    @property
    def slack(self) -> int:
        """The units by which the level may have moved without being noted."""
        return self.available // 8 if self.available >= PLENTY else 0

    def follows(self, order_id: str) -> bool | None:
        """Whether an alert of the basket is set; None when the basket is not followed."""
        return self.baskets.get(OrderId(order_id))

    @property
    def is_full(self) -> bool:
        """Whether no more baskets can be followed."""
        return len(self.baskets) >= BASKETS_AT_MOST


def decide(
    command: ShelfCommand, shelf: Shelf, baskets: Mapping[OrderId, Basket], prices: Mapping[Sku, ListedPrice]
) -> tuple[BasketEvent | ShelfEvent, ...]:
    """Decide on the command: no event when the level is older than the known one, or when nothing is new."""
    match command:
        case NoteStock():
            return _note(command, shelf, baskets)
        case ShowPrice():
            price = prices[command.sku].unit_price
            assert price is not None, command
            repriced = (_repriced(order_id, command.sku, price, baskets[order_id]) for order_id in shelf.baskets)
            return tuple(event for event in repriced if event is not None)
        case _:
            assert_never(command)


def evolve(shelf: Shelf, event: ShelfEvent) -> Shelf:
    """The shelf after one of its events."""
    match event:
        case StockNoted():
            return replace(shelf, available=event.available, number=event.number)
        case BasketFollowed():
            return replace(shelf, baskets={**shelf.baskets, event.order_id: event.is_short})
        case BasketLeft():
            left = {order_id: short for order_id, short in shelf.baskets.items() if order_id != event.order_id}
            return replace(shelf, baskets=left)
        case _:
            assert_never(event)


def sku_of(command: ShelfCommand) -> tuple[Sku, ...]:
    """The article whose price is shown."""
    return (command.sku,) if isinstance(command, ShowPrice) else ()


def baskets_in(command: ShelfCommand, shelf: Shelf) -> tuple[OrderId, ...]:
    """The baskets that a decision reads: all that show the price, or those with an alert."""
    if isinstance(command, ShowPrice):
        return tuple(shelf.baskets)
    return tuple(order_id for order_id, is_short in shelf.baskets.items() if is_short)


def _note(command: NoteStock, shelf: Shelf, baskets: Mapping[OrderId, Basket]) -> tuple[BasketEvent | ShelfEvent, ...]:
    """Note a level, and clear each alert that it satisfies by itself."""
    if command.number < shelf.number or command.available == shelf.available:
        return ()
    decided: list[BasketEvent | ShelfEvent] = []
    for order_id in baskets_in(command, shelf):
        basket = baskets[order_id]
        requested = basket.alerts.get(command.sku)
        if requested is not None and requested <= command.available:
            cleared = AlertCleared(
                order_id=order_id,
                sku=command.sku,
                requested=requested,
                available=command.available,
                number=basket.alerts_set,
            )
            decided.append(cleared)
            decided.append(BasketFollowed(sku=command.sku, order_id=order_id, is_short=False))
    is_near = command.available >= PLENTY and abs(command.available - shelf.available) <= shelf.slack
    if is_near and not decided:
        return ()
    return (StockNoted(sku=command.sku, available=command.available, number=command.number), *decided)


def _repriced(order_id: OrderId, sku: Sku, price: Money, basket: Basket) -> BasketUpdated | None:
    lines = tuple(replace(line, unit_price=price) if line.sku == sku else line for line in basket.shown)
    total = sum(line.quantity * line.unit_price.amount_minor for line in lines)
    if lines == basket.shown or total > MINOR_UNITS_AT_MOST:
        return None
    money = Money(amount_minor=total, currency=price.currency)
    return BasketUpdated(order_id=order_id, lines=lines, total=money, change=basket.checked)
