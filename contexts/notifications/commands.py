"""The commands of notifications: clients send none; they come from its policies and from the mailer."""

from typing import TypeAlias

from msgspec import Struct

from contexts.kernel import MailChannel, MailRefusal, OrderId
from contexts.notifications.events import Template


class ConfirmReceipt(Struct, frozen=True, kw_only=True):
    """Send the first letter of an order, and with it all that waited for the address."""

    order_id: OrderId
    email: str
    subject: str
    text: str


class TellCustomer(Struct, frozen=True, kw_only=True):
    """Send one more letter about an order, to this address when it is told, or to the one of the order.

    `alert` is the number of the basket's alert that the letter is about, if it is about one.
    """

    order_id: OrderId
    template: Template
    subject: str
    text: str
    email: str = ""
    alert: int | None = None


class WithdrawLetter(Struct, frozen=True, kw_only=True):
    """The alerts of a basket up to this number are over: do not send their letter if it still waits."""

    order_id: OrderId
    template: Template
    alert: int


class RecordSent(Struct, frozen=True, kw_only=True):
    """The letter has left."""

    order_id: OrderId
    template: Template
    channel: MailChannel


class RecordNotSent(Struct, frozen=True, kw_only=True):
    """The letter will not be taken."""

    order_id: OrderId
    template: Template
    reason: MailRefusal


NotificationCommand: TypeAlias = ConfirmReceipt | TellCustomer | WithdrawLetter | RecordSent | RecordNotSent
