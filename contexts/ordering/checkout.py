"""Whether a basket is ready, and the order that it becomes: the order has the prices of this moment.

Pure: no I/O, clock, randomness or logging. A basket that is not ready hears of everything that it lacks at once.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import assert_never

from contexts.kernel import OrderId, Sku
from contexts.ordering.basket import Basket, Shelf, closed, leaves, not_yours
from contexts.ordering.commands import CheckOutBasket
from contexts.ordering.events import BasketCheckedOut, BasketLeft, OrderPlaced, PromotionCode
from contexts.ordering.order import Order
from contexts.ordering.price import ListedPrice
from contexts.ordering.pricing import quote_basket
from contexts.ordering.promotion import Promotion
from shared.context import Detail, Rejected


def decide(
    command: CheckOutBasket,
    basket: Basket,
    orders: Mapping[OrderId, Order],
    prices: Mapping[Sku, ListedPrice],
    shelves: Mapping[Sku, Shelf],
    promotions: Mapping[PromotionCode, Promotion],
    *,
    order_deadline: timedelta,
    currency: str,
    require_actor: bool = False,
) -> tuple[BasketCheckedOut | BasketLeft | OrderPlaced | Rejected, ...]:
    """Place the order of a basket that is ready; no event when it was checked out before."""
    if require_actor and (refused := not_yours(command, basket)):
        return (refused,)
    if basket.status == "CHECKED_OUT":
        return ()
    if is_closed := closed(basket, orders[command.order_id]):
        return is_closed
    is_priced = not isinstance(quote_basket(basket.lines, prices, currency), Rejected)
    if missing := _missing(basket, shelves, is_priced=is_priced):
        return (Rejected(reason="basket_not_ready", details=missing),)
    promotion = None if command.promotion_code is None else promotions[command.promotion_code]
    quoted = quote_basket(basket.lines, prices, currency, promotion=promotion, at=command.asked_at)
    if isinstance(quoted, Rejected):
        return (quoted,)
    assert basket.address is not None, basket
    placed = OrderPlaced(
        order_id=command.order_id,
        customer_id=basket.customer_id,
        email=basket.email,
        lines=quoted.lines,
        discount=quoted.discount,
        total=quoted.total,
        address=basket.address,
        method_token=basket.method_token,
        allow_backorder=command.allow_backorder,
        expires_at=command.asked_at + order_deadline,
        promotion_code=command.promotion_code,
    )
    return (BasketCheckedOut(order_id=command.order_id), placed, *leaves(command.order_id, basket, shelves))


def order_of(command: CheckOutBasket) -> tuple[OrderId, ...]:
    """The order of the basket's id, which a client may have placed without the basket."""
    return (command.order_id,)


def codes_of(command: CheckOutBasket) -> tuple[PromotionCode, ...]:
    """The promotion that the checkout reads."""
    return () if command.promotion_code is None else (command.promotion_code,)


def _missing(basket: Basket, shelves: Mapping[Sku, Shelf], *, is_priced: bool) -> tuple[Detail, ...]:
    """Everything that the basket lacks, each with its place in the basket."""
    missing: list[Detail] = []
    if not basket.lines:
        missing.append(Detail(path="$.lines", message="the basket is empty"))
    elif basket.checked < basket.change and is_priced:
        missing.append(Detail(path="$.lines", message="the last change waits to be compared with the stock"))
    for sku, requested in basket.alerts.items():
        problem = f"{requested} are wanted and {shelves[sku].available} are there"
        missing.append(Detail(path=f"$.alerts.{sku}", message=problem))
    for path, check in (("$.address", basket.address_check), ("$.payment", basket.payment_check)):
        match check.answer:
            case "NONE":
                missing.append(Detail(path=path, message="none submitted"))
            case "SUBMITTED":
                missing.append(Detail(path=path, message=f"attempt {check.attempt} waits for its answer"))
            case "REFUSED":
                missing.append(Detail(path=path, message=f"refused, {check.reason}"))
            case "ACCEPTED":
                pass
            case _:
                assert_never(check.answer)
    return tuple(missing)
