"""Older forms of events that ordering hears, and how the form that it reads is made of each."""

from datetime import datetime

from msgspec import Struct

from contexts.kernel import OrderId
from contexts.ordering.upstream import OrderDelivered
from shared.context import Upcaster


class OrderDelivered1(Struct, frozen=True, kw_only=True):
    """shipping.OrderDelivered up to version 1: it did not say since when."""

    order_id: OrderId
    tracking_no: str


def order_delivered_since_it_was_said(event: OrderDelivered1, occurred_at: datetime) -> OrderDelivered:
    """Takes the time at which shipping decided it."""
    return OrderDelivered(order_id=event.order_id, tracking_no=event.tracking_no, delivered_at=occurred_at)


UPCASTERS: tuple[Upcaster, ...] = (
    Upcaster(
        source="shipping",
        event=OrderDelivered,
        older=OrderDelivered1,
        until=1,
        upcast=order_delivered_since_it_was_said,
    ),
)
