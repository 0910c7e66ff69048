"""Older forms of shipping's events, and how the newest form is made of each."""

from datetime import datetime

from msgspec import Struct

from contexts.kernel import OrderId
from contexts.shipping.events import OrderDelivered, OrderShipped
from shared.context import Upcaster


class OrderShipped1(Struct, frozen=True, kw_only=True):
    """OrderShipped up to version 1: the first release did not say since when."""

    order_id: OrderId
    tracking_no: str
    carrier: str
    shipped_at: datetime | None = None


class OrderDelivered1(Struct, frozen=True, kw_only=True):
    """OrderDelivered up to version 1: it did not say since when."""

    order_id: OrderId
    tracking_no: str


def order_shipped_since_it_was_said(event: OrderShipped1, occurred_at: datetime) -> OrderShipped:
    """Takes the time at which shipping heard from the carrier, where the event says none."""
    return OrderShipped(
        order_id=event.order_id,
        tracking_no=event.tracking_no,
        carrier=event.carrier,
        shipped_at=event.shipped_at or occurred_at,
    )


def order_delivered_since_it_was_said(event: OrderDelivered1, occurred_at: datetime) -> OrderDelivered:
    """Takes the time at which shipping decided it."""
    return OrderDelivered(order_id=event.order_id, tracking_no=event.tracking_no, delivered_at=occurred_at)


UPCASTERS: tuple[Upcaster, ...] = (
    Upcaster(event=OrderShipped, older=OrderShipped1, until=1, upcast=order_shipped_since_it_was_said),
    Upcaster(event=OrderDelivered, older=OrderDelivered1, until=1, upcast=order_delivered_since_it_was_said),
)
