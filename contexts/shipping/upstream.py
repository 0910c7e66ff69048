"""What shipping reads of others, and of that only what it needs; `at` is when the stream stored it."""

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Struct

from contexts.shipping.events import CancellationReason
from shared.kernel import Address, OrderId
from shared.messages import FROM_STREAM, NEVER


class InventoryReserved(Struct, frozen=True, kw_only=True):
    """The goods of an order are there."""

    context: ClassVar[str] = "inventory"

    order_id: OrderId
    at: Annotated[datetime, FROM_STREAM] = NEVER


class PaymentSucceeded(Struct, frozen=True, kw_only=True):
    """The money for an order is ours."""

    context: ClassVar[str] = "payments"

    order_id: OrderId
    at: Annotated[datetime, FROM_STREAM] = NEVER


class OrderConfirmed(Struct, frozen=True, kw_only=True):
    """The order stands, and its parcel may go to this address."""

    context: ClassVar[str] = "ordering"

    order_id: OrderId
    address: Address
    at: Annotated[datetime, FROM_STREAM] = NEVER


class OrderCancelled(Struct, frozen=True, kw_only=True):
    """The order does not happen."""

    context: ClassVar[str] = "ordering"

    order_id: OrderId
    reason: CancellationReason


class OrderCancellationRequested(Struct, frozen=True, kw_only=True):
    """The customer wants a confirmed order cancelled, if there is still time."""

    context: ClassVar[str] = "ordering"

    order_id: OrderId


class InventoryReleased(Struct, frozen=True, kw_only=True):
    """The goods of an order are no longer held for it."""

    context: ClassVar[str] = "inventory"

    order_id: OrderId
    reason: CancellationReason
