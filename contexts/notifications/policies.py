"""Notifications' reactions, which are also the words of its letters: the whole table stands at the foot."""

from contexts.kernel import Money, OrderId
from contexts.notifications.commands import ConfirmReceipt, TellCustomer, WithdrawLetter
from contexts.notifications.events import Template
from contexts.notifications.upstream import (
    AlertCleared,
    AlertSet,
    InventoryBackordered,
    OrderCancellationRejected,
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderPlaced,
    OrderShipped,
    ParcelOverdue,
    PaymentRefunded,
    RefundFailed,
    ReturnRefunded,
    ReturnRequested,
    ShipmentFailed,
    TicketOpened,
    TicketResolved,
)
from shared.context import Policy

WHY_CANCELLED = {
    "customer": "You asked us to cancel it.",
    "payment_failed": "Your payment was refused.",
    "out_of_stock": "We do not have everything you ordered.",
    "expired": "It could not be completed in time.",
    "shipment_failed": "It could not be delivered.",
}
WHAT_BECAME_OF_THE_PARCEL = {
    "before_dispatch": "The carrier did not accept your parcel.",
    "lost": "The carrier has lost your parcel.",
    "returned": "Your parcel came back to us.",
}
BETWEEN_US = frozenset({"letter", "stock_low"})
"""The cases of which no customer is told: a letter about refused letters would be refused too; an article has none."""

