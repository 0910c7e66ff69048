"""The events of shipping: an address is valid or not; a parcel may go, went, arrived, or did not."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Struct

from contexts.kernel import Address, CancellationReason, FailureStage, OrderId, ReturnId, SkuQuantity
from shared.wire.messages import TOLD

Requirement: TypeAlias = Literal["reserved", "paid", "confirmed"]
"""The facts that a parcel needs before it may go; they come in any order."""

CarrierRefusal: TypeAlias = Literal["not_served"]
"""Why a carrier does not take a parcel: it does not go to that address."""

AddressProblem: TypeAlias = Literal["unknown_street"]
"""Why no parcel can go to an address."""

FailureReason: TypeAlias = CarrierRefusal | Literal["lost_by_carrier", "returned_to_sender"]


class ShipmentRequirementMet(Struct, frozen=True, kw_only=True):
    """One of the first two requirements is met; the third one schedules the delivery."""

    order_id: OrderId
    requirement: Annotated[Requirement, TOLD]
    address: Address | None = None


class DeliveryScheduled(Struct, frozen=True, kw_only=True):
    """All requirements are met: the parcel goes at `dispatch_at`, unless it is cancelled before."""

    order_id: OrderId
    dispatch_at: datetime
    address: Address


class DispatchRequested(Struct, frozen=True, kw_only=True):
    """The parcel is being handed to the carrier: too late to cancel. Published once for an order."""

    order_id: OrderId
    address: Address


class OrderShipped(Struct, frozen=True, kw_only=True):
    """The parcel is with the carrier, since `shipped_at`."""

    order_id: OrderId
    tracking_no: Annotated[str, TOLD]
    carrier: str
    shipped_at: datetime


class ParcelOverdue(Struct, frozen=True, kw_only=True):
    """The carrier has not reported on the parcel for too long; repeated, with `times` counted up, until it does."""

    order_id: OrderId
    tracking_no: Annotated[str, TOLD]
    shipped_at: datetime
    times: int = 1


class ShipmentCancelled(Struct, frozen=True, kw_only=True):
    """No parcel goes to the carrier for this order, and none ever will."""

    order_id: OrderId
    reason: Annotated[CancellationReason, TOLD]


class ShipmentFailed(Struct, frozen=True, kw_only=True):
    """The parcel does not reach the customer: it never left, it is lost, or it is here again."""

    order_id: OrderId
    stage: Annotated[FailureStage, TOLD]
    reason: Annotated[FailureReason, TOLD]


class OrderDelivered(Struct, frozen=True, kw_only=True):
    """The parcel is with the customer, since `delivered_at`."""

    order_id: OrderId
    tracking_no: Annotated[str, TOLD]
    delivered_at: datetime


class ReturnExpected(Struct, frozen=True, kw_only=True):
    """A parcel with these lines is expected back."""

    order_id: OrderId
    return_id: Annotated[ReturnId, TOLD]
    lines: tuple[SkuQuantity, ...]


class ReturnReceived(Struct, frozen=True, kw_only=True):
    """The parcel of a return is here, with these lines, which may be fewer than were expected: published once."""

    order_id: OrderId
    return_id: Annotated[ReturnId, TOLD]
    lines: tuple[SkuQuantity, ...]


class AddressValidated(Struct, frozen=True, kw_only=True):
    """A parcel can go to the address of this attempt."""

    order_id: OrderId
    attempt: int
    address: Address


class AddressRejected(Struct, frozen=True, kw_only=True):
    """No parcel can go to the address of this attempt."""

    order_id: OrderId
    attempt: int
    reason: Annotated[AddressProblem, TOLD]


ReturnParcelEvent: TypeAlias = ReturnExpected | ReturnReceived
AddressEvent: TypeAlias = AddressValidated | AddressRejected
ShipmentEvent: TypeAlias = (
    ShipmentRequirementMet
    | DeliveryScheduled
    | DispatchRequested
    | OrderShipped
    | ParcelOverdue
    | ShipmentCancelled
    | ShipmentFailed
    | OrderDelivered
)
