"""The events of other contexts that shipping reads, with only the fields it needs; `at` is the time of storage."""

from datetime import datetime
from typing import Annotated

from msgspec import Struct

from contexts.kernel import Address, CancellationReason, OrderId, ReturnId, SkuQuantity
from shared.wire.messages import FROM_STREAM, NEVER


class AddressSubmitted(Struct, frozen=True, kw_only=True):
    """A customer wants the parcel at this address."""

    order_id: OrderId
    attempt: int
    address: Address


class InventoryReserved(Struct, frozen=True, kw_only=True):
    """The goods of an order are there."""

    order_id: OrderId
    at: Annotated[datetime, FROM_STREAM] = NEVER


class PaymentSucceeded(Struct, frozen=True, kw_only=True):
    """The money for an order is ours."""

    order_id: OrderId
    at: Annotated[datetime, FROM_STREAM] = NEVER


class OrderConfirmed(Struct, frozen=True, kw_only=True):
    """The order stands, and its parcel may go to this address."""

    order_id: OrderId
    address: Address
    at: Annotated[datetime, FROM_STREAM] = NEVER


class OrderCancelled(Struct, frozen=True, kw_only=True):
    """The order does not happen."""

    order_id: OrderId
    reason: CancellationReason


class OrderCancellationRequested(Struct, frozen=True, kw_only=True):
    """The customer wants a confirmed order cancelled, if there is still time."""

    order_id: OrderId


class InventoryReleased(Struct, frozen=True, kw_only=True):
    """The goods of an order are no longer held for it."""

    order_id: OrderId
    reason: CancellationReason


class ReturnRequested(Struct, frozen=True, kw_only=True):
    """The customer sends these lines back."""

    order_id: OrderId
    return_id: ReturnId
    lines: tuple[SkuQuantity, ...]
