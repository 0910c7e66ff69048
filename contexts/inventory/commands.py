"""The commands of inventory: clients send those about articles; those about orders come from its policies."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from contexts.kernel import (
    CancellationReason,
    FailureStage,
    Money,
    OrderId,
    Quantity,
    ReturnId,
    Sku,
    SkuQuantity,
    Text,
    refuse_no_price,
)
from shared.wire.messages import FROM_SUBJECT, NEVER, TOLD

ON_HAND_AT_MOST = 10**9
"""No shelf holds more units of one sku."""

Identity: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200)]

Refusal: TypeAlias = Literal[
    "registered_otherwise", "not_registered", "id_known_otherwise", "too_many_units", "not_enough_stock"
]
"""Why the stock stays as it is."""


class RegisterStockItem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Register an article at this price."""

    sku: Annotated[Sku, FROM_SUBJECT] = Sku("")
    name: Text
    unit_price: Money

    def __post_init__(self) -> None:
        refuse_no_price(self.unit_price, "$.unit_price.amount_minor")


class ReplenishStock(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Count a delivery in, once per `delivery_id`."""

    sku: Annotated[Sku, FROM_SUBJECT] = Sku("")
    quantity: Quantity
    delivery_id: Identity

    @property
    def movement_id(self) -> str:
        """The id under which it counts once, for ever."""
        return f"delivery:{self.delivery_id}"


class AdjustStock(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Correct the count by `delta`; with an `adjustment_id` once, without one as often as it is sent."""

    sku: Annotated[Sku, FROM_SUBJECT] = Sku("")
    delta: Annotated[int, Meta(ge=-ON_HAND_AT_MOST, le=ON_HAND_AT_MOST)]
    reason: Annotated[Text, TOLD]
    adjustment_id: Identity | None = None

    @property
    def movement_id(self) -> str | None:
        """The id under which it counts once, for ever; None when it counts each time."""
        return None if self.adjustment_id is None else f"adjustment:{self.adjustment_id}"


class RestockReturn(Struct, frozen=True, kw_only=True):
    """Units of a return are here: count them in, once per return."""

    sku: Sku
    quantity: int
    order_id: OrderId
    return_id: ReturnId

    @property
    def movement_id(self) -> str:
        """The id under which they count once, for ever."""
        return f"return:{self.order_id}/{self.return_id}"


class ReserveStock(Struct, frozen=True, kw_only=True):
    """Promise all lines to the order, or none; with `allow_backorder` it waits for them from `asked_at` on."""

    order_id: OrderId
    lines: tuple[SkuQuantity, ...]
    allow_backorder: bool = False
    asked_at: datetime = NEVER


class ReleaseStock(Struct, frozen=True, kw_only=True):
    """The order does not happen."""

    order_id: OrderId
    reason: CancellationReason


class ExpireBackorder(Struct, frozen=True, kw_only=True):
    """The order has waited long enough."""

    order_id: OrderId


class CommitStock(Struct, frozen=True, kw_only=True):
    """The goods have left with the carrier."""

    order_id: OrderId


class SettleFailedShipment(Struct, frozen=True, kw_only=True):
    """The goods do not reach the customer: they are lost, or they are here."""

    order_id: OrderId
    stage: FailureStage


MovementCommand: TypeAlias = ReplenishStock | AdjustStock | RestockReturn
ReservationCommand: TypeAlias = ReserveStock | ReleaseStock | ExpireBackorder | CommitStock | SettleFailedShipment
