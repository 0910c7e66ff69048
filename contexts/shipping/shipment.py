"""Whether the parcel of an order goes to the carrier, and what became of it: the judge from the confirmation on.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. Once the carrier is asked to take the
parcel nothing cancels it; a cancellation that comes before, even first of all, forbids it for ever.
"""

from datetime import datetime, timedelta
from typing import Literal, TypeAlias, assert_never, get_args

from msgspec import Struct
from msgspec.structs import replace

from contexts.kernel import Address
from contexts.shipping.commands import (
    CancelShipment,
    Dispatch,
    MeetRequirement,
    NoteSilence,
    RecordDispatched,
    RecordDispatchRefused,
    Refusal,
    Report,
    ReportDelivered,
    ReportLost,
    ReportReturned,
    ShipmentCommand,
)
from contexts.shipping.events import (
    DeliveryScheduled,
    DispatchRequested,
    OrderDelivered,
    OrderShipped,
    ParcelOverdue,
    Requirement,
    ShipmentCancelled,
    ShipmentEvent,
    ShipmentFailed,
    ShipmentRequirementMet,
)
from shared.context import Rejected

End: TypeAlias = Literal["delivered", "lost", "returned"]
Status: TypeAlias = Literal["WAITING", "READY", "DISPATCHING", "DISPATCHED", "DELIVERED", "FAILED", "CANCELLED"]

SILENCE_AT_LEAST = timedelta(seconds=1)
"""The least CHORUS_PARCEL_SILENCE. A shorter setting counts as this, so that deadlines never follow without a pause."""

REQUIREMENTS = len(get_args(Requirement))
ALREADY: dict[End, Refusal] = {
    "delivered": "already_delivered",
    "lost": "already_lost",
    "returned": "already_returned",
}


class Shipment(Struct, frozen=True, kw_only=True):
    """The parcel of one order; `end` is what became of it once it was dispatched.

    `overdue` counts the ParcelOverdue events about it.
    """

    status: Status = "WAITING"
    met: tuple[Requirement, ...] = ()
    address: Address | None = None
    tracking_no: str | None = None
    end: End | None = None
    overdue: int = 0


def decide(
    command: ShipmentCommand, shipment: Shipment, *, dispatch_delay: timedelta
) -> tuple[ShipmentEvent | Rejected, ...]:
    """Decide on the command: no event when it was answered before, or when the parcel is past it."""
    match command:
        case MeetRequirement() if shipment.status == "WAITING" and command.requirement not in shipment.met:
            return _meet(command, shipment, dispatch_delay)
        case Dispatch() if shipment.status == "READY":
            assert shipment.address is not None
            return (DispatchRequested(order_id=command.order_id, address=shipment.address),)
        case CancelShipment() if shipment.status in ("WAITING", "READY"):
            return (ShipmentCancelled(order_id=command.order_id, reason=command.reason),)
        case RecordDispatched() if shipment.status == "DISPATCHING":
            shipped = OrderShipped(
                order_id=command.order_id,
                tracking_no=command.tracking_no,
                carrier=command.carrier,
                shipped_at=command.shipped_at,
            )
            return (shipped,)
        case RecordDispatchRefused() if shipment.status == "DISPATCHING":
            return (ShipmentFailed(order_id=command.order_id, stage="before_dispatch", reason=command.reason),)
        case NoteSilence() if shipment.status == "DISPATCHED" and command.times == shipment.overdue + 1:
            return (_overdue(command, shipment),)
        case ReportDelivered():
            delivered = OrderDelivered(
                order_id=command.order_id, tracking_no=command.tracking_no, delivered_at=command.said_at
            )
            return _end(command, shipment, "delivered", delivered)
        case ReportLost():
            lost = ShipmentFailed(order_id=command.order_id, stage="lost", reason="lost_by_carrier")
            return _end(command, shipment, "lost", lost)
        case ReportReturned():
            returned = ShipmentFailed(order_id=command.order_id, stage="returned", reason="returned_to_sender")
            return _end(command, shipment, "returned", returned)
        case (
            MeetRequirement()
            | Dispatch()
            | CancelShipment()
            | RecordDispatched()
            | RecordDispatchRefused()
            | NoteSilence()
        ):
            return ()
        case _:
            assert_never(command)


