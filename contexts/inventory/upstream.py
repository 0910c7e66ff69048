"""The events of other contexts that inventory reads, with only the fields it needs; `at` is the time of storage."""

from datetime import datetime
from typing import Annotated

from msgspec import Struct

from contexts.kernel import CancellationReason, FailureStage, OrderId, ReturnId, SkuQuantity
from shared.wire.messages import FROM_STREAM, NEVER


class OrderPlaced(Struct, frozen=True, kw_only=True):
    """An order wants these lines; one SKU may stand in several of them."""

    order_id: OrderId
    lines: tuple[SkuQuantity, ...]
    allow_backorder: bool = False
    at: Annotated[datetime, FROM_STREAM] = NEVER


class OrderCancelled(Struct, frozen=True, kw_only=True):
    """An order does not happen."""

    order_id: OrderId
    reason: CancellationReason


class PaymentFailed(Struct, frozen=True, kw_only=True):
    """The money for an order was refused."""

    order_id: OrderId


class OrderShipped(Struct, frozen=True, kw_only=True):
    """The goods of an order are with the carrier."""

    order_id: OrderId


class ShipmentFailed(Struct, frozen=True, kw_only=True):
    """The goods of an order do not reach the customer; `stage` says whether they are here."""

    order_id: OrderId
    stage: FailureStage


class ReturnReceived(Struct, frozen=True, kw_only=True):
    """These lines of a delivered order are here again, each sku once."""

    order_id: OrderId
    return_id: ReturnId
    lines: tuple[SkuQuantity, ...]
