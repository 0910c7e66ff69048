"""Whether a case of an order needs a person: one open ticket per case.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. A case that was resolved opens again
when the same trouble occurs again. Good news that comes before its trouble is not remembered: every order would leave
some, and an operator can resolve the ticket.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.kernel import OrderId
from contexts.support.commands import (
    CloseTicket,
    OpenTicket,
    RecordOperatorNotTold,
    RecordOperatorTold,
    ResolveTicket,
    TicketCommand,
)
from contexts.support.customer import MONEY, Customer
from contexts.support.events import (
    OperatorNotTold,
    OperatorTold,
    PriorityRaised,
    TicketEvent,
    TicketOpened,
    TicketResolved,
    TroubleRepeated,
)
from shared.context import Rejected

Status: TypeAlias = Literal["NEW", "OPEN", "RESOLVED"]

REFUND_FAILURES = 3
"""The refusal of a refund that needs a person: the bank refuses some at first."""


class Ticket(Struct, frozen=True, kw_only=True):
    """One case of an order; `told` is whether the operator was told of it, or None while the mail is on its way.

    `troubles` are the names that were heard of, in a case whose troubles have names.
    """

    status: Status = "NEW"
    occurrence: int = 0
    told: bool | None = None
    troubles: tuple[str, ...] = ()


def customers_of(command: TicketCommand) -> tuple[OrderId, ...]:
    """The customers whose priority the decision reads."""
    return (command.order_id,) if isinstance(command, OpenTicket) else ()


def decide(
    command: TicketCommand, ticket: Ticket, customers: Mapping[str, Customer]
) -> tuple[TicketEvent | PriorityRaised | Rejected, ...]:
    """Decide on the command: no event when it was answered before, or when the case is past it."""
    order_id, case = command.order_id, command.case
    match command:
        case OpenTicket():
            return _trouble(command, ticket, customers) if _is_new(command, ticket) else ()
        case CloseTicket() if ticket.status == "OPEN":
            return (TicketResolved(order_id=order_id, case=case, note=command.note),)
        case ResolveTicket() if ticket.status == "OPEN":
            return (TicketResolved(order_id=order_id, case=case, note=command.note),)
        case ResolveTicket() if ticket.status == "NEW":
            return (Rejected.at("no_ticket", "$.case", "there is no ticket of this case"),)
        case RecordOperatorTold() if ticket.told is None:
            return (OperatorTold(order_id=order_id, case=case, channel=command.channel),)
        case RecordOperatorNotTold() if ticket.told is None:
            return (OperatorNotTold(order_id=order_id, case=case, reason=command.reason),)
        case CloseTicket() | ResolveTicket() | RecordOperatorTold() | RecordOperatorNotTold():
            return ()
        case _:
            assert_never(command)


def evolve(ticket: Ticket, event: TicketEvent) -> Ticket:
    """The ticket after one of its events."""
    match event:
        case TicketOpened():
            assert ticket.status != "OPEN", ticket.status
            return Ticket(status="OPEN", occurrence=event.occurrence, troubles=_known(ticket, event.trouble))
        case TroubleRepeated():
            assert ticket.status == "OPEN", ticket.status
            return replace(ticket, occurrence=event.occurrence, troubles=_known(ticket, event.trouble))
        case TicketResolved():
            assert ticket.status == "OPEN", ticket.status
            return replace(ticket, status="RESOLVED")
        case OperatorTold():
            return replace(ticket, told=True)
        case OperatorNotTold():
            return replace(ticket, told=False)
        case _:
            assert_never(event)


def _known(ticket: Ticket, trouble: str) -> tuple[str, ...]:
    return (*ticket.troubles, trouble) if trouble else ticket.troubles


def _is_new(command: OpenTicket, ticket: Ticket) -> bool:
    if command.trouble:
        return command.trouble not in ticket.troubles
    at_least = REFUND_FAILURES if command.case.startswith(MONEY) else 1
    return command.occurrence >= at_least and command.occurrence > ticket.occurrence


def _trouble(
    command: OpenTicket, ticket: Ticket, customers: Mapping[str, Customer]
) -> tuple[TicketEvent | PriorityRaised, ...]:
    """Open a ticket, or count the occurrence, so that the same news never opens one after it was resolved."""
    occurrence = ticket.occurrence + 1 if command.trouble else command.occurrence
    if ticket.status != "OPEN":
        return _open(command, occurrence, customers[command.order_id])
    repeated = TroubleRepeated(
        order_id=command.order_id, case=command.case, occurrence=occurrence, trouble=command.trouble
    )
    return (repeated,)


def _open(command: OpenTicket, occurrence: int, customer: Customer) -> tuple[TicketEvent | PriorityRaised, ...]:
    priority = customer.priority_after(command.case)
    opened = TicketOpened(
        order_id=command.order_id,
        case=command.case,
        why=command.why,
        priority=priority,
        occurrence=occurrence,
        trouble=command.trouble,
    )
    if priority == customer.priority:
        return (opened,)
    return (opened, PriorityRaised(order_id=command.order_id, priority=priority))
