"""Ordering as one value."""

from functools import partial
from typing import get_args

from contexts.ordering import basket, check, checkout, order, price, promotion, returns, shelf
from contexts.ordering.basket import Basket
from contexts.ordering.commands import (
    AddItemsToBasket,
    AnnouncePromotion,
    BasketCommand,
    CancelOrder,
    ChangePrice,
    CheckBasket,
    CheckOutBasket,
    EndPromotion,
    LapseReturns,
    OrderCommand,
    PlaceOrder,
    PriceCommand,
    PromotionCommand,
    RemoveItemsFromBasket,
    RequestReturn,
    ReturnCommand,
    ShelfCommand,
    SubmitAddress,
    SubmitPaymentDetails,
)
from contexts.ordering.events import (
    AddressAnswerRecorded,
    BasketEvent,
    BasketUpdated,
    OrderCancelled,
    OrderEvent,
    PaymentAnswerRecorded,
    PriceEvent,
    PriceListed,
    PromotionEvent,
    ReturnEvent,
    ReturnReceiptRecorded,
    ShelfEvent,
    ShipmentRecorded,
)
from contexts.ordering.order import Order
from contexts.ordering.policies import POLICIES, TIMERS
from contexts.ordering.price import ListedPrice
from contexts.ordering.promotion import Promotion
from contexts.ordering.returns import Return
from contexts.ordering.settings import OrderingSettings
from contexts.ordering.shelf import Shelf
from contexts.ordering.upcasters import UPCASTERS
from shared.context import Aggregate, Context, Decider, Reads

ORDER = Aggregate(
    name="order",
    key="order_id",
    state=Order,
    events=get_args(OrderEvent),
    evolve=order.evolve,
    once=(OrderCancelled,),
)
RETURN = Aggregate(
    name="return", key="order_id", part="return_id", state=Return, events=get_args(ReturnEvent), evolve=returns.evolve
)
PRICE = Aggregate(name="price", key="sku", state=ListedPrice, events=get_args(PriceEvent), evolve=price.evolve)
PROMOTION = Aggregate(
    name="promotion", key="code", state=Promotion, events=get_args(PromotionEvent), evolve=promotion.evolve
)

BASKET = Aggregate(name="basket", key="order_id", state=Basket, events=get_args(BasketEvent), evolve=basket.evolve)
SHELF = Aggregate(name="shelf", key="sku", state=Shelf, events=get_args(ShelfEvent), evolve=shelf.evolve, linger_s=0.1)


def context(settings: OrderingSettings) -> Context:
    """The context of this shop; baskets and orders are decided with the prices of their lines and their promotion."""
    currency = settings.currency
    judge = partial(
        order.decide,
        order_deadline=settings.order_deadline,
        price_honoured=settings.price_honoured,
        currency=currency,
        require_actor=settings.require_actor,
    )
    take_back = partial(
        returns.decide,
        return_window=settings.return_window,
        return_wait=settings.return_wait,
        require_actor=settings.require_actor,
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
            Decider(
                aggregate=BASKET,
                commands=get_args(BasketCommand),
                decide=partial(
                    basket.decide,
                    basket_idle=settings.basket_idle,
                    currency=currency,
                    require_actor=settings.require_actor,
                ),
                also_reads=(
                    Reads(ORDER, basket.order_of),
                    Reads(PRICE, basket.skus_of, basket.skus_in),
                    Reads(SHELF, keys_in=basket.skus_in),
                ),
            ),
            Decider(
                aggregate=BASKET,
                commands=(CheckBasket,),
                decide=partial(check.decide, currency=currency),
                also_reads=(Reads(PRICE, keys_in=basket.skus_in), Reads(SHELF, keys_in=basket.skus_in)),
            ),
            Decider(
                aggregate=BASKET,
                commands=(CheckOutBasket,),
                decide=partial(
                    checkout.decide,
                    order_deadline=settings.order_deadline,
                    currency=currency,
                    require_actor=settings.require_actor,
                ),
                also_reads=(
                    Reads(ORDER, checkout.order_of),
                    Reads(PRICE, keys_in=basket.skus_in),
                    Reads(SHELF, keys_in=basket.skus_in),
                    Reads(PROMOTION, checkout.codes_of),
                ),
            ),
            Decider(
                aggregate=SHELF,
                commands=get_args(ShelfCommand),
                decide=shelf.decide,
                also_reads=(Reads(BASKET, keys_in=shelf.baskets_in), Reads(PRICE, shelf.sku_of)),
            ),
            Decider(
                aggregate=RETURN,
                commands=get_args(ReturnCommand),
                decide=take_back,
                also_reads=(Reads(ORDER, returns.orders_of),),
            ),
            Decider(aggregate=ORDER, commands=(LapseReturns,), decide=returns.lapse, also_reads=(Reads(RETURN),)),
            Decider(
                aggregate=PRICE,
                commands=get_args(PriceCommand),
                decide=partial(price.decide, currency=currency, honoured=settings.price_honoured),
            ),
            Decider(
                aggregate=PROMOTION,
                commands=get_args(PromotionCommand),
                decide=partial(promotion.decide, currency=currency),
            ),
        ),
        accepts=(
            PlaceOrder,
            CancelOrder,
            RequestReturn,
            AddItemsToBasket,
            RemoveItemsFromBasket,
            SubmitAddress,
            SubmitPaymentDetails,
            CheckOutBasket,
            ChangePrice,
            AnnouncePromotion,
            EndPromotion,
        ),
        policies=POLICIES,
        upcasters=UPCASTERS,
        timers=TIMERS,
        unheard=(
            ShipmentRecorded,
            ReturnReceiptRecorded,
            BasketUpdated,
            AddressAnswerRecorded,
            PaymentAnswerRecorded,
            PriceListed,
            *get_args(PromotionEvent),
            *get_args(ShelfEvent),
        ),
    )
