"""Support's reactions, the whole table at the foot: trouble opens the ticket of its case, and good news closes it."""

from contexts.kernel import OrderId, ReturnId
from contexts.support.commands import CloseTicket, OpenTicket
from contexts.support.upstream import (
    NotificationFailed,
    OrderDelivered,
    ParcelOverdue,
    PaymentRefunded,
    RefundFailed,
    ReturnLapsed,
    ReturnRefunded,
    ShipmentFailed,
    StockLow,
)
from shared.context import Policy

REFUND, LOST, OVERDUE, LETTER, RETURN = "refund", "parcel_lost", "parcel_overdue", "letter", "return"
"""The cases; those of a return end in its id."""

STOCK = "stock_low"
"""The case of an article, whose sku is the key."""

NEVER_RETRIED = 1_000
"""The number of a refusal after which the bank cannot be asked again: it opens a ticket at once."""


def whenever_refund_failed_open_a_ticket(event: RefundFailed) -> list[OpenTicket]:
    """Counts the refusals, and opens a ticket at the third (P57)."""
    why = f"the bank refused the refund {event.attempt} times, the last time as {event.reason}"
    case, occurrence = _case(REFUND, event.return_id), event.attempt if event.retry_at else NEVER_RETRIED
    return [OpenTicket(order_id=event.order_id, case=case, why=why, occurrence=occurrence)]


def whenever_payment_refunded_close_its_tickets(event: PaymentRefunded) -> list[CloseTicket]:
    """The customer has the money, so a refused refund and a lost parcel are settled (P57)."""
    note = "the customer has the money back"
    cases = (REFUND, LOST) if event.return_id is None else (_case(REFUND, event.return_id),)
    return [CloseTicket(order_id=event.order_id, case=case, note=note) for case in cases]


def whenever_shipment_failed_open_a_ticket_for_a_lost_parcel(event: ShipmentFailed) -> list[OpenTicket | CloseTicket]:
    """Any end of a parcel is news of it; a lost one needs a person (P57)."""
    news = CloseTicket(order_id=event.order_id, case=OVERDUE, note=f"the shipment failed: {event.stage}")
    if event.stage != "lost":
        return [news]
    return [news, OpenTicket(order_id=event.order_id, case=LOST, why="the carrier has lost the parcel")]


def whenever_parcel_overdue_open_a_ticket(event: ParcelOverdue) -> list[OpenTicket]:
    """Has an operator ask the carrier (P57)."""
    why = f"the carrier has not reported on parcel {event.tracking_no} for long"
    return [OpenTicket(order_id=event.order_id, case=OVERDUE, why=why, occurrence=event.times)]


def whenever_order_delivered_close_the_ticket_of_its_parcel(event: OrderDelivered) -> list[CloseTicket]:
    """Ends the wait for news of the parcel (P57)."""
    return [CloseTicket(order_id=event.order_id, case=OVERDUE, note="the parcel has arrived")]


def whenever_notification_failed_open_a_ticket(event: NotificationFailed) -> list[OpenTicket]:
    """The customer does not read what the shop writes; a refused letter is not sent again, so no news follows (P57)."""
    why = f"the letter {event.template} was refused: {event.reason}"
    return [OpenTicket(order_id=event.order_id, case=LETTER, why=why, trouble=event.template)]


def whenever_return_lapsed_open_a_ticket(event: ReturnLapsed) -> list[OpenTicket]:
    """Has an operator ask the customer for the parcel (P57)."""
    why = f"the parcel of return {event.return_id} has not come in time"
    return [OpenTicket(order_id=event.order_id, case=_case(RETURN, event.return_id), why=why)]


def whenever_return_refunded_close_its_ticket(event: ReturnRefunded) -> list[CloseTicket]:
    """Also ends a return whose parcel came after it lapsed (P57)."""
    note = "the return has come and is refunded"
    return [CloseTicket(order_id=event.order_id, case=_case(RETURN, event.return_id), note=note)]


def whenever_stock_low_open_a_ticket(event: StockLow) -> list[OpenTicket]:
    """Asks the support to buy the article in and to resolve the ticket then (P57)."""
    why = f"{event.available} units are left, which run out about {event.runs_out_at:%Y-%m-%d %H:%M} UTC"
    return [OpenTicket(order_id=OrderId(event.sku), case=STOCK, why=why, occurrence=event.number)]


POLICIES: tuple[Policy, ...] = (
    Policy("payments", RefundFailed, whenever_refund_failed_open_a_ticket),
    Policy("payments", PaymentRefunded, whenever_payment_refunded_close_its_tickets),
    Policy("shipping", ShipmentFailed, whenever_shipment_failed_open_a_ticket_for_a_lost_parcel),
    Policy("shipping", ParcelOverdue, whenever_parcel_overdue_open_a_ticket),
    Policy("shipping", OrderDelivered, whenever_order_delivered_close_the_ticket_of_its_parcel),
    Policy("ordering", ReturnLapsed, whenever_return_lapsed_open_a_ticket),
    Policy("ordering", ReturnRefunded, whenever_return_refunded_close_its_ticket),
    Policy("notifications", NotificationFailed, whenever_notification_failed_open_a_ticket),
    Policy("insights", StockLow, whenever_stock_low_open_a_ticket),
)


def _case(name: str, return_id: ReturnId | None) -> str:
    return name if return_id is None else f"{name}-{return_id}"
