"""The events of other contexts that payments reads, with only the fields that it needs."""

from msgspec import Struct

from contexts.kernel import CancellationReason, Line, MethodToken, Money, OrderId, ReturnId, SkuQuantity


class OrderPlaced(Struct, frozen=True, kw_only=True):
    """The total of an order, which is the sum of the lines less the discount, and the token that pays it."""

    order_id: OrderId
    total: Money
    method_token: MethodToken
    lines: tuple[Line, ...] = ()
    discount: int = 0


class PaymentDetailsSubmitted(Struct, frozen=True, kw_only=True):
    """A customer wants to pay by this method."""

    order_id: OrderId
    attempt: int
    method_token: MethodToken


class OrderCancelled(Struct, frozen=True, kw_only=True):
    """An order does not happen."""

    order_id: OrderId
    reason: CancellationReason


class InventoryReserved(Struct, frozen=True, kw_only=True):
    """All goods of an order are there."""

    order_id: OrderId


class InventoryRejected(Struct, frozen=True, kw_only=True):
    """The goods of an order are not there."""

    order_id: OrderId


class ShipmentFailed(Struct, frozen=True, kw_only=True):
    """The goods of an order do not reach the customer."""

    order_id: OrderId


class ReturnReceived(Struct, frozen=True, kw_only=True):
    """These lines of a delivered order are here again, each sku once."""

    order_id: OrderId
    return_id: ReturnId
    lines: tuple[SkuQuantity, ...]
