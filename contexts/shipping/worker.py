"""Shipping as one value."""

from functools import partial
from typing import get_args

from contexts.shipping.commands import ReportDelivered, ReportLost, ReportReturned, ShipmentCommand
from contexts.shipping.decider import Shipment, decide, evolve
from contexts.shipping.effects import SimulatedCarrier, effects
from contexts.shipping.events import ShipmentEvent, ShipmentRequirementMet
from contexts.shipping.policies import POLICIES, timers
from contexts.shipping.settings import ShippingSettings
from shared.context import Aggregate, Context, Decider

SHIPMENT = Aggregate(name="shipment", key="order_id", state=Shipment, events=get_args(ShipmentEvent), evolve=evolve)


def context(settings: ShippingSettings) -> Context:
    """The context with a simulated carrier behind it."""
    judge = partial(decide, dispatch_delay=settings.dispatch_delay)
    return Context(
        name="shipping",
        deciders=(Decider(aggregate=SHIPMENT, commands=get_args(ShipmentCommand), decide=judge),),
        accepts=(ReportDelivered, ReportLost, ReportReturned),
        policies=POLICIES,
        timers=timers(settings.dispatch_delay, settings.parcel_silence),
        effects=effects(SimulatedCarrier(), settings.effect_timeout.total_seconds()),
        unheard=(ShipmentRequirementMet,),
    )
