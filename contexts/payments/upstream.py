"""What payments reads of others, and of that only what it needs."""

from typing import ClassVar

from msgspec import Struct

from contexts.payments.events import UndoReason
from shared.kernel import MethodToken, Money, OrderId


class OrderPlaced(Struct, frozen=True, kw_only=True):
    """What an order costs and who pays."""

    context: ClassVar[str] = "ordering"

    order_id: OrderId
    total: Money
    method_token: MethodToken


class OrderCancelled(Struct, frozen=True, kw_only=True):
    """An order does not happen."""

    context: ClassVar[str] = "ordering"

    order_id: OrderId
    reason: UndoReason


class InventoryReserved(Struct, frozen=True, kw_only=True):
    """All goods of an order are there."""

    context: ClassVar[str] = "inventory"

    order_id: OrderId


class InventoryRejected(Struct, frozen=True, kw_only=True):
    """The goods of an order are not there."""

    context: ClassVar[str] = "inventory"

    order_id: OrderId


class ShipmentFailed(Struct, frozen=True, kw_only=True):
    """The goods of an order do not reach the customer."""

    context: ClassVar[str] = "shipping"

    order_id: OrderId
