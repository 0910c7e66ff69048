"""The events of notifications: a letter to a customer is held, queued, sent or refused."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Struct

from contexts.kernel import MailChannel, MailRefusal, OrderId
from shared.wire.messages import TOLD

Template: TypeAlias = Literal[
    "order_received",
    "order_backordered",
    "order_confirmed",
    "order_shipped",
    "order_delivered",
    "order_cancelled",
    "cancellation_rejected",
    "payment_refunded",
    "refund_delayed",
    "shipment_failed",
    "parcel_overdue",
    "return_requested",
    "return_refunded",
    "ticket_opened",
    "ticket_resolved",
    "stock_short",
]
"""The subject of a letter; an order has one letter of each template at the most."""


class NotificationHeld(Struct, frozen=True, kw_only=True):
    """The letter waits until the order, and with it the customer's address, is heard of."""

    order_id: OrderId
    template: Annotated[Template, TOLD]
    subject: str
    text: str


class NotificationQueued(Struct, frozen=True, kw_only=True):
    """The letter is to be sent."""

    order_id: OrderId
    template: Annotated[Template, TOLD]
    email: str
    subject: str
    text: str


class NotificationWithdrawn(Struct, frozen=True, kw_only=True):
    """The letter that waited is not sent: its news is over, and so is that of every alert up to the number `alert`.

    A release that did not count alerts has left 0.
    """

    order_id: OrderId
    template: Annotated[Template, TOLD]
    alert: int = 0


class CustomerNotified(Struct, frozen=True, kw_only=True):
    """The letter has left."""

    order_id: OrderId
    template: Annotated[Template, TOLD]
    channel: MailChannel


class NotificationFailed(Struct, frozen=True, kw_only=True):
    """The letter was refused for good; it is not tried again."""

    order_id: OrderId
    template: Annotated[Template, TOLD]
    reason: Annotated[MailRefusal, TOLD]


NotificationEvent: TypeAlias = (
    NotificationHeld | NotificationQueued | NotificationWithdrawn | CustomerNotified | NotificationFailed
)