MINOR_DIGITS = {
    **dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
"""How many digits of an amount are minor units, where it is not two (ISO 4217)."""


def whenever_order_placed_confirm_its_receipt(event: OrderPlaced) -> list[ConfirmReceipt]:
    """Sends the first letter; earlier news of the order waits for it (P12)."""
    subject = f"We have received your order {event.order_id}"
    text = _text(f"Thank you for your order of {_spelled(event.total)}.", "We will write again once it is confirmed.")
    return [ConfirmReceipt(order_id=event.order_id, email=event.email, subject=subject, text=text)]


def whenever_inventory_backordered_tell_the_customer(event: InventoryBackordered) -> list[TellCustomer]:
    """Tells until when the order waits (P40)."""
    until = f"We reserve everything as soon as it is there, and cancel the order after {event.expires_at:%d %B %Y}."
    return _tell(event.order_id, "order_backordered", "waits for stock", "Not everything is in stock.", until)


def whenever_order_confirmed_tell_the_customer(event: OrderConfirmed) -> list[TellCustomer]:
    """Tells that the money is in (P40)."""
    return _tell(event.order_id, "order_confirmed", "is confirmed", "Your payment has arrived.")


def whenever_order_shipped_tell_the_customer(event: OrderShipped) -> list[TellCustomer]:
    """Tells the carrier and the tracking number (P40)."""
    parcel = f"Your parcel is with {event.carrier}; its number is {event.tracking_no}."
    return _tell(event.order_id, "order_shipped", "is on its way", parcel)


def whenever_order_delivered_tell_the_customer(event: OrderDelivered) -> list[TellCustomer]:
    """Tells the end of the order (P40)."""
    return _tell(event.order_id, "order_delivered", "has arrived", "We hope you like it.")


def whenever_order_cancelled_tell_the_customer(event: OrderCancelled) -> list[TellCustomer]:
    """Tells why the order is cancelled (P40)."""
    kept = "Whatever you have paid will be given back."
    return _tell(event.order_id, "order_cancelled", "is cancelled", WHY_CANCELLED[event.reason], kept)


def whenever_cancellation_rejected_tell_the_customer(event: OrderCancellationRejected) -> list[TellCustomer]:
    """Tells that it is too late to cancel (P40)."""
    return _tell(event.order_id, "cancellation_rejected", "was not cancelled", "It had been sent or ended before.")


def whenever_payment_refunded_tell_the_customer(event: PaymentRefunded) -> list[TellCustomer]:
    """Tells the amount; the money of a return is told with its end (P40)."""
    if event.return_id is not None:
        return []
    return _tell(event.order_id, "payment_refunded", "is refunded", f"You have {_spelled(event.amount)} back.")


def whenever_refund_failed_tell_the_customer(event: RefundFailed) -> list[TellCustomer]:
    """Tells it once, however often the refund fails (P33)."""
    return _tell(
        event.order_id, "refund_delayed", "will be refunded later", "Your bank did not take the money; we keep trying."
    )


def whenever_shipment_failed_tell_the_customer(event: ShipmentFailed) -> list[TellCustomer]:
    """Tells at which stage the shipment failed (P40)."""
    return _tell(event.order_id, "shipment_failed", "cannot be delivered", WHAT_BECAME_OF_THE_PARCEL[event.stage])


def whenever_parcel_overdue_tell_the_customer(event: ParcelOverdue) -> list[TellCustomer]:
    """Tells it once, however long there is no news (P40)."""
    silence = f"The carrier has not reported on your parcel {event.tracking_no} for long; we ask for it."
    return _tell(event.order_id, "parcel_overdue", "is overdue", silence)


def whenever_return_requested_tell_the_customer(event: ReturnRequested) -> list[TellCustomer]:
    """Tells of the first return of an order until when its parcel is expected (P40)."""
    label = f"Write {event.return_id} on the parcel, and send it by {event.expires_at:%d %B %Y}."
    return _tell(event.order_id, "return_requested", "may come back", label)


def whenever_return_refunded_tell_the_customer(event: ReturnRefunded) -> list[TellCustomer]:
    """Tells the amount of the first return of an order (P40)."""
    back = f"Your return {event.return_id} is here, and you have {_spelled(event.amount)} back."
    return _tell(event.order_id, "return_refunded", "has come back", back)


def whenever_ticket_opened_tell_the_customer(event: TicketOpened) -> list[TellCustomer]:
    """Tells it once, however many cases there are (P40)."""
    if event.case in BETWEEN_US:
        return []
    return _tell(event.order_id, "ticket_opened", "is in good hands", "Our support looks after it, and will write.")


def whenever_ticket_resolved_tell_the_customer(event: TicketResolved) -> list[TellCustomer]:
    """Tells it once, however many cases there are (P40)."""
    if event.case in BETWEEN_US:
        return []
    return _tell(event.order_id, "ticket_resolved", "is looked after", "Our support has closed your case.")


def whenever_an_alert_is_set_tell_the_customer(event: AlertSet) -> list[TellCustomer]:
    """Tells it once for a basket; without an address yet, the letter waits (P40)."""
    subject = f"Your basket {event.order_id} waits for stock"
    wanted = f"You want {event.requested} of {event.sku}, and {event.available} are there."
    text = _text(f"{subject}.", wanted, "Take less, or wait until there is more.")
    letter = TellCustomer(
        order_id=event.order_id,
        template="stock_short",
        subject=subject,
        text=text,
        email=event.email,
        alert=event.number,
    )
    return [letter]


def whenever_an_alert_is_cleared_withdraw_its_letter(event: AlertCleared) -> list[WithdrawLetter]:
    """Compensates whenever_an_alert_is_set_tell_the_customer, unless the letter has left (P40)."""
    return [WithdrawLetter(order_id=event.order_id, template="stock_short", alert=event.number)]


POLICIES: tuple[Policy, ...] = (
    Policy("ordering", OrderPlaced, whenever_order_placed_confirm_its_receipt),
    Policy("inventory", InventoryBackordered, whenever_inventory_backordered_tell_the_customer),
    Policy("ordering", OrderConfirmed, whenever_order_confirmed_tell_the_customer),
    Policy("shipping", OrderShipped, whenever_order_shipped_tell_the_customer),
    Policy("shipping", OrderDelivered, whenever_order_delivered_tell_the_customer),
    Policy("ordering", OrderCancelled, whenever_order_cancelled_tell_the_customer),
    Policy("ordering", OrderCancellationRejected, whenever_cancellation_rejected_tell_the_customer),
    Policy("payments", PaymentRefunded, whenever_payment_refunded_tell_the_customer),
    Policy("payments", RefundFailed, whenever_refund_failed_tell_the_customer),
    Policy("shipping", ShipmentFailed, whenever_shipment_failed_tell_the_customer),
    Policy("shipping", ParcelOverdue, whenever_parcel_overdue_tell_the_customer),
    Policy("ordering", ReturnRequested, whenever_return_requested_tell_the_customer),
    Policy("ordering", ReturnRefunded, whenever_return_refunded_tell_the_customer),
    Policy("support", TicketOpened, whenever_ticket_opened_tell_the_customer),
    Policy("support", TicketResolved, whenever_ticket_resolved_tell_the_customer),
    Policy("ordering", AlertSet, whenever_an_alert_is_set_tell_the_customer),
    Policy("ordering", AlertCleared, whenever_an_alert_is_cleared_withdraw_its_letter),
)


def _tell(order_id: OrderId, template: Template, news: str, *sentences: str) -> list[TellCustomer]:
    subject = f"Your order {order_id} {news}"
    return [TellCustomer(order_id=order_id, template=template, subject=subject, text=_text(f"{subject}.", *sentences))]


def _text(*sentences: str) -> str:
    return "\n".join(("Hello,", "", *sentences, "", "Your shop", ""))


def _spelled(amount: Money) -> str:
    digits = MINOR_DIGITS.get(amount.currency, 2)
    major, minor = divmod(amount.amount_minor, 10**digits)
    return f"{major}.{minor:0{digits}} {amount.currency}" if digits else f"{major} {amount.currency}"
