"""Ordering as one value."""

from functools import partial
from typing import get_args

from contexts.ordering import order, price, promotion
from contexts.ordering.commands import (
    AnnouncePromotion,
    CancelOrder,
    ChangePrice,
    EndPromotion,
    OrderCommand,
    PlaceOrder,
    PriceCommand,
    PromotionCommand,
)
from contexts.ordering.events import OrderEvent, PriceEvent, PromotionEvent
from contexts.ordering.order import Order
from contexts.ordering.policies import POLICIES, TIMERS
from contexts.ordering.price import ListedPrice
from contexts.ordering.promotion import Promotion
from contexts.ordering.settings import OrderingSettings
from shared.context import Aggregate, Context, Decider, Reads

ORDER = Aggregate(name="order", key="order_id", state=Order, events=get_args(OrderEvent), evolve=order.evolve)
PRICE = Aggregate(name="price", key="sku", state=ListedPrice, events=get_args(PriceEvent), evolve=price.evolve)
PROMOTION = Aggregate(
    name="promotion", key="code", state=Promotion, events=get_args(PromotionEvent), evolve=promotion.evolve
)


def context(settings: OrderingSettings) -> Context:
    """The context of this shop; an order is decided together with the prices of its lines and its promotion."""
    currency = settings.currency
    judge = partial(
        order.decide,
        order_deadline=settings.order_deadline,
        price_honoured=settings.price_honoured,
        currency=currency,
    )
    return Context(
        name="ordering",
        deciders=(
            Decider(
                aggregate=ORDER,
                commands=get_args(OrderCommand),
                decide=judge,
                also_reads=(Reads(PRICE, order.skus_of), Reads(PROMOTION, order.codes_of)),
            ),
            Decider(aggregate=PRICE, commands=get_args(PriceCommand), decide=partial(price.decide, currency=currency)),
            Decider(
                aggregate=PROMOTION,
                commands=get_args(PromotionCommand),
                decide=partial(promotion.decide, currency=currency),
            ),
        ),
        accepts=(PlaceOrder, CancelOrder, ChangePrice, AnnouncePromotion, EndPromotion),
        policies=POLICIES,
        timers=TIMERS,
    )
