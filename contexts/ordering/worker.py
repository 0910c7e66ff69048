"""Ordering as one value."""

from functools import partial
from typing import get_args

from contexts.ordering import order, returns
from contexts.ordering.commands import (
    CancelOrder,
    LapseReturns,
    OrderCommand,
    PlaceOrder,
    RequestReturn,
    ReturnCommand,
)
from contexts.ordering.events import OrderCancelled, OrderEvent, ReturnEvent, ReturnReceiptRecorded, ShipmentRecorded
from contexts.ordering.order import Order
from contexts.ordering.policies import POLICIES, TIMERS
from contexts.ordering.returns import Return
from contexts.ordering.settings import OrderingSettings
from shared.context import Aggregate, Context, Decider

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


def context(settings: OrderingSettings) -> Context:
    """The context, with the deadline, the window of returns and the currency of this shop."""
    judge = partial(order.decide, order_deadline=settings.order_deadline, currency=settings.currency)
    take_back = partial(returns.decide, return_window=settings.return_window, return_wait=settings.return_wait)
    return Context(
        name="ordering",
        deciders=(
            Decider(aggregate=ORDER, commands=get_args(OrderCommand), decide=judge),
            Decider(
                aggregate=RETURN,
                commands=get_args(ReturnCommand),
                decide=take_back,
                also_reads=ORDER,
                keys_read=returns.orders_of,
            ),
            Decider(aggregate=ORDER, commands=(LapseReturns,), decide=returns.lapse, also_reads=RETURN),
        ),
        accepts=(PlaceOrder, CancelOrder, RequestReturn),
        policies=POLICIES,
        timers=TIMERS,
        unheard=(ShipmentRecorded, ReturnReceiptRecorded),
    )
