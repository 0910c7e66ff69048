"""Shipping as one value."""

from functools import partial
from typing import get_args

from contexts.shipping import address_check, return_parcel, shipment
from contexts.shipping.address_check import AddressCheck
from contexts.shipping.commands import (
    ReportDelivered,
    ReportLost,
    ReportReturned,
    ReportReturnReceived,
    ReturnParcelCommand,
    ShipmentCommand,
    ValidateAddress,
)
from contexts.shipping.effects import SimulatedCarrier, effects
from contexts.shipping.events import (
    AddressEvent,
    ReturnExpected,
    ReturnParcelEvent,
    ShipmentEvent,
    ShipmentRequirementMet,
)
from contexts.shipping.policies import POLICIES, timers
from contexts.shipping.return_parcel import ReturnParcel
from contexts.shipping.settings import ShippingSettings
from contexts.shipping.shipment import Shipment
from contexts.shipping.upcasters import UPCASTERS
from shared.context import Aggregate, Context, Decider

SHIPMENT = Aggregate(
    name="shipment", key="order_id", state=Shipment, events=get_args(ShipmentEvent), evolve=shipment.evolve
)
RETURN = Aggregate(
    name="return",
    key="order_id",
    part="return_id",
    state=ReturnParcel,
    events=get_args(ReturnParcelEvent),
    evolve=return_parcel.evolve,
)
ADDRESS = Aggregate(
    name="address",
    key="order_id",
    part="attempt",
    state=AddressCheck,
    events=get_args(AddressEvent),
    evolve=address_check.evolve,
)


def context(settings: ShippingSettings) -> Context:
    """The context with a simulated carrier behind it."""
    judge = partial(shipment.decide, dispatch_delay=settings.dispatch_delay)
    return Context(
        name="shipping",
        deciders=(
            Decider(aggregate=SHIPMENT, commands=get_args(ShipmentCommand), decide=judge),
            Decider(aggregate=RETURN, commands=get_args(ReturnParcelCommand), decide=return_parcel.decide),
            Decider(aggregate=ADDRESS, commands=(ValidateAddress,), decide=address_check.decide),
        ),
        accepts=(ReportDelivered, ReportLost, ReportReturned, ReportReturnReceived),
        policies=POLICIES,
        timers=timers(settings.dispatch_delay, settings.parcel_silence),
        effects=effects(SimulatedCarrier(), settings.effect_timeout.total_seconds()),
        schema_version=2,
        upcasters=UPCASTERS,
        unheard=(ShipmentRequirementMet, ReturnExpected),
    )
