"""What ordering can be asked by a client."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from contexts.kernel import Address, CustomerId, Email, Line, MethodToken, OrderId, Text, refuse_card_number
from shared.wire.messages import FROM_STREAM, FROM_SUBJECT, NEVER, TOLD

LINES_AT_MOST = 100

Refusal: TypeAlias = Literal[
    "order_already_placed", "wrong_currency", "too_many_units", "total_too_large", "too_late_to_cancel", "order_unknown"
]
"""Why an order is not taken at all, or not cancelled when that was refused before."""


class PlaceOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Buy these lines; the deadline of the order counts from when this was asked."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    customer_id: Annotated[CustomerId, Meta(min_length=1, max_length=200)]
    email: Email
    lines: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=LINES_AT_MOST)]
    address: Address
    method_token: Annotated[MethodToken, Meta(min_length=1, max_length=500)]
    allow_backorder: bool = False
    asked_at: Annotated[datetime, FROM_STREAM] = NEVER

    def __post_init__(self) -> None:
        refuse_card_number(self.method_token, "$.method_token")


class CancelOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The customer does not want the order any more; `reason` is in the customer's words."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    reason: Annotated[Text, TOLD]
