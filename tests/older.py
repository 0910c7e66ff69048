"""Shipping and ordering as the first release declared them, before their events had a second version.

Only the forms of the messages are those of that release; the rules are those of today.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from contexts.kernel import OrderId
from contexts.ordering import upstream
from contexts.ordering.commands import RecordDelivery
from contexts.shipping import events
from shared import catalog
from shared.config.settings import Settings
from shared.context import Context, Event, Policy
from shared.wire.messages import NEVER


class OrderShipped(Struct, frozen=True, kw_only=True):
    """The parcel is with the carrier."""

    order_id: OrderId
    tracking_no: str
    carrier: str


class OrderDelivered(Struct, frozen=True, kw_only=True):
    """The parcel is with the customer."""

    order_id: OrderId
    tracking_no: str


OLDER: dict[type[Event], type[Event]] = {events.OrderShipped: OrderShipped, events.OrderDelivered: OrderDelivered}


def shipping(settings: Settings) -> Context:
    """It publishes both events without a time, so no deadline watches a parcel."""
    newest = catalog.load("shipping", settings)
    assert isinstance(newest, Context)
    deciders = []
    for decider in newest.deciders:
        aggregate = decider.aggregate
        aggregate = replace(
            aggregate,
            events=tuple(OLDER.get(event, event) for event in aggregate.events),
            evolve=_evolving(aggregate.evolve),
        )
        deciders.append(replace(decider, aggregate=aggregate, decide=_deciding(decider.decide)))
    return replace(
        newest,
        deciders=tuple(deciders),
        timers=tuple(timer for timer in newest.timers if timer.armed_by not in OLDER),
        schema_version=1,
        upcasters=(),
    )


def ordering(settings: Settings) -> Context:
    """It hears that a parcel was delivered and does not ask since when."""
    newest = catalog.load("ordering", settings)
    assert isinstance(newest, Context)
    policies = tuple(
        Policy("shipping", OrderDelivered, whenever_order_delivered_record_it)
        if policy.event is upstream.OrderDelivered
        else policy
        for policy in newest.policies
    )
    return replace(newest, policies=policies, upcasters=())


def whenever_order_delivered_record_it(event: OrderDelivered) -> list[RecordDelivery]:
    """Records it without a time."""
    return [RecordDelivery(order_id=event.order_id, tracking_no=event.tracking_no)]


def _deciding(decide: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *said: tuple(_older(event) for event in decide(*said))


def _older(event: Event) -> Event:
    older = OLDER.get(type(event))
    if older is None:
        return event
    return older(**{name: value for name, value in asdict(event).items() if name in older.__struct_fields__})


def _evolving(evolve: Callable[..., Any]) -> Callable[..., Any]:
    return lambda state, event: evolve(state, _newer(event, NEVER))


def _newer(event: Event, at: datetime) -> Event:
    match event:
        case OrderShipped():
            return events.OrderShipped(**asdict(event), shipped_at=at)
        case OrderDelivered():
            return events.OrderDelivered(**asdict(event), delivered_at=at)
        case _:
            return event
