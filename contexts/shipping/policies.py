"""Shipping's reactions: the whole table stands at the foot."""

from datetime import timedelta
from functools import partial

from contexts.shipping.commands import (
    CancelShipment,
    Dispatch,
    ExpectReturn,
    MeetRequirement,
    NoteSilence,
    ValidateAddress,
)
from contexts.shipping.events import DeliveryScheduled, OrderShipped, ParcelOverdue
from contexts.shipping.shipment import is_silent_until, waits_until
from contexts.shipping.upstream import (
    AddressSubmitted,
    InventoryReleased,
    InventoryReserved,
    OrderCancellationRequested,
    OrderCancelled,
    OrderConfirmed,
    PaymentSucceeded,
    ReturnRequested,
)
from shared.context import Policy, Timer


def whenever_inventory_reserved_count_it_towards_the_delivery(event: InventoryReserved) -> list[MeetRequirement]:
    """Counts one of three facts; the third schedules the delivery, whichever it is (P15)."""
    return [MeetRequirement(order_id=event.order_id, requirement="reserved", met_at=event.at)]


def whenever_payment_succeeded_count_it_towards_the_delivery(event: PaymentSucceeded) -> list[MeetRequirement]:
    """Counts one of three facts; the third schedules the delivery, whichever it is (P15)."""
    return [MeetRequirement(order_id=event.order_id, requirement="paid", met_at=event.at)]


def whenever_order_confirmed_count_it_towards_the_delivery(event: OrderConfirmed) -> list[MeetRequirement]:
    """Counts one of three facts; the third schedules the delivery, whichever it is (P15)."""
    return [MeetRequirement(order_id=event.order_id, requirement="confirmed", met_at=event.at, address=event.address)]


def whenever_order_cancelled_cancel_the_shipment(event: OrderCancelled) -> list[CancelShipment]:
    """Compensates whenever_order_confirmed_count_it_towards_the_delivery, and may come before it (P25)."""
    return [CancelShipment(order_id=event.order_id, reason=event.reason)]


def whenever_cancellation_requested_cancel_the_shipment(event: OrderCancellationRequested) -> list[CancelShipment]:
    """Compensates whenever_order_confirmed_count_it_towards_the_delivery, and may come before it (P26)."""
    return [CancelShipment(order_id=event.order_id, reason="customer")]


def whenever_inventory_released_cancel_the_shipment(event: InventoryReleased) -> list[CancelShipment]:
    """Compensates whenever_inventory_reserved_count_it_towards_the_delivery, and may come before it (P25)."""
    return [CancelShipment(order_id=event.order_id, reason=event.reason)]


def whenever_dispatch_is_due_hand_the_parcel_over(event: DeliveryScheduled) -> list[Dispatch]:
    """Gives the parcel to the carrier, unless the shipment is cancelled (P16). Needs no compensation."""
    return [Dispatch(order_id=event.order_id)]


def whenever_return_requested_expect_its_parcel(event: ReturnRequested) -> list[ExpectReturn]:
    """Lets the parcel be reported once it comes (P51)."""
    return [ExpectReturn(order_id=event.order_id, return_id=event.return_id, lines=event.lines)]


def whenever_a_parcel_is_silent_for_too_long_say_so(event: OrderShipped) -> list[NoteSilence]:
    """Publishes ParcelOverdue, unless the carrier has reported an end (P56)."""
    return [NoteSilence(order_id=event.order_id, shipped_at=event.shipped_at, times=1)]


def whenever_a_parcel_is_still_silent_say_so_again(event: ParcelOverdue) -> list[NoteSilence]:
    """Publishes it again after the same time, so that no order rests for ever (P56)."""
    return [NoteSilence(order_id=event.order_id, shipped_at=event.shipped_at, times=event.times + 1)]


def whenever_an_address_is_submitted_validate_it(event: AddressSubmitted) -> list[ValidateAddress]:
    """Answers each attempt (P2)."""
    return [ValidateAddress(order_id=event.order_id, attempt=event.attempt, address=event.address)]


POLICIES: tuple[Policy, ...] = (
    Policy("inventory", InventoryReserved, whenever_inventory_reserved_count_it_towards_the_delivery),
    Policy("payments", PaymentSucceeded, whenever_payment_succeeded_count_it_towards_the_delivery),
    Policy("ordering", OrderConfirmed, whenever_order_confirmed_count_it_towards_the_delivery),
    Policy("ordering", OrderCancelled, whenever_order_cancelled_cancel_the_shipment),
    Policy("ordering", OrderCancellationRequested, whenever_cancellation_requested_cancel_the_shipment),
    Policy("inventory", InventoryReleased, whenever_inventory_released_cancel_the_shipment),
    Policy("ordering", ReturnRequested, whenever_return_requested_expect_its_parcel),
    Policy("ordering", AddressSubmitted, whenever_an_address_is_submitted_validate_it),
)


def timers(dispatch_delay: timedelta, parcel_silence: timedelta) -> tuple[Timer, ...]:
    """The deadlines of shipping."""
    return (
        Timer(
            name="DispatchDue",
            armed_by=DeliveryScheduled,
            at=partial(waits_until, dispatch_delay=dispatch_delay),
            whenever_due=whenever_dispatch_is_due_hand_the_parcel_over,
        ),
        Timer(
            name="ParcelSilence",
            armed_by=OrderShipped,
            at=partial(is_silent_until, parcel_silence=parcel_silence),
            whenever_due=whenever_a_parcel_is_silent_for_too_long_say_so,
        ),
        Timer(
            name="ParcelStillSilent",
            armed_by=ParcelOverdue,
            at=partial(is_silent_until, parcel_silence=parcel_silence),
            whenever_due=whenever_a_parcel_is_still_silent_say_so_again,
        ),
    )
