"""Shipping's call to the carrier: asked with the id of the event that wants it, so asking again sends one parcel."""

import hashlib
from functools import partial
from typing import Protocol, TypeAlias

from msgspec import Struct

from contexts.kernel import Address, OrderId
from contexts.shipping.commands import RecordDispatched, RecordDispatchRefused
from contexts.shipping.events import CarrierRefusal, DispatchRequested
from shared.context import Call, Effect

CALLS_AT_ONCE = 64


class HandedOver(Struct, frozen=True, kw_only=True):
    """The carrier has the parcel, now or since it was asked the same before."""

    tracking_no: str
    carrier: str


class Refused(Struct, frozen=True, kw_only=True):
    """The carrier does not take the parcel."""

    reason: CarrierRefusal


Outcome: TypeAlias = HandedOver | Refused


class Carrier(Protocol):
    """Brings parcels; raises UnknownOutcomeError when it is not known whether it has taken one."""

    async def hand_over(self, order_id: OrderId, address: Address, *, idempotency_key: str) -> Outcome:
        """Take the parcel of an order, once per key."""
        ...


class SimulatedCarrier:
    """A carrier that goes everywhere but to postal codes that begin with `0000`; one key has one tracking number."""

    async def hand_over(self, order_id: OrderId, address: Address, *, idempotency_key: str) -> Outcome:  # noqa: ARG002 - a real carrier prints the order on the label
        """Take the parcel of an order, once per key."""
        if address.postal_code.startswith("0000"):
            return Refused(reason="not_served")
        number = hashlib.blake2b(idempotency_key.encode(), digest_size=6).hexdigest().upper()
        return HandedOver(tracking_no=f"CH{number}", carrier="Chorus Parcel")


async def hand_over(
    asked: DispatchRequested, call: Call, *, carrier: Carrier
) -> RecordDispatched | RecordDispatchRefused:
    """Give the parcel to the carrier."""
    match await carrier.hand_over(asked.order_id, asked.address, idempotency_key=call.idempotency_key):
        case HandedOver() as taken:
            return RecordDispatched(
                order_id=asked.order_id, tracking_no=taken.tracking_no, carrier=taken.carrier, shipped_at=call.now
            )
        case Refused() as refused:
            return RecordDispatchRefused(order_id=asked.order_id, reason=refused.reason)


def effects(carrier: Carrier, timeout_s: float) -> tuple[Effect, ...]:
    """The whole table of calls; after `timeout_s` the outcome of one is unknown."""
    return (
        Effect(
            asked_by=DispatchRequested,
            call=partial(hand_over, carrier=carrier),
            outcomes=(RecordDispatched, RecordDispatchRefused),
            timeout_s=timeout_s,
            at_once=CALLS_AT_ONCE,
        ),
    )
