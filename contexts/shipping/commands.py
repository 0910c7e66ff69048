"""What shipping can be asked by a client: the carrier reports what became of a parcel."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Struct

from contexts.kernel import OrderId, Text
from shared.wire.messages import FROM_SUBJECT, TOLD

Refusal: TypeAlias = Literal[
    "not_dispatched", "other_tracking_no", "already_delivered", "already_lost", "already_returned"
]
"""Why a report is not believed."""


class ReportDelivered(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parcel is with the customer."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    tracking_no: Annotated[Text, TOLD]


class ReportLost(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The carrier has lost the parcel."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    tracking_no: Annotated[Text, TOLD]


class ReportReturned(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parcel could not be delivered, and is here again."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    tracking_no: Annotated[Text, TOLD]
