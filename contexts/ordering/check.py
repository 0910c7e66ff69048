"""How a basket looks after its lines have changed: its prices, and an alert for each article that is short.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. Alerts advise the customer: inventory
alone promises units. A shelf that follows too many baskets sets no alert for one more.
"""

from collections.abc import Mapping

from contexts.kernel import OrderId, Sku
from contexts.ordering.basket import Basket, Decided, Shelf
from contexts.ordering.commands import CheckBasket
from contexts.ordering.events import (
    AlertCleared,
    AlertSet,
    BasketEvent,
    BasketFollowed,
    BasketLeft,
    BasketUpdated,
    ShelfEvent,
)
from contexts.ordering.price import ListedPrice
from contexts.ordering.pricing import quote_basket
from shared.context import Rejected


def decide(
    command: CheckBasket,
    basket: Basket,
    prices: Mapping[Sku, ListedPrice],
    shelves: Mapping[Sku, Shelf],
    *,
    currency: str,
) -> Decided:
    """Decide on the command: no event when this change of the lines, or a later one, was checked before."""
    if basket.status != "OPEN" or command.change <= basket.checked:
        return ()
    quoted = quote_basket(basket.lines, prices, currency)
    if isinstance(quoted, Rejected):
        return ()  # A price has risen beyond what an order may cost; the checkout says so.
    order_id = command.order_id
    shown = BasketUpdated(order_id=order_id, lines=quoted.lines, total=quoted.total, change=basket.change)
    decided: list[BasketEvent | ShelfEvent] = [shown]
    alerts_set = basket.alerts_set
    for line in basket.lines:
        shelf = shelves[line.sku]
        known = shelf.follows(order_id)
        if known is None and shelf.is_full:
            continue
        is_short = shelf.lacks(line.quantity)
        if is_short and basket.alerts.get(line.sku) != line.quantity:
            alerts_set += 1
            decided.append(
                AlertSet(
                    order_id=order_id,
                    sku=line.sku,
                    requested=line.quantity,
                    available=shelf.available,
                    email=basket.email,
                    number=alerts_set,
                )
            )
        elif not is_short and line.sku in basket.alerts:
            decided.append(_cleared(order_id, line.sku, line.quantity, shelf, alerts_set))
        if known is not is_short:
            decided.append(BasketFollowed(sku=line.sku, order_id=order_id, is_short=is_short))
    wanted = {line.sku for line in basket.lines}
    for sku in dict.fromkeys(line.sku for line in basket.shown if line.sku not in wanted):
        if sku in basket.alerts:
            decided.append(_cleared(order_id, sku, 0, shelves[sku], alerts_set))
        if shelves[sku].follows(order_id) is not None:
            decided.append(BasketLeft(sku=sku, order_id=order_id))
    return tuple(decided)


def _cleared(order_id: OrderId, sku: Sku, requested: int, shelf: Shelf, alerts_set: int) -> AlertCleared:
    return AlertCleared(order_id=order_id, sku=sku, requested=requested, available=shelf.available, number=alerts_set)
