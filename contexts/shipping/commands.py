"""The commands of shipping: clients send the reports of the carrier; the others come from its policies and effects."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Struct

from contexts.kernel import (
    Address,
    CancellationReason,
    OrderId,
    ReturnId,
    ReturnIdText,
    SkuQuantities,
    SkuQuantity,
    Text,
)
from contexts.shipping.events import CarrierRefusal, Requirement
from shared.wire.messages import FROM_STREAM, FROM_SUBJECT, NEVER, TOLD

Refusal: TypeAlias = Literal[
    "not_dispatched",
    "other_tracking_no",
    "already_delivered",
    "already_lost",
    "already_returned",
    "not_expected",
    "too_many",
    "received_otherwise",
]
"""Why a report is not believed."""


class ReportDelivered(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parcel is with the customer since the time of this report."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    tracking_no: Annotated[Text, TOLD]
    said_at: Annotated[datetime, FROM_STREAM] = NEVER


class ReportLost(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The carrier has lost the parcel."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    tracking_no: Annotated[Text, TOLD]


class ReportReturned(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parcel could not be delivered, and is here again."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    tracking_no: Annotated[Text, TOLD]


class MeetRequirement(Struct, frozen=True, kw_only=True):
    """One of the three facts that a parcel needs; the confirmation also says where it goes."""

    order_id: OrderId
    requirement: Requirement
    met_at: datetime
    address: Address | None = None


class Dispatch(Struct, frozen=True, kw_only=True):
    """It is time to hand the parcel over."""

    order_id: OrderId


class CancelShipment(Struct, frozen=True, kw_only=True):
    """The parcel is not to go, if there is still time."""

    order_id: OrderId
    reason: CancellationReason


class RecordDispatched(Struct, frozen=True, kw_only=True):
    """The carrier has taken the parcel."""

    order_id: OrderId
    tracking_no: str
    carrier: str
    shipped_at: datetime


class RecordDispatchRefused(Struct, frozen=True, kw_only=True):
    """The carrier does not take the parcel."""

    order_id: OrderId
    reason: CarrierRefusal


class NoteSilence(Struct, frozen=True, kw_only=True):
    """The carrier has reported nothing for another period, for the `times`th time."""

    order_id: OrderId
    shipped_at: datetime
    times: int


class ReportReturnReceived(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parcel of a return has come, with these lines in it."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    return_id: Annotated[ReturnIdText, TOLD]
    lines: SkuQuantities


class ExpectReturn(Struct, frozen=True, kw_only=True):
    """The customer sends these lines back."""

    order_id: OrderId
    return_id: ReturnId
    lines: tuple[SkuQuantity, ...]


class ValidateAddress(Struct, frozen=True, kw_only=True):
    """A customer wants the parcel at this address; `attempt` counts the customer's submissions."""

    order_id: OrderId
    attempt: int
    address: Address


ReturnParcelCommand: TypeAlias = ExpectReturn | ReportReturnReceived
Report: TypeAlias = ReportDelivered | ReportLost | ReportReturned
ShipmentCommand: TypeAlias = (
    MeetRequirement | Dispatch | CancelShipment | RecordDispatched | RecordDispatchRefused | NoteSilence | Report
)