def evolve(shipment: Shipment, event: ShipmentEvent) -> Shipment:
    """The shipment after one of its events."""
    match event:
        case ShipmentRequirementMet():
            assert shipment.status == "WAITING", shipment.status
            address = event.address or shipment.address
            return replace(shipment, met=(*shipment.met, event.requirement), address=address)
        case DeliveryScheduled():
            assert shipment.status == "WAITING", shipment.status
            return replace(shipment, status="READY", met=get_args(Requirement), address=event.address)
        case DispatchRequested():
            assert shipment.status == "READY", shipment.status
            return replace(shipment, status="DISPATCHING")
        case OrderShipped():
            assert shipment.status == "DISPATCHING", shipment.status
            return replace(shipment, status="DISPATCHED", tracking_no=event.tracking_no)
        case ParcelOverdue():
            assert shipment.status == "DISPATCHED", shipment.status
            return replace(shipment, overdue=event.times)
        case ShipmentCancelled():
            assert shipment.status in ("WAITING", "READY"), shipment.status
            return replace(shipment, status="CANCELLED")
        case ShipmentFailed():
            assert shipment.status in ("DISPATCHING", "DISPATCHED"), shipment.status
            end = None if event.stage == "before_dispatch" else event.stage
            return replace(shipment, status="FAILED", end=end)
        case OrderDelivered():
            assert shipment.status == "DISPATCHED", shipment.status
            return replace(shipment, status="DELIVERED", end="delivered")
        case _:
            assert_never(event)


def waits_until(scheduled: DeliveryScheduled, dispatch_delay: timedelta) -> datetime | None:
    """When a timer dispatches the parcel; None without a delay: the decision that schedules it dispatches it too."""
    return scheduled.dispatch_at if dispatch_delay else None


def is_silent_until(event: OrderShipped | ParcelOverdue, parcel_silence: timedelta) -> datetime:
    """The time at which the first or the next ParcelOverdue is due: a multiple of the silence after the dispatch."""
    already = 0 if isinstance(event, OrderShipped) else event.times
    return event.shipped_at + (already + 1) * max(parcel_silence, SILENCE_AT_LEAST)


def _overdue(command: NoteSilence, shipment: Shipment) -> ParcelOverdue:
    assert shipment.tracking_no is not None, "a parcel that was dispatched has a number"
    return ParcelOverdue(
        order_id=command.order_id,
        tracking_no=shipment.tracking_no,
        shipped_at=command.shipped_at,
        times=command.times,
    )


def _meet(command: MeetRequirement, shipment: Shipment, dispatch_delay: timedelta) -> tuple[ShipmentEvent, ...]:
    address = command.address or shipment.address
    if len(shipment.met) + 1 < REQUIREMENTS:
        met = ShipmentRequirementMet(
            order_id=command.order_id, requirement=command.requirement, address=command.address
        )
        return (met,)
    assert address is not None, "the confirmation has one"
    dispatch_at = command.met_at + dispatch_delay
    scheduled = DeliveryScheduled(order_id=command.order_id, dispatch_at=dispatch_at, address=address)
    if waits_until(scheduled, dispatch_delay) is not None:
        return (scheduled,)
    return (scheduled, DispatchRequested(order_id=command.order_id, address=address))


def _end(
    command: Report, shipment: Shipment, end: End, event: OrderDelivered | ShipmentFailed
) -> tuple[ShipmentEvent | Rejected, ...]:
    if shipment.tracking_no is None:
        return (Rejected.at("not_dispatched", "$", "the carrier has no parcel of this order"),)
    if shipment.tracking_no != command.tracking_no:
        return (Rejected.at("other_tracking_no", "$.tracking_no", "the parcel of this order has another one"),)
    if shipment.end is None:
        return (event,)
    if shipment.end == end:
        return ()
    return (Rejected.at(ALREADY[shipment.end], "$", f"the parcel was {shipment.end}"),)
