"""Ordering as one value."""

from functools import partial
from typing import get_args

from contexts.ordering.commands import CancelOrder, OrderCommand, PlaceOrder
from contexts.ordering.events import OrderCancelled, OrderEvent, ShipmentRecorded
from contexts.ordering.order import Order, decide, evolve
from contexts.ordering.policies import POLICIES, TIMERS
from contexts.ordering.settings import OrderingSettings
from shared.context import Aggregate, Context, Decider

ORDER = Aggregate(
    name="order",
    key="order_id",
    state=Order,
    events=get_args(OrderEvent),
    evolve=evolve,
    once=(OrderCancelled,),
)


def context(settings: OrderingSettings) -> Context:
    """The context, with the deadline and the currency of this shop."""
    judge = partial(decide, order_deadline=settings.order_deadline, currency=settings.currency)
    return Context(
        name="ordering",
        deciders=(Decider(aggregate=ORDER, commands=get_args(OrderCommand), decide=judge),),
        accepts=(PlaceOrder, CancelOrder),
        policies=POLICIES,
        timers=TIMERS,
        unheard=(ShipmentRecorded,),
    )
